//! Programs that stay: started in their own session, they outlive the request and the driver.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Exit, Program, Stdin, told};
use crate::children::is_ready_by;
use crate::syscalls::lead_session;
use crate::{AbsolutePath, Error, Host};

/// The longest ready line.
const LONGEST_LINE: usize = 4096;

/// Where the standard error of a program that stays goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errors<'a> {
    /// To where this process's goes.
    Inherited,
    /// To the end of this file.
    File(&'a AbsolutePath),
}

/// A program that is to stay.
///
/// It must say one line on standard output when it is ready (or why it cannot), and nothing
/// after it: the pipe is closed then.
#[derive(Debug)]
pub struct DetachedProgram<'a> {
    program: Program,
    errors: Errors<'a>,
}

impl<'a> DetachedProgram<'a> {
    /// A program that is to stay; its limit is the time it has to say that it is ready.
    #[must_use]
    pub fn new(program: Program) -> Self {
        Self {
            program,
            errors: Errors::Inherited,
        }
    }

    /// Appends standard error to this file (mode 0600 when made) instead of sharing this
    /// process's.
    #[must_use]
    pub fn log_to(mut self, file: &'a AbsolutePath) -> Self {
        self.errors = Errors::File(file);
        self
    }
}

/// A program that stays, and what it said when it was ready.
#[derive(Debug)]
pub struct StartedProgram {
    /// Its process id, also that of its session and process group.
    pub pid: u32,
    /// The line it said, without the newline.
    pub line: String,
    /// The process itself, also when its id belongs to another one by now; kernels before 5.3
    /// have no such thing.
    process: Option<OwnedFd>,
}

impl Host {
    /// Starts a program that stays: in its own session, not bound to this process's life, with a
    /// payload on standard input, and waits for the line by which it says that it is ready.
    ///
    /// The line is not interpreted: the program may say in it that it failed. A program that says
    /// nothing in time is killed with its process group.
    ///
    /// When the program ends while this process lives, it is reaped by a later call that starts a
    /// child, by [`Host::wait_process_gone`] or [`Host::reap`].
    ///
    /// # Errors
    /// [`Error::ProgramUnready`] when it ended (or closed its output) without a line,
    /// [`Error::ProgramLate`], [`Error::ProgramMissing`], or the errno of starting it.
    pub fn spawn_detached(
        &self,
        call: &'static str,
        detached: &DetachedProgram<'_>,
    ) -> Result<StartedProgram, Error> {
        let name = detached.program.name();
        self.door
            .call(call, &name, || self.spawn_detached_now(call, detached))
    }

    fn spawn_detached_now(
        &self,
        call: &'static str,
        detached: &DetachedProgram<'_>,
    ) -> Result<StartedProgram, Error> {
        self.children.reap();
        let program = &detached.program;
        let name = program.name();
        let failed = |step, error: &std::io::Error| Error::io(call, &name, step, error);
        let mut command = program.command()?;
        match detached.errors {
            Errors::Inherited => command.stderr(Stdio::inherit()),
            Errors::File(path) => {
                let file = open_log(path).map_err(|error| Error::io(call, path, "open", &error))?;
                command.stderr(file)
            }
        };
        lead_session(&mut command);
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| failed("execve", &error))?;
        let deadline = started + Self::within(program.limit);
        let fed = feed(&mut child, program, deadline);
        let line = fed.and_then(|()| read_line(&mut child, deadline));
        match line {
            Ok(Line::Said(line)) => {
                let pid = child.id();
                let mut process = None;
                if let Some(pid) = super::pid_of(pid) {
                    // Before anybody else may reap it.
                    process = pidfd_open(pid, PidfdFlags::empty()).ok();
                    self.children.leave(pid, call, &format!("{name} {pid:?}"));
                }
                Ok(StartedProgram { pid, line, process })
            }
            Ok(Line::Ended(said)) => {
                let exit = self.end_of(&mut child, call, &name);
                Err(Error::ProgramUnready {
                    program: name,
                    exit,
                    said: told(&said),
                })
            }
            Ok(Line::Late(said)) => {
                self.kill_group(&mut child, call, &name);
                let waited = started.elapsed();
                Err(Error::ProgramLate {
                    program: name,
                    waited,
                    stderr: told(&said),
                })
            }
            Err(error) => {
                self.kill_group(&mut child, call, &name);
                Err(failed("read", &error))
            }
        }
    }

    /// Sees to the end of a program that has said it does not stay: waits for it, and kills it when
    /// it is not gone by then. Answers false when even that has not ended it; then it is reaped by
    /// a later call.
    ///
    /// Only for a program of which nothing must be saved.
    ///
    /// # Errors
    /// None of its own; those of the door.
    pub fn end_detached(&self, started: &StartedProgram, limit: Duration) -> Result<bool, Error> {
        if self.wait_process_gone(started.pid, limit)? {
            return Ok(true);
        }
        self.door.call("host.kill", started.pid, || {
            if let Some(process) = &started.process {
                // That it has gone in between is what is wanted.
                let _sent = pidfd_send_signal(process, Signal::KILL);
            }
            Ok::<(), Error>(())
        })?;
        self.wait_process_gone(started.pid, super::FAREWELL)
    }

    /// How a program that closed its output ended; it is killed if it has not.
    fn end_of(&self, child: &mut Child, call: &'static str, name: &str) -> Exit {
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Exit::of(status),
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(None) | Err(_) => {
                    self.kill_group(child, call, name);
                    return Exit::Signal(libc::SIGKILL);
                }
            }
        }
    }
}

pub(super) fn open_log(path: &AbsolutePath) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut options = File::options();
    options
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW);
    options.open(path.as_path())
}

/// Writes the payload; a program that does not read it has until the deadline.
fn feed(child: &mut Child, program: &Program, deadline: Instant) -> std::io::Result<()> {
    let (Some(mut pipe), Some(Stdin::Once(payload))) = (child.stdin.take(), &program.stdin) else {
        return Ok(());
    };
    rustix::io::ioctl_fionbio(&pipe, true)?;
    let mut rest = payload.as_slice();
    while !rest.is_empty() {
        match pipe.write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if !is_ready_by(pipe.as_fd(), PollFlags::OUT, deadline)? {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // It does not want the payload; its line or its end tells why.
            Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What came on standard output.
enum Line {
    /// A whole line.
    Said(String),
    /// The end, after these bytes.
    Ended(Vec<u8>),
    /// The deadline, after these bytes.
    Late(Vec<u8>),
}

fn read_line(child: &mut Child, deadline: Instant) -> std::io::Result<Line> {
    let Some(stdout) = child.stdout.take() else {
        return Ok(Line::Ended(Vec::new()));
    };
    let mut stdout = File::from(OwnedFd::from(stdout));
    let mut said = Vec::new();
    let mut part = [0_u8; 512];
    loop {
        if !is_ready_by(&stdout, PollFlags::IN, deadline)? {
            return Ok(Line::Late(said));
        }
        match stdout.read(&mut part)? {
            0 => return Ok(Line::Ended(said)),
            count => said.extend_from_slice(part.get(..count).unwrap_or_default()),
        }
        if let Some(end) = said.iter().position(|byte| *byte == b'\n') {
            said.truncate(end);
            return Ok(Line::Said(String::from_utf8_lossy(&said).into_owned()));
        }
        if said.len() > LONGEST_LINE {
            return Ok(Line::Ended(said));
        }
    }
}
