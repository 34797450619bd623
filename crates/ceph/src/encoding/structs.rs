//! Ceph's versioned structs, as far as clones and snapshots need them.
//!
//! A struct is a version (`u8`), the oldest version that can read it (`u8`), the length of what
//! follows (`u32`), and its fields; a reader takes the fields it knows and skips the rest (Ceph's
//! `include/encoding.h`, `ENCODE_START`). The structs themselves: Ceph's
//! `cls/rbd/cls_rbd_types.h`.

use super::put_bytes;
use crate::error::Errno;

/// An image that was cloned from: pool, namespace, identifier, snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParentSpec {
    pub(crate) pool: i64,
    pub(crate) namespace: String,
    pub(crate) image: String,
    pub(crate) snapshot: u64,
}

/// An image that was cloned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChildSpec {
    pub(crate) pool: i64,
    pub(crate) namespace: String,
    pub(crate) image: String,
}

/// A snapshot as its image's header has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotInfo {
    pub(crate) id: u64,
    /// 0: a user's, 1: a group's, 2: in the trash, 3: mirroring's.
    pub(crate) namespace: u32,
    /// The name it had before it came into the trash.
    pub(crate) original_name: Option<String>,
    pub(crate) name: String,
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) seconds: u32,
    pub(crate) nanoseconds: u32,
    pub(crate) children: u32,
}

/// The namespace of snapshots in the trash.
pub(crate) const TRASH: u32 = 2;

/// Wraps fields in a struct's head.
fn versioned(version: u8, compatible: u8, fields: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut out = vec![version, compatible];
    put_bytes(&mut out, fields)?;
    Ok(out)
}

/// The input of class `rbd`, method `parent_attach`: the parent, and how much of it shows.
pub(crate) fn parent_attach(parent: &ParentSpec, overlap: u64) -> Result<Vec<u8>, Errno> {
    let mut fields = parent.pool.to_le_bytes().to_vec();
    put_bytes(&mut fields, parent.namespace.as_bytes())?;
    put_bytes(&mut fields, parent.image.as_bytes())?;
    fields.extend_from_slice(&parent.snapshot.to_le_bytes());
    let mut out = versioned(1, 1, &fields)?;
    out.extend_from_slice(&overlap.to_le_bytes());
    Ok(out)
}

/// The input of class `rbd`, methods `child_attach` and `child_detach`.
pub(crate) fn child(snapshot: u64, child: &ChildSpec) -> Result<Vec<u8>, Errno> {
    let mut fields = child.pool.to_le_bytes().to_vec();
    put_bytes(&mut fields, child.image.as_bytes())?;
    put_bytes(&mut fields, child.namespace.as_bytes())?;
    let mut out = snapshot.to_le_bytes().to_vec();
    out.extend_from_slice(&versioned(2, 1, &fields)?);
    Ok(out)
}

/// The input of class `rbd`, method `snapshot_add`: name and number; without a namespace it is a
/// user's snapshot.
pub(crate) fn snapshot_add(name: &str, id: u64) -> Result<Vec<u8>, Errno> {
    let mut out = Vec::new();
    put_bytes(&mut out, name.as_bytes())?;
    out.extend_from_slice(&id.to_le_bytes());
    Ok(out)
}

/// The input of class `rbd`, method `op_features_set`: bits and mask.
pub(crate) fn op_features(bits: u64) -> Vec<u8> {
    let mut out = bits.to_le_bytes().to_vec();
    out.extend_from_slice(&bits.to_le_bytes());
    out
}

/// Takes values from the front of some bytes.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (value, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or(Errno::new(libc::EBADMSG))?;
        self.0 = rest;
        Ok(*value)
    }

    fn number32(&mut self) -> Result<u32, Errno> {
        self.take().map(u32::from_le_bytes)
    }

    fn number64(&mut self) -> Result<u64, Errno> {
        self.take().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'b [u8], Errno> {
        let malformed = || Errno::new(libc::EBADMSG);
        let length = usize::try_from(self.number32()?).map_err(|_wide| malformed())?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, Errno> {
        let bytes = self.bytes()?.to_vec();
        String::from_utf8(bytes).map_err(|_not_text| Errno::new(libc::EBADMSG))
    }

    /// The fields of a struct, and its version.
    fn fields(&mut self) -> Result<(u8, Self), Errno> {
        let [version, _compatible] = self.take()?;
        Ok((version, Self(self.bytes()?)))
    }
}

/// Reads the answer of class `rbd`, method `parent_get`; `None` for an image without a parent.
pub(crate) fn parent(input: &[u8]) -> Result<Option<ParentSpec>, Errno> {
    let (_version, mut fields) = Reader(input).fields()?;
    let spec = ParentSpec {
        pool: i64::from_le_bytes(fields.take()?),
        namespace: fields.text()?,
        image: fields.text()?,
        snapshot: fields.number64()?,
    };
    Ok((spec.pool >= 0 && !spec.image.is_empty()).then_some(spec))
}

/// Reads the answer of class `rbd`, method `parent_overlap_get`: an `optional<uint64_t>`.
pub(crate) fn overlap(input: &[u8]) -> Result<Option<u64>, Errno> {
    let mut reader = Reader(input);
    match reader.take()? {
        [0] => Ok(None),
        [_there] => reader.number64().map(Some),
    }
}

/// Reads the answer of class `rbd`, method `get_snapcontext`: the newest first.
pub(crate) fn snapshot_ids(input: &[u8]) -> Result<Vec<u64>, Errno> {
    let mut reader = Reader(input);
    let _sequence = reader.number64()?;
    let count = reader.number32()?;
    (0..count).map(|_| reader.number64()).collect()
}

/// Reads the answer of class `rbd`, method `snapshot_get`.
pub(crate) fn snapshot(input: &[u8]) -> Result<SnapshotInfo, Errno> {
    let (_version, mut fields) = Reader(input).fields()?;
    let id = fields.number64()?;
    let (_version, mut namespace) = fields.fields()?;
    let kind = namespace.number32()?;
    let original_name = if kind == TRASH {
        Some(namespace.text()?)
    } else {
        None
    };
    Ok(SnapshotInfo {
        id,
        namespace: kind,
        original_name,
        name: fields.text()?,
        size: fields.number64()?,
        seconds: fields.number32()?,
        nanoseconds: fields.number32()?,
        children: fields.number32()?,
    })
}

/// Reads the answer of class `rbd`, method `children_list`.
pub(crate) fn children(input: &[u8]) -> Result<Vec<ChildSpec>, Errno> {
    let mut reader = Reader(input);
    let count = reader.number32()?;
    let child = |_| {
        let (version, mut fields) = reader.fields()?;
        let pool = i64::from_le_bytes(fields.take()?);
        let image = fields.text()?;
        let namespace = if version >= 2 {
            fields.text()?
        } else {
            String::new()
        };
        Ok(ChildSpec {
            pool,
            namespace,
            image,
        })
    };
    (0..count).map(child).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    #[test]
    fn children_as_an_osd_of_ceph_16_lists_them() {
        let listed = bytes(
            "01000000 0201 21000000 0100000000000000 0c000000 313039626332646638626335 \
             05000000 70726f6265",
        );
        let child = ChildSpec {
            pool: 1,
            namespace: "probe".to_owned(),
            image: "109bc2df8bc5".to_owned(),
        };
        assert_eq!(children(&listed).unwrap(), std::slice::from_ref(&child));
        let attach = super::child(4, &child).unwrap();
        assert_eq!(attach, [&4_u64.to_le_bytes()[..], &listed[4..]].concat());
        assert_eq!(children(&[0; 4]).unwrap(), []);
    }

    #[test]
    fn snapshots_are_told_apart_by_namespace() {
        let trashed = bytes(
            "0101 36000000 0400000000000000 0101 0e000000 02000000 02000000 7331 00000000 \
             02000000 7531 0000000400000000 e2080e6b 16869e1e 01000000",
        );
        let read = snapshot(&trashed).unwrap();
        assert_eq!((read.id, read.namespace, read.size), (4, TRASH, 1 << 26));
        assert_eq!(read.original_name.as_deref(), Some("s1"));
        assert_eq!((read.name.as_str(), read.children), ("u1", 1));
        let users = bytes(
            "0101 2d000000 0400000000000000 0101 04000000 00000000 \
             03000000 612d62 0000000400000000 e2080e6b 16869e1e 00000000",
        );
        let read = snapshot(&users).unwrap();
        assert_eq!((read.namespace, read.original_name), (0, None));
        assert_eq!((read.seconds, read.nanoseconds), (0x6b0e_08e2, 0x1e9e_8616));
    }

    #[test]
    fn a_parent_may_be_none() {
        let none = bytes("0101 18000000 ffffffffffffffff 00000000 00000000 feffffffffffffff");
        assert_eq!(parent(&none).unwrap(), None);
        let spec = ParentSpec {
            pool: 7,
            namespace: "n".to_owned(),
            image: "abc".to_owned(),
            snapshot: 9,
        };
        let attach = parent_attach(&spec, 4096).unwrap();
        let (written, overlap) = attach.split_at(attach.len() - 8);
        assert_eq!(parent(written).unwrap(), Some(spec));
        assert_eq!(overlap, 4096_u64.to_le_bytes());
        assert_eq!(super::overlap(&[0]).unwrap(), None);
        assert_eq!(
            super::overlap(&bytes("01 0010000000000000")).unwrap(),
            Some(4096)
        );
    }

    #[test]
    fn cut_and_hostile_answers_are_refused() {
        let whole = [
            "01000000 0201 21000000 0100000000000000 0c000000 313039626332646638626335 \
             05000000 70726f6265",
            "0101 36000000 0400000000000000 0101 0e000000 02000000 02000000 7331 00000000 \
             02000000 7531 0000000400000000 e2080e6b 16869e1e 01000000",
            "ffffffff ffffffff ffffffff ffffffff",
        ];
        for input in whole.map(bytes) {
            for length in 0..input.len() {
                let cut = &input[..length];
                assert!(snapshot(cut).is_err() && children(cut).is_err(), "{length}");
                assert!(parent(cut).is_err() || length >= 24, "{length}");
                let _outcomes = (snapshot_ids(cut).is_ok(), overlap(cut).is_ok());
            }
        }
        snapshot_ids(&[0xff; 40]).unwrap_err();
    }
}
