//! Covering dead mounts in the mount namespaces of containers, beside everything else: reading about
//! other processes may wait for one that is stuck in the kernel, and nothing else may wait for that.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, sync_channel};

use cuttle_host::{AbsolutePath, DeviceNumber, Error as HostError, Host, Replaced};
use rustix::pipe::{PipeFlags, pipe_with};

/// What became of one dead file system.
pub(crate) type Swept = (DeviceNumber, Result<Replaced, HostError>);

/// A sweep under way.
#[derive(Debug)]
pub(crate) struct Sweep {
    outcome: Receiver<Vec<Swept>>,
    /// Hung up when the sweep is over.
    end: OwnedFd,
}

impl Sweep {
    /// Starts covering the mounts of these file systems by copies of the mount at `with`.
    ///
    /// # Errors
    /// When there is no room for a thread or a pipe.
    pub(crate) fn start(
        host: &Host,
        dead: Vec<DeviceNumber>,
        with: &AbsolutePath,
    ) -> std::io::Result<Self> {
        let (end, hold) = pipe_with(PipeFlags::CLOEXEC)?;
        let (tell, outcome) = sync_channel(1);
        let (host, with) = (host.clone(), with.clone());
        let work = move || {
            let sweep = |dead| (dead, host.replace_mounts_elsewhere(dead, &with));
            // Nobody listens when the keeper has ended.
            let _told = tell.send(dead.into_iter().map(sweep).collect());
            drop(hold);
        };
        let thread = std::thread::Builder::new()
            .name("sweep".to_owned())
            .stack_size(256 << 10);
        thread.spawn(work)?;
        Ok(Self { outcome, end })
    }

    /// Becomes readable when the sweep is over.
    pub(crate) fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// What became of it; `None` while it goes on.
    pub(crate) fn outcome(&self) -> Option<Vec<Swept>> {
        self.outcome.try_recv().ok()
    }
}
