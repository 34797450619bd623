//! A call to the host that failed, with what it was for.

use std::fmt;

use cuttle_host::Error as HostError;

use crate::verdict::Verdict;

/// A call to the host that failed, with what it was for.
#[derive(Debug, thiserror::Error)]
#[error("could not {doing} {target}")]
pub struct HostFailure {
    /// What was being done: `unmount`.
    doing: &'static str,
    /// To what.
    target: Box<str>,
    /// The system's answer.
    source: Box<HostError>,
}

impl HostFailure {
    /// Adds to a failed call what it was for.
    pub(crate) fn at(
        doing: &'static str,
        target: impl fmt::Display,
    ) -> impl FnOnce(HostError) -> Self {
        move |source| Self {
            doing,
            target: target.to_string().into(),
            source: Box::new(source),
        }
    }

    /// The system's answer.
    #[must_use]
    pub fn cause(&self) -> &HostError {
        &self.source
    }

    pub(crate) fn verdict(&self) -> Verdict<'_> {
        Verdict::Host(&self.source)
    }
}
