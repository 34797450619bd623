//! Feeding a child's standard input and draining its outputs, without a thread and without ever
//! blocking past a deadline.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ChildStdin, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

use super::{Captured, pid_of};
use crate::children::timespec;

/// How much of each output is kept.
const KEPT: usize = 64 * 1024;

/// How often the child is asked whether it has ended, where the kernel has no pidfd (before 5.3).
const ASKING: Duration = Duration::from_millis(20);

/// What came of a child.
pub(super) struct Pumped {
    pub(super) stdout: Captured,
    pub(super) stderr: Captured,
    /// `None`: the deadline passed first.
    pub(super) ended: Option<ExitStatus>,
}

/// Which part of a long output is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    First,
    Last,
}

struct Drain {
    fd: Option<OwnedFd>,
    kept: Captured,
    keep: Keep,
}

impl Drain {
    fn new(fd: Option<OwnedFd>, keep: Keep) -> Self {
        Self {
            fd,
            kept: Captured::default(),
            keep,
        }
    }

    /// Reads what is there now; closes the descriptor at its end.
    fn read(&mut self) -> io::Result<()> {
        let mut part = [0_u8; 8192];
        while let Some(fd) = &self.fd {
            match rustix::io::read(fd, &mut part) {
                Ok(0) => self.fd = None,
                Ok(count) => self.add(part.get(..count).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn add(&mut self, part: &[u8]) {
        let kept = &mut self.kept;
        match self.keep {
            Keep::First => {
                let room = KEPT.saturating_sub(kept.bytes.len()).min(part.len());
                kept.bytes
                    .extend_from_slice(part.get(..room).unwrap_or_default());
                kept.cut |= room < part.len();
            }
            Keep::Last => {
                kept.bytes.extend_from_slice(part);
                let surplus = kept.bytes.len().saturating_sub(KEPT);
                kept.bytes.drain(..surplus);
                kept.cut |= surplus > 0;
            }
        }
    }
}

/// The child's standard input and what is still to be written to it.
struct Feed<'a> {
    pipe: Option<ChildStdin>,
    rest: &'a [u8],
}

impl Feed<'_> {
    /// Writes what the pipe takes now; closes it after the last byte or when nobody reads.
    fn write(&mut self) -> io::Result<()> {
        while let Some(pipe) = &self.pipe {
            if self.rest.is_empty() {
                self.pipe = None;
                return Ok(());
            }
            match rustix::io::write(pipe, self.rest) {
                Ok(count) => self.rest = self.rest.get(count..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                // The program does not want its input; its exit code tells the rest.
                Err(Errno::PIPE) => self.pipe = None,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

/// Feeds and drains a child until it has ended, or the deadline passes.
///
/// A grandchild that keeps the outputs open does not delay the end.
pub(super) fn pump(child: &mut Child, input: &[u8], deadline: Instant) -> io::Result<Pumped> {
    let mut feed = Feed {
        pipe: child.stdin.take(),
        rest: input,
    };
    let mut stdout = Drain::new(child.stdout.take().map(OwnedFd::from), Keep::First);
    let mut stderr = Drain::new(child.stderr.take().map(OwnedFd::from), Keep::Last);
    for fd in [
        feed.pipe.as_ref().map(AsFd::as_fd),
        fd_of(&stdout),
        fd_of(&stderr),
    ]
    .into_iter()
    .flatten()
    {
        rustix::io::ioctl_fionbio(fd, true)?;
    }
    let pidfd = pid_of(child.id()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    loop {
        feed.write()?;
        stdout.read()?;
        stderr.read()?;
        let ended = child.try_wait()?;
        if ended.is_some() {
            stdout.read()?;
            stderr.read()?;
        }
        if ended.is_some() || Instant::now() >= deadline {
            return Ok(Pumped {
                stdout: stdout.kept,
                stderr: stderr.kept,
                ended,
            });
        }
        let mut fds = Vec::with_capacity(4);
        fds.extend(
            feed.pipe
                .as_ref()
                .map(|pipe| PollFd::new(pipe, PollFlags::OUT)),
        );
        fds.extend(stdout.fd.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(stderr.fd.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(pidfd.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let left = deadline.saturating_duration_since(Instant::now());
        let pause = if pidfd.is_some() {
            left
        } else {
            left.min(ASKING)
        };
        match poll(&mut fds, Some(&timespec(pause))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn fd_of(drain: &Drain) -> Option<BorrowedFd<'_>> {
    drain.fd.as_ref().map(AsFd::as_fd)
}
