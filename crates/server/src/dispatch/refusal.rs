//! Why the dispatcher did not run, or did not finish, what it was asked for.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cuttle_model::{Class, Code, Explain, Left};

use super::claims::{Key, QUEUED};
use super::lane::LaneName;
use crate::rpc::Rpc;

/// A running job as others are told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The call it works for.
    pub rpc: Rpc,
    /// Id of the request, as in the logs.
    pub request_id: Arc<str>,
    /// What it is doing.
    pub step: String,
    /// For how long it has been doing that.
    pub at_step: Duration,
    /// For how long it has existed.
    pub age: Duration,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (request {}), {} old, at step \"{}\" for {}",
            self.rpc,
            self.request_id,
            Seconds(self.age),
            self.step,
            Seconds(self.at_step)
        )
    }
}

/// A duration for people: whole seconds from ten on, one decimal below.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.as_secs() >= 10 {
            write!(f, "{} s", self.0.as_secs())
        } else {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        }
    }
}

/// Why there is no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// Another request works on the same thing.
    #[error("{key} is held by {holder}")]
    Conflict {
        /// What is held.
        key: Key,
        /// By whom.
        holder: Box<Holder>,
    },
    /// Too many jobs wait for the lane.
    #[error("lane \"{lane}\" is full: {running} jobs run and {queued} wait")]
    LaneFull {
        /// The lane.
        lane: LaneName,
        /// Jobs at work.
        running: usize,
        /// Jobs waiting.
        queued: usize,
    },
    /// The caller's deadline has come; the job goes on.
    #[error("not finished by the caller's deadline: {holder}")]
    Late {
        /// The job.
        holder: Box<Holder>,
    },
    /// The job panicked.
    #[error("the driver failed unexpectedly at step \"{step}\": {message}")]
    Panicked {
        /// What it was doing.
        step: String,
        /// What the panic said.
        message: String,
    },
    /// The process is about to end.
    #[error("the driver is shutting down")]
    ShuttingDown,
    /// The system gave no thread.
    #[error("no thread could be started for the request")]
    NoThread {
        /// What the system answered.
        #[source]
        error: Arc<std::io::Error>,
    },
    /// A job ended without an outcome.
    #[error("a job ended without an outcome")]
    Lost,
}

impl Explain for Refusal {
    fn code(&self) -> Code {
        match self {
            Self::Conflict { .. } => Code::new(1701),
            Self::LaneFull { .. } => Code::new(1702),
            Self::Late { .. } => Code::new(1703),
            Self::Panicked { .. } => Code::new(1704),
            Self::ShuttingDown => Code::new(1705),
            Self::NoThread { .. } => Code::new(1706),
            Self::Lost => Code::new(1707),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Conflict { .. } => Class::Busy,
            Self::LaneFull { .. } | Self::NoThread { .. } => Class::Full,
            Self::Late { .. } => Class::Late,
            Self::Panicked { .. } | Self::Lost => Class::Bug,
            Self::ShuttingDown => Class::Down,
        }
    }

    fn left(&self) -> Left {
        match self {
            // The other job works on the very thing that this request is about.
            Self::Conflict { .. }
            | Self::Late { .. }
            | Self::Panicked { .. }
            | Self::Lost
            // Not looked at: what an earlier attempt has left is not known.
            | Self::LaneFull { .. }
            | Self::ShuttingDown
            | Self::NoThread { .. } => Left::MaybeRunning,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Conflict { .. } => {
                "repeat the request when that one has ended; if it does not move on, look at the \
                 step it is at"
                    .into()
            }
            Self::LaneFull { .. } => {
                "repeat later; if this lasts, check whether the cluster answers".into()
            }
            Self::Late { holder } if holder.step == QUEUED => {
                "repeat the request to keep its place in the queue; check whether earlier requests \
                 are stuck"
                    .into()
            }
            Self::Late { .. } => "the work goes on: repeat the request to join it".into(),
            Self::Panicked { .. } | Self::Lost => {
                "this is a bug: report it with the log of this request; repeating is safe".into()
            }
            Self::ShuttingDown => "repeat the request; the next process will take it".into(),
            Self::NoThread { .. } => {
                "raise the process's limit of threads (pids.max, RLIMIT_NPROC)".into()
            }
        })
    }
}
