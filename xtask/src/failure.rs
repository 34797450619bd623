//! Why a developer command failed: what was tried, and the chain of causes.

use std::error::Error;
use std::fmt;

/// A failure of a developer command, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    text: String,
}

impl Failure {
    /// A failure that speaks for itself.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// A failure with the chain of its causes.
    pub(crate) fn because(text: impl Into<String>, cause: &dyn Error) -> Self {
        Self {
            text: format!("{}: {}", text.into(), chain(cause)),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Failure {}

impl From<cuttle_testbed::Error> for Failure {
    fn from(error: cuttle_testbed::Error) -> Self {
        Self {
            text: chain(&error),
        }
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
