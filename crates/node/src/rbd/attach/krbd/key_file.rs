//! A key handed to `rbd` without touching a disk, an argument or the environment.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use cuttle_door::FromErrno;
use cuttle_host::Error as HostError;
use cuttle_model::Secret;
use rustix::fs::{MemfdFlags, memfd_create};

/// A file in memory that holds a key; gone when dropped.
///
/// `rbd` reads its key file twice (to connect, and for the kernel), which rules a pipe out. The
/// file has no name: it is reached through this process's descriptors, which only root may follow.
#[derive(Debug)]
pub(super) struct KeyFile(File);

impl KeyFile {
    /// A new file with this key.
    pub(super) fn holding(key: &Secret) -> Result<Self, HostError> {
        let failed = |errno: i32| HostError::from_errno("host.memfd", "key".to_owned(), errno);
        let memory = memfd_create("cuttle-key", MemfdFlags::CLOEXEC)
            .map_err(|errno| failed(errno.raw_os_error()))?;
        let mut file = File::from(memory);
        file.write_all(key.expose().trim().as_bytes())
            .map_err(|error| {
                failed(
                    error
                        .raw_os_error()
                        .unwrap_or(rustix::io::Errno::IO.raw_os_error()),
                )
            })?;
        Ok(Self(file))
    }

    /// The path under which a child finds the file while this exists.
    pub(super) fn path(&self) -> PathBuf {
        let descriptor = self.0.as_raw_fd();
        format!("/proc/{}/fd/{descriptor}", std::process::id()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_can_be_read_again_and_again_and_goes_away() {
        let file = KeyFile::holding(&Secret::new("AQBmarker==\n".to_owned())).unwrap();
        let path = file.path();
        for _ in 0..2 {
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "AQBmarker==");
        }
        drop(file);
        assert!(std::fs::read_to_string(&path).map_or(true, |text| !text.contains("marker")));
    }
}
