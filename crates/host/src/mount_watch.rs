//! Being told that something was mounted or unmounted.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use crate::{Error, Host};

const TABLE: &str = "/proc/self/mountinfo";

/// A descriptor on which poll(2) reports POLLPRI after each change of the mount table of this
/// process's namespace. Polling takes the report; nothing has to be read.
#[derive(Debug)]
pub struct MountWatch(File);

impl AsFd for MountWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Host {
    /// Starts watching the mount table.
    ///
    /// # Errors
    /// The errno of opening it.
    pub fn watch_mounts(&self) -> Result<MountWatch, Error> {
        let call = "host.watch_mounts";
        self.door.call(call, TABLE, || {
            let file = File::open(TABLE).map_err(|error| Error::io(call, TABLE, "open", &error))?;
            Ok(MountWatch(file))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::event::PollFlags;

    use crate::children::is_ready_by;
    use crate::fixture::{Place, host};
    use crate::{BindMount, MountOptions};

    #[test]
    fn a_mount_is_told() {
        let place = Place::new();
        let (source, target) = (place.directory("source"), place.directory("target"));
        let watch = host().watch_mounts().unwrap();
        let bind = BindMount {
            source: &source,
            seen: None,
            target: &target,
            options: &MountOptions::default(),
        };
        host().bind(&bind).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        assert!(is_ready_by(&watch, PollFlags::PRI, deadline).unwrap());
    }
}
