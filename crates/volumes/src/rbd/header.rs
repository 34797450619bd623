//! What an image's header says, in one read and without opening the image.
//!
//! Format 2 of RBD keeps an image's properties as omap values of its `rbd_header.<id>` object:
//! little-endian numbers, and metadata under keys that begin with `metadata_` (Ceph's
//! `cls/rbd/cls_rbd.cc`). Opening the image would cost some ten round trips and a watch.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ceph::{Io, ReadOp, WriteOp, header_object, read_many};
use cuttle_model::{ByteSize, ImageFeatures, ImageId};

const SIZE: &str = "size";
const ORDER: &str = "order";
const FEATURES: &str = "features";
const DATA_POOL: &str = "data_pool_id";
const STRIPE_UNIT: &str = "stripe_unit";
const SNAP_SEQ: &str = "snap_seq";
const CREATED: &str = "create_timestamp";
const METADATA_PREFIX: &str = "metadata_";

/// Features that add nothing to an image whose size would have to change with the header's.
const HEADER_ALONE: ImageFeatures = ImageFeatures::LAYERING
    .union(ImageFeatures::STRIPING)
    .union(ImageFeatures::DEEP_FLATTEN)
    .union(ImageFeatures::DATA_POOL);

/// The part of a header that concerns volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The image's size.
    pub(crate) size: ByteSize,
    /// The size of its objects, as a power of two.
    pub(crate) order: Option<u8>,
    /// Its features.
    pub(crate) features: ImageFeatures,
    /// The number of the newest snapshot it ever had; 0 if none, also of a mirror's.
    snap_seq: Option<u64>,
    /// The number of the pool with its data, if that is another one.
    pub(crate) data_pool: Option<i64>,
    /// Whether its striping is known, for images that have one of their own.
    pub(crate) has_striping: bool,
    /// When the image was made, by the OSD's clock.
    pub(crate) created: Option<SystemTime>,
    /// The metadata that was asked for, as far as it is there.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// The read of a header, with the values of these metadata keys.
pub(crate) fn header_read(id: &ImageId, metadata: &[&str]) -> ReadOp {
    let metadata: Vec<String> = metadata
        .iter()
        .map(|key| format!("{METADATA_PREFIX}{key}"))
        .collect();
    let mut keys = vec![
        SIZE,
        ORDER,
        FEATURES,
        SNAP_SEQ,
        DATA_POOL,
        STRIPE_UNIT,
        CREATED,
    ];
    keys.extend(metadata.iter().map(String::as_str));
    ReadOp::omap_get(&header_object(id), &keys)
}

/// The header of an image: `None` when the cluster says there is none, or only an empty one.
pub(crate) fn read_header(
    io: &Io,
    id: &ImageId,
    metadata: &[&str],
) -> Result<Option<Header>, ceph::Error> {
    let mut replies = read_many(&[(io, header_read(id, metadata))]).into_iter();
    match replies.next() {
        Some(reply) => Ok(reply?.and_then(|reply| Header::decode(&reply.omap))),
        None => Ok(None),
    }
}

impl Header {
    /// Reads a header's omap values; `None` without size and features, which are written with the
    /// object itself.
    pub(crate) fn decode(omap: &BTreeMap<String, Vec<u8>>) -> Option<Self> {
        let number = |key: &str| Some(u64::from_le_bytes(*omap.get(key)?.first_chunk::<8>()?));
        let data_pool = omap
            .get(DATA_POOL)
            .and_then(|value| value.first_chunk::<8>());
        let metadata = omap.iter().filter_map(|(key, value)| {
            let key = key.strip_prefix(METADATA_PREFIX)?;
            Some((key.to_owned(), String::from_utf8(value.clone()).ok()?))
        });
        Some(Self {
            size: ByteSize::from_bytes(number(SIZE)?),
            order: omap.get(ORDER).and_then(|value| value.first().copied()),
            features: ImageFeatures::from_bits(number(FEATURES)?),
            snap_seq: number(SNAP_SEQ),
            data_pool: data_pool.map(|bytes| i64::from_le_bytes(*bytes)),
            has_striping: omap.contains_key(STRIPE_UNIT),
            created: omap.get(CREATED).and_then(|value| instant(value)),
            metadata: metadata.collect(),
        })
    }

    /// Whether librbd was interrupted between the header and the striping that belongs to it.
    /// Such an image cannot be opened, so nothing was ever written to it.
    pub(crate) fn lacks_striping(&self) -> bool {
        self.features.contains(ImageFeatures::STRIPING) && !self.has_striping
    }

    /// The write that grows the image to `size`, guarded by what is known of it
    /// ([`ceph::Error::is_guard_failed`] when any of that has changed). The clients are to be told afterwards.
    ///
    /// `None` for an image that librbd has to grow, or of which it has to be asked whether it may:
    /// with an object map or a journal to keep, a lock to take, an operation under way, or
    /// snapshots, by which a mirror tells that the image is not to be written.
    pub(crate) fn growth(&self, size: ByteSize) -> Option<WriteOp> {
        let alone = self.features.without(HEADER_ALONE).is_empty();
        if !alone || self.snap_seq != Some(0) || size < self.size {
            return None;
        }
        let unchanged = [
            (SIZE, self.size.bytes()),
            (FEATURES, self.features.bits()),
            (SNAP_SEQ, 0),
        ];
        let guarded = unchanged
            .iter()
            .fold(WriteOp::new().assert_exists(), |op, (key, value)| {
                op.compare_omap(key, Some(&value.to_le_bytes()))
            });
        Some(guarded.set_image_size(size))
    }
}

/// A time as Ceph encodes it: seconds since 1970 and nanoseconds.
fn instant(value: &[u8]) -> Option<SystemTime> {
    let (seconds, rest) = value.split_first_chunk::<4>()?;
    let nanoseconds = rest.first_chunk::<4>()?;
    let since = Duration::from_secs(u32::from_le_bytes(*seconds).into()).saturating_add(
        Duration::from_nanos(u32::from_le_bytes(*nanoseconds).into()),
    );
    UNIX_EPOCH.checked_add(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn omap(entries: &[(&str, &[u8])]) -> BTreeMap<String, Vec<u8>> {
        entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.to_vec()))
            .collect()
    }

    #[test]
    fn a_header_as_librbd_16_writes_it() {
        let header = Header::decode(&omap(&[
            ("features", b"\x3d\0\0\0\0\0\0\0"),
            ("order", b"\x16"),
            ("size", b"\0\0\0\x40\0\0\0\0"),
            ("create_timestamp", b"\x02\0\0\0\x01\0\0\0"),
            ("metadata_csi.ceph.com/cluster/name", b"east"),
        ]))
        .unwrap();
        assert_eq!(header.size, ByteSize::GIB);
        assert_eq!(header.order, Some(22));
        assert_eq!(header.features.bits(), 0x3d);
        assert_eq!(header.data_pool, None);
        let since = header.created.unwrap().duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(since, Duration::new(2, 1));
        assert!(!header.lacks_striping());
        assert_eq!(header.metadata["csi.ceph.com/cluster/name"], "east");
    }

    #[test]
    fn only_an_image_that_is_all_header_grows_by_it() {
        let header = |features: u64, snap_seq: Option<u64>| {
            let mut omap = omap(&[("size", b"\0\0\0\x40\0\0\0\0")]);
            omap.insert("features".to_owned(), features.to_le_bytes().to_vec());
            if let Some(number) = snap_seq {
                omap.insert("snap_seq".to_owned(), number.to_le_bytes().to_vec());
            }
            Header::decode(&omap).unwrap()
        };
        let twice = ByteSize::from_bytes(2 << 30);
        let grows = |features, snap_seq| header(features, snap_seq).growth(twice).is_some();
        for features in [0, 1, 0x23, 0xa1] {
            assert!(grows(features, Some(0)), "{features:#x}");
        }
        // Exclusive lock, object map, journal, operations, migration, and what is to come.
        for feature in [2, 3, 6, 8, 9, 10, 40] {
            assert!(!grows(1 | 1 << feature, Some(0)), "feature {feature}");
        }
        assert!(!grows(1, Some(4)) && !grows(1, None));
        assert!(header(1, Some(0)).growth(ByteSize::from_bytes(1)).is_none());
    }

    #[test]
    fn torn_headers_are_told_apart() {
        assert_eq!(Header::decode(&omap(&[])), None);
        assert_eq!(Header::decode(&omap(&[("size", b"\0\0")])), None);
        let striped = [
            ("features", &b"\x03\0\0\0\0\0\0\0"[..]),
            ("size", b"\0\0\0\x40\0\0\0\0"),
        ];
        assert!(Header::decode(&omap(&striped)).unwrap().lacks_striping());
    }
}
