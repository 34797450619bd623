//! Short-lived forked children for calls that may hang for ever.
//!
//! ```text
//!  parent                               child (raw system calls only)
//!  prepare every string and buffer
//!  clone ─────────────────────────────► close every descriptor but the pipe's end
//!  poll the pipe until the deadline     die with the parent (PR_SET_PDEATHSIG)
//!     answer: take it, reap             make the call, write one answer, _exit
//!     deadline: SIGKILL, put the child on the list of the stuck, give up
//! ```
//!
//! The child is a copy of one thread of a process with many, so locks of the other threads may be
//! held for ever in it: it must not allocate, log, panic or call into libc beyond system call
//! wrappers. The bodies passed to [`Host::aside`] keep to that by using `rustix` functions on
//! prepared C strings and pushing their answer into a prepared buffer.
//!
//! A child stuck in the kernel holds no descriptor of ours but its end of a pipe nobody reads. How
//! many there may be is bounded, see [`waiting`].

mod waiting;

use std::fmt::Display;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, kill_process, pidfd_open,
    set_parent_process_death_signal, waitpid,
};

use crate::{Error, Host, syscalls};

pub(crate) use waiting::Children;

/// The longest answer of a child. Together with its head it fits a pipe, so that writing it never
/// waits for the parent.
const ANSWER: usize = 8192;

/// How long a child that was killed may take to be gone before it is left to be reaped later.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// How long a child that has answered may take to be gone before it is left to be reaped later.
const FAREWELL: Duration = Duration::from_secs(1);

/// The answer a child writes: prepared by the parent, filled without allocating.
pub(crate) struct Reply {
    bytes: Box<[u8; ANSWER]>,
    used: usize,
}

impl Reply {
    fn new() -> Self {
        Self {
            bytes: Box::new([0; ANSWER]),
            used: 0,
        }
    }

    /// Adds to the answer; what does not fit is dropped.
    pub(crate) fn push(&mut self, more: &[u8]) {
        let room = self.bytes.get_mut(self.used..).unwrap_or_default();
        let count = room.len().min(more.len());
        if let (Some(to), Some(from)) = (room.get_mut(..count), more.get(..count)) {
            to.copy_from_slice(from);
            self.used += count;
        }
    }

    /// The rest of the buffer, for a system call to fill; say how much with [`Reply::fill`].
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.used..).unwrap_or_default()
    }

    /// Counts bytes that a system call wrote into [`Reply::room`].
    pub(crate) fn fill(&mut self, count: usize) {
        self.used = (self.used + count).min(ANSWER);
    }

    fn written(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

/// The system call that failed in a child, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    step: &'static str,
    errno: i32,
}

impl Failure {
    /// Turns the errno of a system call into its failure.
    pub(crate) fn at(step: &'static str) -> impl Fn(rustix::io::Errno) -> Self {
        move |errno| Self {
            step,
            errno: errno.raw_os_error(),
        }
    }

    /// The errno.
    pub(crate) fn errno(self) -> rustix::io::Errno {
        rustix::io::Errno::from_raw_os_error(self.errno)
    }
}

/// The fixed head of an answer: the errno (0 for success), and which of [`STEPS`] failed.
struct Head {
    errno: i32,
    step: u32,
}

const HEAD: usize = 8;

/// The names of the steps children make, so that an answer can name one by number.
const STEPS: [&str; 37] = [
    "",
    "open",
    "lstat",
    "fstat",
    "statfs",
    "readlink",
    "fsopen",
    "fsconfig",
    "fsmount",
    "move_mount",
    "open_tree",
    "mount_setattr",
    "mount",
    "umount2",
    "ioctl",
    "read",
    "pread",
    "fsync",
    "LOOP_CTL_GET_FREE",
    "LOOP_CONFIGURE",
    "LOOP_SET_FD",
    "LOOP_SET_STATUS64",
    "LOOP_SET_DIRECT_IO",
    "LOOP_SET_CAPACITY",
    "LOOP_CLR_FD",
    "BLKGETSIZE64",
    "BLKROGET",
    "EXT4_IOC_RESIZE_FS",
    "XFS_IOC_FSGEOMETRY",
    "XFS_IOC_FSGROWFSDATA",
    "BLKFLSBUF",
    "setns",
    "statx",
    "add_key",
    "write",
    "getxattr",
    "system call",
];

impl Head {
    fn of(outcome: Result<(), Failure>) -> Self {
        match outcome {
            Ok(()) => Self { errno: 0, step: 0 },
            Err(failure) => {
                let index = STEPS.iter().position(|name| *name == failure.step);
                let step = index.and_then(|index| u32::try_from(index).ok());
                let last = u32::try_from(STEPS.len() - 1).unwrap_or(0);
                Self {
                    errno: failure.errno,
                    step: step.unwrap_or(last),
                }
            }
        }
    }

    fn bytes(&self) -> [u8; HEAD] {
        let [a, b, c, d] = self.errno.to_ne_bytes();
        let [e, f, g, h] = self.step.to_ne_bytes();
        [a, b, c, d, e, f, g, h]
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let errno = i32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
        let step = u32::from_ne_bytes(bytes.get(4..8)?.try_into().ok()?);
        Some(Self { errno, step })
    }

    fn step(&self) -> &'static str {
        let index = usize::try_from(self.step).unwrap_or(usize::MAX);
        STEPS.get(index).copied().unwrap_or("system call")
    }
}

impl Host {
    /// Makes a call in a forked child, through the door, and waits for its answer.
    ///
    /// `body` runs in the child: no allocation, no lock, no panic; system calls on prepared
    /// arguments only. When it fails, what it pushed is taken as the kernel's words.
    ///
    /// # Errors
    /// The failure of the body, or [`Error::Hung`] when `limit` (or the job's deadline) passes.
    pub(crate) fn aside(
        &self,
        call: &'static str,
        target: impl Display,
        limit: Duration,
        body: impl FnOnce(&mut Reply) -> Result<(), Failure>,
    ) -> Result<Vec<u8>, Error> {
        let target = target.to_string();
        self.door.call(call, &target, || {
            self.children.run(call, &target, Self::within(limit), body)
        })
    }
}

impl Children {
    fn run(
        &self,
        call: &'static str,
        target: &str,
        limit: Duration,
        body: impl FnOnce(&mut Reply) -> Result<(), Failure>,
    ) -> Result<Vec<u8>, Error> {
        let hung = |waited| Error::Hung {
            call,
            target: target.to_owned(),
            waited,
        };
        let ticket = self.admit(call, target).map_err(hung)?;
        let started = Instant::now();
        let (pid, pipe) = start(body).map_err(|errno| Error::call(call, target, "clone", errno))?;
        let answer = receive(&pipe, started + limit);
        let is_gone = match &answer {
            Ok(Some(_)) => is_gone_within(pid, FAREWELL),
            Ok(None) => {
                // The child may be beyond killing; then it stays on the list.
                let _sent = kill_process(pid, Signal::KILL);
                is_gone_within(pid, LAST_MOMENT)
            }
            Err(_) => {
                let _sent = kill_process(pid, Signal::KILL);
                is_gone_within(pid, FAREWELL)
            }
        };
        if is_gone {
            drop(ticket);
        } else {
            ticket.leave(pid);
        }
        match answer {
            Ok(Some(bytes)) => finish(call, target, &bytes),
            Ok(None) => Err(hung(started.elapsed())),
            Err(errno) => Err(Error::call(call, target, "poll", errno)),
        }
    }
}

/// Reads an answer's bytes.
fn finish(call: &'static str, target: &str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let Some(head) = Head::read(bytes) else {
        let target = target.to_owned();
        return Err(Error::ChildLost { call, target });
    };
    let payload = bytes.get(HEAD..).unwrap_or_default();
    if head.errno == 0 {
        return Ok(payload.to_vec());
    }
    Err(Error::Call {
        call,
        target: target.to_owned(),
        step: head.step(),
        errno: crate::Errno::new(head.errno),
        said: String::from_utf8_lossy(payload).trim().replace('\n', "; "),
    })
}

/// Starts the child; answers its pid and the end of the pipe its answer comes from.
fn start(
    body: impl FnOnce(&mut Reply) -> Result<(), Failure>,
) -> Result<(Pid, OwnedFd), rustix::io::Errno> {
    let (read_end, write_end) = pipe_with(PipeFlags::CLOEXEC)?;
    let mut reply = Reply::new();
    let parent = getpid();
    // Signals stay blocked in the child, so that no handler of the parent ever runs there.
    let blocked = syscalls::BlockedSignals::all();
    match syscalls::fork()? {
        Some(pid) => {
            drop(blocked);
            drop(write_end);
            Ok((pid, read_end))
        }
        None => child(parent, &write_end, &mut reply, body),
    }
}

/// The child's whole life.
fn child(
    parent: Pid,
    out: &OwnedFd,
    reply: &mut Reply,
    body: impl FnOnce(&mut Reply) -> Result<(), Failure>,
) -> ! {
    syscalls::close_all_but(out.as_raw_fd());
    let bound = set_parent_process_death_signal(Some(Signal::KILL));
    if bound.is_err() || getppid() != Some(parent) {
        syscalls::exit_now(1);
    }
    let head = Head::of(body(reply)).bytes();
    // One write each; both fit into the empty pipe. A parent that is gone needs no answer.
    let sent = rustix::io::write(out, &head).and_then(|_| rustix::io::write(out, reply.written()));
    syscalls::exit_now(i32::from(sent.is_err()))
}

/// Reads the pipe to its end; `None` when the deadline passes first.
fn receive(pipe: &OwnedFd, deadline: Instant) -> Result<Option<Vec<u8>>, rustix::io::Errno> {
    let mut bytes = Vec::new();
    let mut part = [0_u8; 1024];
    loop {
        if !is_ready_by(pipe, PollFlags::IN, deadline)? {
            return Ok(None);
        }
        match rustix::io::read(pipe, &mut part) {
            Ok(0) => return Ok(Some(bytes)),
            Ok(count) => bytes.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Waits until the descriptor is ready or hung up, or the deadline passes (false).
pub(crate) fn is_ready_by(
    fd: impl AsFd,
    events: PollFlags,
    deadline: Instant,
) -> Result<bool, rustix::io::Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(&fd, events)];
        match poll(&mut fds, Some(&timespec(left))) {
            Ok(0) if left.is_zero() => return Ok(false),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno),
        }
    }
}

/// A duration for poll.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

/// Whether a child of ours still runs; reaps it if not. Never blocks.
pub(crate) fn is_running(pid: Pid) -> bool {
    matches!(
        waitpid(Some(pid), WaitOptions::NOHANG),
        Ok(None) | Err(rustix::io::Errno::INTR)
    )
}

/// Waits until a child of ours is gone and reaped; false when it is not by then.
pub(crate) fn is_gone_within(pid: Pid, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    // Kernels before 5.3 have no pidfd; there the wait is a short poll.
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok();
    loop {
        if !is_running(pid) {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        match &pidfd {
            Some(pidfd) => {
                let _ready = is_ready_by(pidfd, PollFlags::IN, deadline);
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

#[cfg(test)]
mod tests;
