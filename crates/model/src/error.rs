//! How every error of the driver explains itself: a stable code, a class, what is left behind and
//! what to do next.
//!
//! Operations return their own error enums; one table at the rim turns (operation, class, left)
//! into a gRPC code. Nothing else chooses a code.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// What kind of failure an error is, independent of the operation it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A caller's value is wrong; editing the object that holds it fixes it.
    Invalid,
    /// What the request names does not exist, proved by a positive answer.
    Absent,
    /// Something with the same name and incompatible properties exists.
    Exists,
    /// The world is in a state that forbids the operation: in use, not staged, wrong order.
    Unmet,
    /// A size lies outside what can be made.
    OutOfRange,
    /// A pool, quota or file system has no room left.
    Full,
    /// Another operation holds the same thing.
    Busy,
    /// The credentials were accepted, but their capabilities forbid the operation.
    Denied,
    /// The credentials were not accepted.
    Unauthenticated,
    /// The capability is not offered here.
    Unsupported,
    /// A cluster or service cannot be reached.
    Down,
    /// The caller's deadline passed while the work still runs.
    Late,
    /// An invariant of the driver broke.
    Bug,
}

impl Class {
    /// Every class, in declaration order, for tables and tests that must cover all of them.
    pub const ALL: [Self; 13] = [
        Self::Invalid,
        Self::Absent,
        Self::Exists,
        Self::Unmet,
        Self::OutOfRange,
        Self::Full,
        Self::Busy,
        Self::Denied,
        Self::Unauthenticated,
        Self::Unsupported,
        Self::Down,
        Self::Late,
        Self::Bug,
    ];
}

/// What a failed operation leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Left {
    /// Nothing was changed.
    Nothing,
    /// Something was changed and has been undone.
    Undone,
    /// Something may exist or may still be running; only a repeat of the request finds out.
    MaybeRunning,
}

impl Left {
    /// Every value, in declaration order.
    pub const ALL: [Self; 3] = [Self::Nothing, Self::Undone, Self::MaybeRunning];
}

/// The stable number of a kind of error, printed as `CUTTLE-1101` and listed in `docs/errors.md`.
///
/// 10xx requests and names, 11xx configuration, 12xx Ceph, 13xx journal, 14xx volumes, 15xx node,
/// 16xx host, 17xx dispatch, 18xx image export. Within 10xx, this crate uses 1001 to 1029.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl Code {
    /// Makes the code with this number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number alone.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CUTTLE-{:04}", self.0)
    }
}

/// What an error of the driver tells beside its message.
///
/// The `Display` text of an implementor states its own facts only (lower case, no full stop, never
/// the text of its source); [`chain`] prints the whole story.
pub trait Explain: Error + Send + Sync + 'static {
    /// The stable code of this kind of error.
    fn code(&self) -> Code;

    /// The kind of failure.
    fn class(&self) -> Class;

    /// What the failed operation left behind.
    fn left(&self) -> Left {
        Left::Nothing
    }

    /// What an operator can do about it, as a sentence without a full stop.
    fn remedy(&self) -> Option<Cow<'static, str>> {
        None
    }
}

/// Prints an error with all its causes, outermost first, as `a: b: c`.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner")]
    struct Inner;

    #[test]
    fn a_chain_names_every_cause_once() {
        assert_eq!(chain(&Outer(Inner)), "outer: inner");
        assert_eq!(chain(&Inner), "inner");
    }

    #[test]
    fn codes_print_with_their_prefix() {
        assert_eq!(Code::new(1101).to_string(), "CUTTLE-1101");
        assert_eq!(Code::new(1101).number(), 1101);
    }
}
