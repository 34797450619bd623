//! Identifiers that Ceph or the journal gives out: numbers of pools and file systems, object UUIDs.

use std::fmt;

use crate::error::{Class, Code, Explain};
use crate::names::shorten;

mod fsid;

pub use fsid::{Fsid, FsidError};

/// The number of a RADOS pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(i64);

impl PoolId {
    /// Makes the id with this number.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The number of a Ceph file system (fscid); the location in the handles of its volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FsId(i64);

impl FsId {
    /// Makes the id with this number.
    #[must_use]
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for FsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The 36 characters that join a handle, its journal record and its image.
///
/// New ones are UUIDs of version 4, written in lower case; those read back are kept as they are,
/// because older releases wrote other versions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectUuid(String);

/// Text that cannot be the UUID of a journal object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("object UUID \"{shown}\" must be 36 letters, digits or '-'")]
pub struct UuidError {
    shown: String,
}

impl Explain for UuidError {
    fn code(&self) -> Code {
        Code::new(1002)
    }
    fn class(&self) -> Class {
        Class::Invalid
    }
}

impl ObjectUuid {
    /// The length of its text in bytes.
    pub const LEN: usize = 36;

    /// A new random UUID (version 4). Draws from the system's random numbers.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().hyphenated().to_string())
    }

    /// Takes the text of an existing UUID.
    ///
    /// # Errors
    /// When it is not exactly 36 ASCII letters, digits or hyphens.
    pub fn parse(text: &str) -> Result<Self, UuidError> {
        let fits =
            text.len() == Self::LEN && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(UuidError {
                shown: shorten(text),
            })
        }
    }

    /// The UUID that takes this one's place when its volume is given up: the last four digits
    /// count. [`ObjectUuid::predecessor`] leads back. `None` for UUIDs that are not ours and have
    /// no digits there.
    #[must_use]
    pub fn successor(&self) -> Option<Self> {
        self.counted(|count| count.wrapping_add(1))
    }

    /// The UUID whose place this one may have taken.
    #[must_use]
    pub fn predecessor(&self) -> Option<Self> {
        self.counted(|count| count.wrapping_sub(1))
    }

    fn counted(&self, count: fn(u16) -> u16) -> Option<Self> {
        let (head, tail) = self.0.split_at_checked(Self::LEN.checked_sub(4)?)?;
        let number = u16::from_str_radix(tail, 16).ok()?;
        Some(Self(format!("{head}{:04x}", count(number))))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ObjectUuid {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_uuids_are_version_4_and_differ() {
        let (a, b) = (ObjectUuid::random(), ObjectUuid::random());
        assert_ne!(a, b);
        assert_eq!(a.as_str().as_bytes()[14], b'4');
        assert_eq!(ObjectUuid::parse(a.as_str()).unwrap(), a);
        assert_eq!(a.to_string(), a.to_string().to_lowercase());
    }

    #[test]
    fn only_36_plain_characters_are_taken() {
        ObjectUuid::parse("50D53503-9da1-11ed-847e-bacf8f2f1297").unwrap();
        for bad in [
            "",
            "50d53503",
            "50d53503-9da1-11ed-847e-bacf8f2f129/",
            &"ä".repeat(18),
        ] {
            assert!(ObjectUuid::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_successor_leads_back() {
        let uuid = |text: &str| ObjectUuid::parse(text).unwrap();
        let last = uuid("50d53503-9da1-4a6c-847e-bacf8f2fffff");
        let next = uuid("50d53503-9da1-4a6c-847e-bacf8f2f0000");
        assert_eq!(last.successor().as_ref(), Some(&next));
        assert_eq!(next.predecessor(), Some(last));
        let random = ObjectUuid::random();
        assert_eq!(random.successor().unwrap().predecessor(), Some(random));
        assert_eq!(uuid(&"z".repeat(36)).successor(), None);
    }

    #[test]
    fn pool_ids_print_as_numbers() {
        assert_eq!(PoolId::new(-1).to_string(), "-1");
        assert_eq!(PoolId::new(7).get(), 7);
        assert_eq!(FsId::new(1).to_string(), "1");
        assert_eq!(FsId::new(1).get(), 1);
    }
}
