//! What is wrong with a path that a request names.

use std::borrow::Cow;

use cuttle_host::{AbsolutePath, PathRefused};
use cuttle_model::Class;

use crate::host_failure::HostFailure;
use crate::verdict::{Verdict, explain_by_verdict};

/// What is wrong with a path that a request names.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The path breaks a rule.
    #[error("the path cannot be used")]
    Path(#[source] PathRefused),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
    /// Nothing is there.
    #[error("staging_target_path {path} does not exist")]
    StagingMissing {
        /// The path.
        path: String,
    },
    /// Something else stands there.
    #[error("{path} is {found}, not {expected}")]
    WrongKind {
        /// The path.
        path: AbsolutePath,
        /// What it is.
        found: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Something is mounted there that this volume is not.
    #[error("{path} is in use by something else: {found} is mounted there")]
    Taken {
        /// The path.
        path: AbsolutePath,
        /// What is mounted there.
        found: String,
    },
}

impl PlaceError {
    pub(crate) fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Path(_) => Verdict::Own(1560, Class::Invalid),
            Self::Host(failure) => failure.verdict(),
            Self::StagingMissing { .. } => Verdict::Own(1561, Class::Invalid),
            Self::WrongKind { .. } => Verdict::Own(1562, Class::Unmet),
            Self::Taken { .. } => Verdict::Own(1563, Class::Unmet),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Host(_) => return None,
            Self::Path(_) => "give the absolute path that kubelet uses for the volume".into(),
            Self::StagingMissing { .. } => {
                "the caller makes the staging directory; check that kubelet's directory is mounted \
                 into the plugin's container at the same path"
                    .into()
            }
            Self::WrongKind { .. } => "remove what is there, then repeat the request".into(),
            Self::Taken { .. } => {
                "find out who mounted it (`findmnt`), unmount it, then repeat the request".into()
            }
        })
    }
}

explain_by_verdict!(PlaceError);
