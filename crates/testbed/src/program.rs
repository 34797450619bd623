//! Running the host's programs: fixed locale, a deadline, drained pipes, killed when late.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::Error;

/// How long a program gets unless told otherwise.
const LIMIT: Duration = Duration::from_secs(60);

/// One run of a program that ends by itself.
#[derive(Debug)]
pub struct Program {
    name: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Option<Vec<u8>>,
    limit: Duration,
}

/// What a program left: its status and both streams.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its output, bytes as they came.
    pub stdout: Vec<u8>,
    /// Its error stream.
    pub stderr: Vec<u8>,
    /// The command, for messages.
    pub command: String,
}

impl Program {
    /// Names the program; it is looked up in `PATH`.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: None,
            limit: LIMIT,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments
            .extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets one variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives the program something to read.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Replaces the time limit of 60 seconds.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end, whatever its status.
    ///
    /// # Errors
    /// [`Error::Start`] and [`Error::Hung`].
    pub fn run(self) -> Result<Output, Error> {
        let words = || {
            std::iter::once(&self.name)
                .chain(&self.arguments)
                .map(|w| w.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        let command = words();
        let mut child = command_of(&self.name)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(n, v)| (n, v)))
            .stdin(if self.input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Start {
                program: self.name.to_string_lossy().into_owned(),
                source,
            })?;
        if let (Some(mut pipe), Some(bytes)) = (child.stdin.take(), self.input) {
            // A program that does not read to the end closes the pipe; its status tells.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        let status = wait(&mut child, self.limit).ok_or_else(|| Error::Hung {
            command: command.clone(),
            after: self.limit,
        })?;
        let rest = Duration::from_secs(5);
        Ok(Output {
            status,
            stdout: stdout.recv_timeout(rest).unwrap_or_default(),
            stderr: stderr.recv_timeout(rest).unwrap_or_default(),
            command,
        })
    }

    /// Runs it to a successful end.
    ///
    /// # Errors
    /// As [`Program::run`], and [`Error::Failed`] when the status is not zero.
    pub fn ok(self) -> Result<Output, Error> {
        let output = self.run()?;
        if output.status.success() {
            return Ok(output);
        }
        Err(Error::Failed {
            command: output.command,
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}

impl Output {
    /// The output as text, broken bytes replaced, the trailing line break cut off.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// The output as JSON.
    ///
    /// # Errors
    /// [`Error::NotJson`].
    pub fn json(&self) -> Result<serde_json::Value, Error> {
        serde_json::from_slice(&self.stdout).map_err(|source| Error::NotJson {
            command: self.command.clone(),
            source,
        })
    }
}

/// A command with the fixed locale; the one place here that makes children.
#[expect(
    clippy::disallowed_methods,
    reason = "the test bed must not depend on the product's process module, which it checks"
)]
pub(crate) fn command_of(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command
        .env("LC_ALL", "C")
        .env_remove("CEPH_CONF")
        .env_remove("CEPH_ARGS");
    command
}

/// Waits for the child's end; kills it and answers `None` when the limit passes first.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(500);
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if start.elapsed() >= limit {
            // Not waited for: a child in an uninterruptible call does not even die.
            drop(child.kill());
            return None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Reads a pipe to its end on a thread of its own, so that a chatty child never blocks.
fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut pipe) = pipe {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            drop(pipe.read_to_end(&mut bytes));
            drop(sender.send(bytes));
        });
    }
    receiver
}
