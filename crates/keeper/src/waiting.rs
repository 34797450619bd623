//! Waiting for whatever happens first.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll as poll_fds};

/// Waits until one of the descriptors is readable (or, where so marked, has an exceptional
/// condition), hung up, or the time has come.
pub(crate) fn poll(fds: Vec<(BorrowedFd<'_>, bool)>, until: Instant) -> std::io::Result<()> {
    let mut fds: Vec<PollFd<'_>> = fds
        .into_iter()
        .map(|(fd, exceptional)| {
            let events = if exceptional {
                PollFlags::PRI
            } else {
                PollFlags::IN
            };
            PollFd::from_borrowed_fd(fd, events)
        })
        .collect();
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    match poll_fds(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
