//! One entry of the directory: which record belongs to a name.

use cuttle_model::{ObjectUuid, PoolId};

/// The value of a directory key, in either of its two forms.
///
/// ```text
/// 50d53503-9da1-11ed-847e-bacf8f2f1297                     the image is in the directory's pool
/// 0000000000000007/50d53503-9da1-11ed-847e-bacf8f2f1297    the image is in pool 7
/// ```
///
/// The second form is written by no current driver, but volumes that were made in the pool of a
/// topology by older releases have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The record's UUID.
    pub uuid: ObjectUuid,
    /// The pool of image and record, when it is not the directory's own.
    pub image_pool: Option<PoolId>,
}

impl DirectoryEntry {
    /// The entry of a volume whose image is in the directory's own pool.
    #[must_use]
    pub fn same_pool(uuid: ObjectUuid) -> Self {
        Self {
            uuid,
            image_pool: None,
        }
    }

    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self.image_pool {
            None => self.uuid.as_str().as_bytes().to_vec(),
            Some(pool) => format!("{}/{}", pool_text(pool), self.uuid).into_bytes(),
        }
    }

    /// Reads a value; `None` when it has neither form, as the entries that mirroring helpers of
    /// older releases left in the same object.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let text = str::from_utf8(value).ok()?;
        if let Ok(uuid) = ObjectUuid::parse(text) {
            return Some(Self::same_pool(uuid));
        }
        let (pool, uuid) = text.split_once('/')?;
        Some(Self {
            image_pool: Some(parse_pool(pool)?),
            uuid: ObjectUuid::parse(uuid).ok()?,
        })
    }
}

/// A pool number as the journal writes it: 16 hex digits.
#[must_use]
pub(crate) fn pool_text(pool: PoolId) -> String {
    format!("{:016x}", pool.get())
}

/// Reads a pool number of 16 hex digits; upper case is tolerated, negative numbers are not.
#[must_use]
pub(crate) fn parse_pool(text: &str) -> Option<PoolId> {
    let hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let number = i64::from_str_radix(text, 16).ok()?;
    hex.then_some(PoolId::new(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UUID: &str = "50d53503-9da1-11ed-847e-bacf8f2f1297";

    #[test]
    fn both_forms_are_read() {
        let plain = DirectoryEntry::decode(UUID.as_bytes()).unwrap();
        assert_eq!((plain.uuid.as_str(), plain.image_pool), (UUID, None));
        let other = DirectoryEntry::decode(format!("000000000000001F/{UUID}").as_bytes()).unwrap();
        assert_eq!(other.image_pool, Some(PoolId::new(31)));
        assert_eq!(
            other.encode(),
            format!("000000000000001f/{UUID}").into_bytes()
        );
    }

    #[test]
    fn anything_else_is_no_entry() {
        let handle = format!("0001-0009-rook-ceph-0000000000000002-{UUID}");
        for value in [
            "",
            "x",
            &handle,
            &format!("1f/{UUID}"),
            &format!("+00000000000001f/{UUID}"),
            &format!("ffffffffffffffff/{UUID}"),
            &format!("000000000000001f/{UUID}0"),
        ] {
            assert_eq!(DirectoryEntry::decode(value.as_bytes()), None, "{value}");
        }
        assert_eq!(DirectoryEntry::decode(&[0xff; 36]), None);
    }

    proptest! {
        #[test]
        fn entries_survive_the_way_to_disk_and_back(pool in proptest::option::of(0..i64::MAX)) {
            let entry = DirectoryEntry {
                uuid: ObjectUuid::random(),
                image_pool: pool.map(PoolId::new),
            };
            prop_assert_eq!(DirectoryEntry::decode(&entry.encode()), Some(entry));
        }

        #[test]
        fn hostile_values_never_panic(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _entry = DirectoryEntry::decode(&value);
        }
    }
}
