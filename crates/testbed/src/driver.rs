//! Running a driver's binary as a pod would: a process, a socket and a log.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::daemon::{self, Life};
use crate::program::command_of;
use crate::{Error, ProcessUse, until};

/// How a driver is to be started.
#[derive(Debug, Clone)]
pub struct DriverOptions {
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables of its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The directory for its log and for a link to the binary, so that every process that it
    /// starts from itself can be told from other people's by [`crate::host_residue`].
    pub dir: PathBuf,
    /// The name of the log, and of the link, in that directory.
    pub name: String,
    /// The socket whose appearance means that it serves; `None` for a program without one.
    pub socket: Option<PathBuf>,
    /// How long it may take to serve.
    pub patience: Duration,
    /// Leave it running when the value is dropped and when this process ends.
    pub detached: bool,
}

impl DriverOptions {
    /// A driver that dies with this process and gets ten seconds to serve.
    pub fn new(program: impl Into<PathBuf>, dir: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            dir: dir.into(),
            name: "driver".to_owned(),
            socket: None,
            patience: Duration::from_secs(10),
            detached: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets the name of its log.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Waits for this socket after the start.
    #[must_use]
    pub fn socket(mut self, socket: impl Into<PathBuf>) -> Self {
        self.socket = Some(socket.into());
        self
    }
}

/// A running driver; killed on drop unless it was started detached.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    name: String,
    log: PathBuf,
    socket: Option<PathBuf>,
    started: Instant,
    detached: bool,
}

impl Driver {
    /// Starts the binary and waits until its socket takes connections.
    ///
    /// The log is appended to, so that a restarted driver keeps its history.
    ///
    /// # Errors
    /// [`Error::Died`] with the log's tail when it ends before it serves, [`Error::Waited`] when
    /// it does not serve in time.
    pub fn start(options: &DriverOptions) -> Result<Self, Error> {
        let mut driver = Self::launch(options)?;
        driver.wait_serving(options.patience)?;
        Ok(driver)
    }

    /// Starts the binary without waiting for its socket.
    ///
    /// # Errors
    /// [`Error::Start`] and [`Error::File`].
    pub fn launch(options: &DriverOptions) -> Result<Self, Error> {
        std::fs::create_dir_all(&options.dir).map_err(Error::file("create", &options.dir))?;
        let program = link_program(&options.program, &options.dir)?;
        let life = if options.detached {
            Life::Detached
        } else {
            Life::Owned
        };
        Self::launch_as(options, daemon::command(life, &program))
    }

    /// Starts the binary directly, without the program that ties its life to ours; for measuring
    /// how long it takes to serve. It is still killed on drop.
    ///
    /// # Errors
    /// As [`Driver::launch`].
    pub fn launch_bare(options: &DriverOptions) -> Result<Self, Error> {
        std::fs::create_dir_all(&options.dir).map_err(Error::file("create", &options.dir))?;
        Self::launch_as(options, command_of(&options.program))
    }

    fn launch_as(options: &DriverOptions, mut command: Command) -> Result<Self, Error> {
        let log = options.dir.join(format!("{}.log", options.name));
        command.args(&options.arguments);
        command.envs(
            options
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        );
        let started = Instant::now();
        let child = daemon::spawn(command, &options.name, &log)?;
        Ok(Self {
            child,
            name: options.name.clone(),
            log,
            socket: options.socket.clone(),
            started,
            detached: options.detached,
        })
    }

    /// Waits until the socket takes connections; returns at once when there is none to wait for.
    ///
    /// # Errors
    /// As [`Driver::start`].
    pub fn wait_serving(&mut self, patience: Duration) -> Result<(), Error> {
        let Some(socket) = self.socket.clone() else {
            return Ok(());
        };
        until(
            format!("{} serves on {}", self.name, socket.display()),
            patience,
            || match UnixStream::connect(&socket) {
                Ok(_) => Ok(Ok(())),
                Err(error) => match self.child.try_wait() {
                    Ok(Some(status)) => Ok(Err(self.died(status))),
                    Ok(None) | Err(_) => Err(error.to_string()),
                },
            },
        )?
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// When its process was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Where its log is.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Its log so far; empty when it cannot be read.
    #[must_use]
    pub fn log_text(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What it uses now.
    ///
    /// # Errors
    /// [`Error::File`] when it has ended.
    pub fn process_use(&self) -> Result<ProcessUse, Error> {
        ProcessUse::of(self.pid())
    }

    /// Its exit status, when it has ended.
    #[must_use]
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Error::Waited`] when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        let what = format!("{} ends", self.name);
        until(what, limit, || {
            self.try_wait().ok_or_else(|| "it runs".to_owned())
        })
    }

    /// Kills it as the kernel's memory killer would, and waits for its end. Idempotent.
    ///
    /// # Errors
    /// [`Error::Waited`].
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        // It may have ended by itself; then its own status is the answer.
        drop(self.child.kill());
        self.wait(Duration::from_secs(10))
    }

    /// Asks it to end as kubelet does, and waits.
    ///
    /// # Errors
    /// [`Error::Waited`] when it does not end within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        daemon::signal(&self.name, self.pid(), Signal::TERM)?;
        self.wait(limit)
    }

    fn died(&self, status: ExitStatus) -> Error {
        Error::Died {
            name: self.name.clone(),
            status: status.to_string(),
            log: daemon::tail(&self.log),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if !self.detached {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Makes the binary appear in `dir`: a hard link, or a copy across file systems.
fn link_program(program: &Path, dir: &Path) -> Result<PathBuf, Error> {
    let bin = dir.join("bin");
    std::fs::create_dir_all(&bin).map_err(Error::file("create", &bin))?;
    let link = bin.join(program.file_name().unwrap_or_default());
    match std::fs::remove_file(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::file("replace", &link)(error));
        }
        Ok(()) | Err(_) => {}
    }
    if std::fs::hard_link(program, &link).is_err() {
        std::fs::copy(program, &link).map_err(Error::file("copy", program))?;
    }
    Ok(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ends_before_it_serves_is_told_with_its_last_words() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut options = DriverOptions::new("/bin/ls", dir.path())
            .arg("--no-such-flag")
            .socket(dir.path().join("none.sock"));
        options.patience = Duration::from_secs(30);
        let error = Driver::start(&options).expect_err("it has no socket");
        assert!(
            matches!(&error, Error::Died { log, .. } if log.contains("no-such-flag")),
            "{error}"
        );
    }

    #[test]
    fn a_killed_driver_reports_how_it_ended_and_kill_may_be_repeated() {
        let dir = tempfile::tempdir().expect("a directory");
        let options = DriverOptions::new("/bin/sleep", dir.path())
            .arg("60")
            .name("sleeper");
        let mut driver = Driver::start(&options).expect("a driver");
        assert!(driver.try_wait().is_none());
        let first = driver.kill().expect("an end");
        let again = driver.kill().expect("the same end");
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&first),
            Some(9)
        );
        assert_eq!(first, again);
    }
}
