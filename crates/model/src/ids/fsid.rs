//! The fsid: what a Ceph cluster is, whatever its monitors' addresses and its name here.

use std::fmt;

use crate::names::{ClusterId, shorten};

/// A cluster's own identifier, which it got when it was made: a UUID, as `ceph fsid` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fsid(uuid::Uuid);

/// A text that is no fsid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID with hyphens, as `ceph fsid` prints it, got \"{shown}\"")]
pub struct FsidError {
    shown: String,
}

impl Fsid {
    /// Reads the text form; letters of either case.
    ///
    /// # Errors
    /// When it is not the 36 characters of a UUID with hyphens.
    pub fn parse(text: &str) -> Result<Self, FsidError> {
        let wrong = || FsidError {
            shown: shorten(text),
        };
        if text.len() != uuid::fmt::Hyphenated::LENGTH {
            return Err(wrong());
        }
        let uuid = uuid::Uuid::try_parse(text);
        uuid.map(Self).map_err(|_no_uuid| wrong())
    }

    /// The fsid that a `clusterID` tells: Ceph's documents recommend to take the one for the other.
    #[must_use]
    pub fn told_by(cluster: &ClusterId) -> Option<Self> {
        Self::parse(cluster.as_str()).ok()
    }
}

impl fmt::Display for Fsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_fsid_is_a_uuid_with_hyphens_in_any_case() {
        let text = "2f0f0f60-7a2c-4a0b-9f0c-6c5d3d8a1b2e";
        let fsid = Fsid::parse(text).unwrap();
        assert_eq!(fsid.to_string(), text);
        assert_eq!(Fsid::parse(&text.to_uppercase()), Ok(fsid));
        let others = [
            "",
            "rook-ceph",
            &text.replace('-', ""),
            &format!("{{{text}}}"),
        ];
        for other in others {
            let error = Fsid::parse(other).unwrap_err();
            assert!(error.to_string().contains("UUID"), "{error}");
        }
        assert_eq!(Fsid::told_by(&ClusterId::new(text).unwrap()), Some(fsid));
        assert_eq!(Fsid::told_by(&ClusterId::new("rook-ceph").unwrap()), None);
    }
}
