//! Programs: the only way the driver starts other processes.
//!
//! A program is looked for in a fixed path, gets a fixed environment (`LC_ALL=C`, `PATH`, and what
//! is named), `/` as working directory, a process group of its own, and a deadline. Secrets go
//! through standard input. Both outputs are read as they come, and only so much of them is kept.
//! No shell is ever involved.

mod attended;
mod detached;
mod identity;
mod pump;
mod serving;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use crate::children::{is_gone_within, is_running};
use crate::syscalls::die_with_parent;
use crate::{Error, Host};

pub use attended::{AttendedProgram, RunningProgram};
pub use detached::{DetachedProgram, StartedProgram};
pub use identity::ProcessIdentity;
use pump::Pumped;

/// Where programs are looked for, in order.
const SEARCHED: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The path under which a program opens its own standard input.
pub const STDIN_PATH: &str = "/proc/self/fd/0";

/// How long a program may run when nothing else is said.
const USUAL_LIMIT: Duration = Duration::from_secs(60);

/// How long a killed program may take to be gone before it is left to be reaped later.
const FAREWELL: Duration = Duration::from_secs(2);

/// The most of standard error that is put into an error.
const TOLD: usize = 2048;

/// A program to be run. `Debug` shows neither standard input nor the values of the environment.
pub struct Program {
    name: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    stdin: Option<Stdin>,
    limit: Duration,
    about: Option<String>,
}

/// What a program reads from its standard input.
enum Stdin {
    /// Through a pipe.
    Once(Zeroizing<Vec<u8>>),
    /// From a file in memory.
    Again(Zeroizing<Vec<u8>>),
}

impl Program {
    /// The program of this name, or at this absolute path, without arguments.
    #[must_use]
    pub fn new(name: impl Into<OsString>) -> Self {
        Self {
            name: name.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            stdin: None,
            limit: USUAL_LIMIT,
            about: None,
        }
    }

    /// Adds an argument. Arguments are seen by every process of the machine: never a secret.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        let arguments = arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned());
        self.arguments.extend(arguments);
        self
    }

    /// Sets a variable of the environment, which holds nothing else but `LC_ALL` and `PATH`.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let pair = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.environment.push(pair);
        self
    }

    /// Writes these bytes to standard input and closes it; the place for secrets. Without this,
    /// standard input is empty. The bytes are wiped from memory with the program.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(Stdin::Once(Zeroizing::new(bytes.into())));
        self
    }

    /// As [`Program::stdin`], for a program that wants a file and reads it more than once: it finds
    /// the bytes at [`STDIN_PATH`]. The file is in memory and has no other name.
    #[must_use]
    pub fn stdin_file(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(Stdin::Again(Zeroizing::new(bytes.into())));
        self
    }

    /// Says what the program works on: while an earlier run of the same call on it cannot be
    /// killed, no other is started.
    #[must_use]
    pub fn about(mut self, target: impl fmt::Display) -> Self {
        self.about = Some(target.to_string());
        self
    }

    /// How long the program may run (60 s when not said); the job's deadline cuts this shorter.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The name as given, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// The arguments as given, for tests of a plan.
    #[must_use]
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The command with its fixed surroundings.
    fn command(&self) -> Result<Command, Error> {
        let program = locate(&self.name)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one door to programs"
        )]
        let mut command = Command::new(program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", SEARCH_PATH)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(match &self.stdin {
                Some(Stdin::Once(_)) => Stdio::piped(),
                Some(Stdin::Again(bytes)) => file_in_memory(bytes)
                    .map_err(|error| Error::io("host.memfd", self.name(), "write", &error))?
                    .into(),
                None => Stdio::null(),
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<&OsString> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("Program")
            .field("name", &self.name)
            .field("arguments", &self.arguments)
            .field("environment", &variables)
            .field("has_stdin", &self.stdin.is_some())
            .field("limit", &self.limit)
            .finish()
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    fn of(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, Some(signal)) => Self::Signal(signal),
            // Linux knows no third way to end.
            (None, None) => Self::Code(-1),
        }
    }

    /// Whether the program ended with code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with code {code}"),
            Self::Signal(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

/// What was kept of an output.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// The bytes kept.
    pub bytes: Vec<u8>,
    /// Whether more was written than was kept.
    pub cut: bool,
}

impl Captured {
    /// The bytes as text; what is no UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.cut { " and more" } else { "" };
        write!(f, "{:?}{more}", String::from_utf8_lossy(&self.bytes))
    }
}

/// A program that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// The first 64 KiB of standard output.
    pub stdout: Captured,
    /// The last 64 KiB of standard error.
    pub stderr: Captured,
}

impl Finished {
    /// The same, if the program succeeded.
    ///
    /// # Errors
    /// [`Error::ProgramFailed`] with the end of what it wrote to standard error.
    pub fn expect_success(self, program: &str) -> Result<Self, Error> {
        if self.exit.is_success() {
            return Ok(self);
        }
        Err(Error::ProgramFailed {
            program: program.to_owned(),
            exit: self.exit,
            stderr: told(&self.stderr.bytes),
        })
    }
}

/// The last of an output, on one line, for an error.
pub(crate) fn told(output: &[u8]) -> String {
    let start = output.len().saturating_sub(TOLD);
    let text = String::from_utf8_lossy(output.get(start..).unwrap_or_default());
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ")
}

/// A file in memory with these bytes, to be read from its start.
fn file_in_memory(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(memfd_create("cuttle-stdin", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// The absolute path of a program.
fn locate(name: &OsStr) -> Result<PathBuf, Error> {
    use std::os::unix::fs::PermissionsExt as _;

    let path = Path::new(name);
    let runs = |path: &Path| {
        let runs =
            |data: std::fs::Metadata| data.is_file() && data.permissions().mode() & 0o111 != 0;
        std::fs::metadata(path).is_ok_and(runs)
    };
    let missing = || Error::ProgramMissing {
        program: name.to_string_lossy().into_owned(),
        looked_in: SEARCH_PATH,
    };
    if path.is_absolute() {
        return if runs(path) {
            Ok(path.to_owned())
        } else {
            Err(missing())
        };
    }
    if path.components().count() != 1 {
        return Err(missing());
    }
    let mut candidates = SEARCHED
        .iter()
        .map(|directory| Path::new(directory).join(path));
    candidates
        .find(|candidate| runs(candidate))
        .ok_or_else(missing)
}

impl Host {
    /// Whether a program is installed.
    #[must_use]
    pub fn has_program(&self, name: &str) -> bool {
        locate(OsStr::new(name)).is_ok()
    }

    /// Runs a program to its end. `call` is the name the door counts it under.
    ///
    /// The program dies with this process. A failure of the program is no error here: see
    /// [`Finished::expect_success`].
    ///
    /// # Blocking
    /// At most the program's limit; then its process group is killed. A program that cannot be
    /// killed is left behind.
    ///
    /// # Errors
    /// [`Error::ProgramMissing`], [`Error::ProgramLate`] (at once, if an earlier run is stuck on
    /// what this one is [about](Program::about)), or the errno of starting it.
    pub fn run(&self, call: &'static str, program: &Program) -> Result<Finished, Error> {
        self.door
            .call(call, program.name(), || self.run_now(call, program))
    }

    fn run_now(&self, call: &'static str, program: &Program) -> Result<Finished, Error> {
        self.children.reap();
        let failed = |step, error: &std::io::Error| Error::io(call, program.name(), step, error);
        let about = program.about.clone().unwrap_or_else(|| program.name());
        if program.about.is_some() && self.children.is_stuck(call, &about) {
            return Err(Error::ProgramLate {
                program: program.name(),
                waited: Duration::ZERO,
                stderr: format!("an earlier one is still stuck on {about}"),
            });
        }
        let mut command = program.command()?;
        command.process_group(0);
        // That thread waits here, so this strikes only when the whole process dies: a half-done
        // mkfs must not run on while its successor looks at the device.
        die_with_parent(&mut command);
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| failed("execve", &error))?;
        let limit = Self::within(program.limit);
        let input = match &program.stdin {
            Some(Stdin::Once(bytes)) => bytes.as_slice(),
            Some(Stdin::Again(_)) | None => &[],
        };
        let pumped = pump::pump(&mut child, input, started + limit);
        let (stdout, stderr, ended) = match pumped {
            Ok(Pumped {
                stdout,
                stderr,
                ended,
            }) => (stdout, stderr, ended),
            Err(error) => {
                self.kill_group(&mut child, call, &about);
                return Err(failed("poll", &error));
            }
        };
        if let Some(status) = ended {
            let exit = Exit::of(status);
            return Ok(Finished {
                exit,
                stdout,
                stderr,
            });
        }
        self.kill_group(&mut child, call, &about);
        Err(Error::ProgramLate {
            program: program.name(),
            waited: started.elapsed(),
            stderr: told(&stderr.bytes),
        })
    }

    /// Kills a program and what it started, and leaves what does not die to be reaped later.
    fn kill_group(&self, child: &mut Child, call: &'static str, name: &str) {
        kill_group_of(child.id());
        let Some(pid) = pid_of(child.id()) else {
            return;
        };
        if !is_gone_within(pid, FAREWELL) {
            self.children.leave(pid, call, name);
        }
    }

    /// Waits until a process is gone; false when it still runs after `limit`. A child of this
    /// process is reaped on the way. Never kills.
    ///
    /// # Errors
    /// None of its own; those of the door.
    pub fn wait_process_gone(&self, pid: u32, limit: Duration) -> Result<bool, Error> {
        self.door.call("host.wait_process", pid, || {
            let Some(pid) = pid_of(pid) else {
                return Ok(true);
            };
            let deadline = Instant::now() + Self::within(limit);
            loop {
                self.children.reap();
                // Reaps a child of ours; anything else is asked by signal 0.
                let is_ours = is_running(pid);
                if !is_ours
                    && rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
                {
                    return Ok(true);
                }
                if Instant::now() >= deadline {
                    return Ok(false);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        })
    }
}

fn pid_of(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}

/// Kills a process group that one of our children leads.
fn kill_group_of(id: u32) {
    if let Some(pid) = pid_of(id) {
        // A group that is gone already is what is wanted.
        let _sent = kill_process_group(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests;
