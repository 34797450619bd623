//! What a `Debug` output shows in place of a secret.

use std::fmt;

/// Stands for a secret in a `Debug` output; says how many entries there are, never which.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Redacted(Option<usize>);

impl Redacted {
    /// In place of a map or list with `count` entries.
    pub(crate) const fn entries(count: usize) -> Self {
        Self(Some(count))
    }

    /// In place of a single value.
    #[allow(
        dead_code,
        reason = "used by generated code as soon as CSI has such a field"
    )]
    pub(crate) const fn value() -> Self {
        Self(None)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(count) => write!(f, "<{count} redacted>"),
            None => f.write_str("<redacted>"),
        }
    }
}
