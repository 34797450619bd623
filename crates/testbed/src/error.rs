//! What can go wrong while a test cluster or a driver process is started, asked or stopped.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// A failure of the test bed itself, never a verdict about the code under test.
#[derive(Debug, thiserror::Error)]
#[expect(
    clippy::error_impl_error,
    reason = "named by its crate: `cuttle_testbed::Error`"
)]
pub enum Error {
    /// A program is not installed or could not be started.
    #[error("cannot start {program}: {source} (`make setup` installs what is missing)")]
    Start {
        /// The program's name.
        program: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A program ran and reported a failure.
    #[error("{command} ended with {status}: {stderr}")]
    Failed {
        /// The program with its arguments.
        command: String,
        /// Its exit status.
        status: ExitStatus,
        /// What it wrote to its error stream.
        stderr: String,
    },
    /// A program did not end in time and was killed.
    #[error("{command} did not end within {after:?}")]
    Hung {
        /// The program with its arguments.
        command: String,
        /// How long it was given.
        after: Duration,
    },
    /// A program's output is not what its documentation promises.
    #[error("{command} printed what is not JSON")]
    NotJson {
        /// The program with its arguments.
        command: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// A verb: "read", "write", "create".
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The state file of a cluster is unreadable.
    #[error("{path} is not the state of a test cluster")]
    State {
        /// The path.
        path: PathBuf,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A daemon ended although it should run.
    #[error("{name} ended early ({status}); its last words: {log}")]
    Died {
        /// Which daemon or driver.
        name: String,
        /// How it ended, in words.
        status: String,
        /// The tail of its output.
        log: String,
    },
    /// A condition did not come true in time.
    #[error("waited {after:?} in vain: {what}; last seen: {last}")]
    Waited {
        /// What was waited for.
        what: String,
        /// For how long.
        after: Duration,
        /// The last observation.
        last: String,
    },
    /// A directory cannot hold a cluster.
    #[error("{path} cannot hold a test cluster: {reason}")]
    Directory {
        /// The path.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The process that runs this guest could not do what was wished.
    #[error("{what}: {problem}")]
    Switch {
        /// The wish.
        what: &'static str,
        /// What went wrong.
        problem: String,
    },
    /// A signal could not be sent.
    #[error("cannot signal {name} (process {pid})")]
    Signal {
        /// Which daemon or driver.
        name: String,
        /// Its process id.
        pid: i32,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl Error {
    /// Builds the closure that turns an I/O error about `path` into this type.
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
