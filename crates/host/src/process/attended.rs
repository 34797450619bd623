//! Programs that run beside their starter, which watches them: a child that serves for long, whose
//! end is noticed at once and whose last words are kept.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;

use rustix::fs::ftruncate;
use rustix::process::{PidfdFlags, Signal, kill_process, pidfd_open};

use super::{Exit, Program, Stdin, file_in_memory, pid_of, told};
use crate::syscalls::enter_network;
use crate::{AbsolutePath, Error, Host};

/// The most of standard error that is kept.
const KEPT: usize = 4096;

/// A program that is to be watched by this process.
///
/// Its limit has no meaning; it runs until it ends.
#[derive(Debug)]
pub struct AttendedProgram<'a> {
    program: Program,
    network: Option<&'a AbsolutePath>,
}

impl<'a> AttendedProgram<'a> {
    /// A program to be watched.
    #[must_use]
    pub fn new(program: Program) -> Self {
        let network = None;
        Self { program, network }
    }

    /// Lets the program run in the network namespace that this file stands for.
    #[must_use]
    pub fn in_network(mut self, namespace: Option<&'a AbsolutePath>) -> Self {
        self.network = namespace;
        self
    }
}

/// A running child. Dropping it neither ends nor reaps the child.
#[derive(Debug)]
pub struct RunningProgram {
    child: Child,
    held: Option<OwnedFd>,
    stdin: Option<File>,
    stderr: Option<File>,
    words: Vec<u8>,
    ended: Option<Exit>,
}

impl Host {
    /// Starts a program and answers at once.
    ///
    /// It shares this process's session and process group, and outlives this process. Standard
    /// output goes nowhere; standard error is kept in part, see [`RunningProgram::words`].
    ///
    /// # Errors
    /// [`Error::ProgramMissing`], or the errno of starting it or of entering the network namespace.
    pub fn start(
        &self,
        call: &'static str,
        attended: &AttendedProgram<'_>,
    ) -> Result<RunningProgram, Error> {
        let program = &attended.program;
        let name = program.name();
        self.door.call(call, &name, || {
            let failed = |step, error: &std::io::Error| Error::io(call, &name, step, error);
            let mut command = program.command()?;
            command.stdout(std::process::Stdio::null());
            let stdin = match &program.stdin {
                Some(Stdin::Again(bytes)) => {
                    let file = file_in_memory(bytes).map_err(|error| failed("write", &error))?;
                    let lent = file.try_clone().map_err(|error| failed("dup", &error))?;
                    command.stdin(lent);
                    Some(file)
                }
                Some(Stdin::Once(_)) | None => None,
            };
            if let Some(namespace) = attended.network {
                let opened = File::open(namespace.as_path());
                let opened = opened.map_err(|error| Error::io(call, namespace, "open", &error))?;
                enter_network(&mut command, opened.into());
            }
            let mut child = command.spawn().map_err(|error| failed("execve", &error))?;
            let held = pid_of(child.id()).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            let stderr = child
                .stderr
                .take()
                .map(|pipe| File::from(OwnedFd::from(pipe)));
            if let Some(pipe) = &stderr {
                rustix::io::ioctl_fionbio(pipe, true)
                    .map_err(|errno| Error::call(call, &name, "ioctl", errno))?;
            }
            Ok(RunningProgram {
                child,
                held,
                stdin,
                stderr,
                words: Vec::new(),
                ended: None,
            })
        })
    }
}

impl RunningProgram {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Becomes readable when the program ends; `None` on kernels before 5.3.
    #[must_use]
    pub fn end(&self) -> Option<BorrowedFd<'_>> {
        self.held.as_ref().map(AsFd::as_fd)
    }

    /// Becomes readable when the program has said something; `None` once it cannot any more.
    #[must_use]
    pub fn voice(&self) -> Option<BorrowedFd<'_>> {
        self.stderr.as_ref().map(AsFd::as_fd)
    }

    /// Reads what the program has said. Never blocks.
    pub fn listen(&mut self) {
        let mut part = [0_u8; 1024];
        while let Some(pipe) = &mut self.stderr {
            match pipe.read(&mut part) {
                Ok(0) => self.stderr = None,
                Ok(count) => {
                    let new = part.get(..count).unwrap_or_default();
                    self.words.extend_from_slice(new);
                    let surplus = self.words.len().saturating_sub(KEPT);
                    self.words.drain(..surplus);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_broken) => self.stderr = None,
            }
        }
    }

    /// The last of what the program said, on one line.
    #[must_use]
    pub fn words(&self) -> String {
        told(&self.words)
    }

    /// How the program ended; `None` while it runs. Reaps it. Never blocks.
    pub fn ended(&mut self) -> Option<Exit> {
        if self.ended.is_none() {
            self.ended = match self.child.try_wait() {
                Ok(status) => status.map(Exit::of),
                // Somebody else has reaped it: it is gone, and how is not known.
                Err(_no_such_child) => Some(Exit::Code(-1)),
            };
        }
        self.ended
    }

    /// Kills the program. A second call does nothing.
    pub fn kill(&mut self) {
        if self.ended().is_none()
            && let Some(pid) = pid_of(self.child.id())
        {
            // It is our child and not reaped, so the id is its own.
            let _sent = kill_process(pid, Signal::KILL);
        }
    }

    /// Takes back what was lent as standard input: from here on the file is empty for everybody.
    /// To be called when the program has read it.
    ///
    /// # Errors
    /// The errno of ftruncate.
    pub fn take_back_stdin(&mut self) -> Result<(), Error> {
        let Some(file) = self.stdin.take() else {
            return Ok(());
        };
        let failed = |errno| Error::call("host.memfd", self.child.id(), "ftruncate", errno);
        ftruncate(&file, 0).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rustix::event::PollFlags;

    use super::*;
    use crate::children::is_ready_by;
    use crate::fixture::{eventually, host};

    fn start(script: &str, stdin: &[u8]) -> RunningProgram {
        let program = Program::new("sh").args(["-c", script]).stdin_file(stdin);
        host()
            .start("test.start", &AttendedProgram::new(program))
            .unwrap()
    }

    fn wait(running: &mut RunningProgram) -> Exit {
        let deadline = Instant::now() + Duration::from_secs(10);
        if let Some(end) = running.end() {
            assert!(is_ready_by(end, PollFlags::IN, deadline).unwrap());
        }
        loop {
            if let Some(exit) = running.ended() {
                return exit;
            }
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }

    #[test]
    fn its_end_and_its_last_words_are_known() {
        let mut running = start(
            "head -c 9000 /dev/zero >&2; echo >&2; echo last >&2; exit 3",
            b"",
        );
        while running.voice().is_some() {
            running.listen();
            std::thread::yield_now();
        }
        assert_eq!(wait(&mut running), Exit::Code(3));
        assert!(running.words().ends_with("last"), "{:?}", running.words());
        assert!(running.words().len() < 2 * KEPT);
    }

    #[test]
    fn what_it_was_lent_is_taken_back() {
        let script = "cat /proc/self/fd/0 >&2; read -r _ < /proc/$$/fd/0; \
                      while [ -s /proc/self/fd/0 ]; do sleep 0.01; done; echo gone >&2";
        let mut running = start(script, b"marker");
        eventually("it has read", || {
            let shown = std::fs::read_to_string(format!("/proc/{}/fd/0", running.pid()));
            shown.is_ok_and(|text| text == "marker")
        });
        running.take_back_stdin().unwrap();
        assert_eq!(wait(&mut running), Exit::Code(0));
        running.listen();
        assert!(running.words().ends_with("gone"), "{:?}", running.words());
    }

    #[test]
    fn it_can_be_killed() {
        let mut running = start("exec sleep 60", b"");
        assert_eq!(running.ended(), None);
        running.kill();
        assert_eq!(wait(&mut running), Exit::Signal(libc::SIGKILL));
        running.kill();
    }
}
