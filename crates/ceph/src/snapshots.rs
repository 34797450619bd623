//! Snapshots, parents and children of images, read from the images' headers without opening them.
//!
//! librbd opens an image, and all its ancestors with it, to tell any of this: dozens of round
//! trips. The methods of RBD's object class that it asks answer by themselves:
//!
//! | Method of class `rbd` on `rbd_header.<id>` | Answer |
//! |---|---|
//! | `get_snapcontext` | the numbers of all snapshots, the newest first |
//! | `snapshot_get(u64 snap)` | name, namespace, size, time, number of clones |
//! | `children_list(u64 snap)` | the clones of a snapshot; ENOENT when there are none |
//! | `parent_get` | what the image, or an older snapshot of it, was cloned from |
//! | `parent_overlap_get(u64 snap)` | how much of the parent shows at a snapshot; none after a flatten |
//! | `snapshot_trash_add(u64 snap)` | moves a snapshot out of the users' sight, clones or not |
//!
//! All exist since clones of format 2 do (Ceph 13; the last but one since 14).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cuttle_model::{ByteSize, ImageId, ImageName, PoolId, RadosNamespace};

use crate::encoding::string;
use crate::encoding::structs::{self, TRASH};
use crate::error::{Errno, Error};
use crate::images::header_object;
use crate::io::Io;
use crate::read::{ReadOp, read_many};
use crate::snap_id::SnapId;
use crate::write::WriteOp;

/// Asks for an image's head instead of a snapshot (`CEPH_NOSNAP`, `include/rados.h`).
const NO_SNAP: u64 = u64::MAX - 1;

/// Which name belongs to which image, both ways.
const DIRECTORY: &str = "rbd_directory";

/// To whom a snapshot belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotOf {
    /// To a user or driver: it shows in `rbd snap ls`, and keeps the image from being removed.
    Users,
    /// To nobody any more: it goes with its last clone.
    Trash {
        /// The name it had.
        name: String,
    },
    /// To a group's snapshot, or to mirroring.
    Others,
}

/// A snapshot, as the header of its image tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderSnapshot {
    /// Its number.
    pub id: SnapId,
    /// Its name.
    pub name: String,
    /// To whom it belongs.
    pub of: SnapshotOf,
    /// The image's size when it was taken.
    pub size: ByteSize,
    /// When it was taken, by the OSD's clock.
    pub taken: SystemTime,
    /// How many clones it has.
    pub clones: u32,
}

/// What an image was cloned from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// The pool of the parent.
    pub pool: PoolId,
    /// Its namespace.
    pub namespace: RadosNamespace,
    /// The parent.
    pub image: ImageId,
    /// Its snapshot.
    pub snapshot: SnapId,
    /// How much of it shows: what lies beyond is not the parent's.
    pub overlap: ByteSize,
}

/// An image that was cloned from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// Its pool.
    pub pool: PoolId,
    /// Its namespace.
    pub namespace: RadosNamespace,
    /// The image.
    pub image: ImageId,
}

/// The read of [`Io::snapshot_ids`], for callers that send it along with others; its answer is read
/// by [`Io::parse_snapshot_ids`].
#[must_use]
pub fn snapshot_ids_read(image: &ImageId) -> ReadOp {
    ReadOp::exec(&header_object(image), "rbd", "get_snapcontext", &[])
}

impl Io {
    /// Reads the answer of a [`snapshot_ids_read`].
    ///
    /// # Errors
    /// EBADMSG when it has another form.
    pub fn parse_snapshot_ids(&self, image: &ImageId, answer: &[u8]) -> Result<Vec<SnapId>, Error> {
        let object = header_object(image);
        let ids = structs::snapshot_ids(answer).map_err(|errno| self.odd(&object, errno))?;
        Ok(ids.into_iter().map(SnapId::new).collect())
    }

    /// The numbers of all snapshots of an image, in the trash or not, the newest first; `None`
    /// when the image has no header.
    ///
    /// # Errors
    /// Any failure of the read.
    ///
    /// # Blocking
    /// One round trip.
    pub fn snapshot_ids(&self, image: &ImageId) -> Result<Option<Vec<SnapId>>, Error> {
        let answer = self.read_one(snapshot_ids_read(image))?;
        answer
            .map(|reply| self.parse_snapshot_ids(image, &reply.bytes))
            .transpose()
    }

    /// All snapshots of an image, in the trash or not, the newest first; `None` when the image
    /// has no header. One that is removed meanwhile is left out.
    ///
    /// # Errors
    /// Any failure of the reads.
    ///
    /// # Blocking
    /// Two round trips, for any number of snapshots.
    pub fn snapshots_by_id(&self, image: &ImageId) -> Result<Option<Vec<HeaderSnapshot>>, Error> {
        let Some(ids) = self.snapshot_ids(image)? else {
            return Ok(None);
        };
        let object = header_object(image);
        let reads: Vec<_> = ids
            .iter()
            .map(|id| {
                let input = id.get().to_le_bytes();
                (self, ReadOp::exec(&object, "rbd", "snapshot_get", &input))
            })
            .collect();
        let mut snapshots = Vec::with_capacity(ids.len());
        for reply in read_many(&reads) {
            if let Some(reply) = reply? {
                snapshots.push(self.snapshot(&object, &reply.bytes)?);
            }
        }
        Ok(Some(snapshots))
    }

    /// One snapshot of an image; `None` when image or snapshot do not exist.
    ///
    /// # Errors
    /// Any failure of the read.
    ///
    /// # Blocking
    /// One round trip.
    pub fn snapshot_by_id(
        &self,
        image: &ImageId,
        snapshot: SnapId,
    ) -> Result<Option<HeaderSnapshot>, Error> {
        let object = header_object(image);
        let input = snapshot.get().to_le_bytes();
        let answer = self.exec(&object, "rbd", "snapshot_get", &input)?;
        answer
            .map(|answer| self.snapshot(&object, &answer))
            .transpose()
    }

    /// What an image was cloned from, as it is now or was at a snapshot; `None` when it was not,
    /// has been flattened since, or does not exist.
    ///
    /// # Errors
    /// Any failure of the reads.
    ///
    /// # Blocking
    /// One round trip.
    pub fn parent_by_id(
        &self,
        image: &ImageId,
        at: Option<SnapId>,
    ) -> Result<Option<Parent>, Error> {
        let object = header_object(image);
        let at = at.map_or(NO_SNAP, SnapId::get).to_le_bytes();
        let reads = [
            (self, ReadOp::exec(&object, "rbd", "parent_get", &[])),
            (
                self,
                ReadOp::exec(&object, "rbd", "parent_overlap_get", &at),
            ),
        ];
        let mut replies = read_many(&reads).into_iter();
        let spec = replies.next().transpose()?.flatten();
        let overlap = replies.next().transpose()?.flatten();
        let (Some(spec), Some(overlap)) = (spec, overlap) else {
            return Ok(None);
        };
        let odd = |errno| self.odd(&object, errno);
        let spec = structs::parent(&spec.bytes).map_err(odd)?;
        let overlap = structs::overlap(&overlap.bytes).map_err(odd)?;
        let (Some(spec), Some(overlap)) = (spec, overlap) else {
            return Ok(None);
        };
        let named = |error: cuttle_model::NameError| {
            odd(Errno::new(libc::EBADMSG)).with_detail(&error.to_string())
        };
        Ok(Some(Parent {
            pool: PoolId::new(spec.pool),
            namespace: RadosNamespace::new(spec.namespace).map_err(named)?,
            image: ImageId::new(spec.image).map_err(named)?,
            snapshot: SnapId::new(spec.snapshot),
            overlap: ByteSize::from_bytes(overlap),
        }))
    }

    /// The clones of an image's snapshot; empty when there are none, or no such snapshot.
    ///
    /// # Errors
    /// Any failure of the read.
    ///
    /// # Blocking
    /// One round trip.
    pub fn children_by_id(&self, image: &ImageId, snapshot: SnapId) -> Result<Vec<Child>, Error> {
        let object = header_object(image);
        let input = snapshot.get().to_le_bytes();
        let Some(answer) = self.exec(&object, "rbd", "children_list", &input)? else {
            return Ok(Vec::new());
        };
        let odd = |errno| self.odd(&object, errno);
        let named = |error: cuttle_model::NameError| {
            odd(Errno::new(libc::EBADMSG)).with_detail(&error.to_string())
        };
        let children = structs::children(&answer).map_err(odd)?;
        let child = |child: structs::ChildSpec| {
            Ok(Child {
                pool: PoolId::new(child.pool),
                namespace: RadosNamespace::new(child.namespace).map_err(named)?,
                image: ImageId::new(child.image).map_err(named)?,
            })
        };
        children.into_iter().map(child).collect()
    }

    /// The name of an image; `None` when none leads to it: it is in the trash, or gone.
    ///
    /// # Errors
    /// Any failure of the read.
    ///
    /// # Blocking
    /// One round trip.
    pub fn image_name_by_id(&self, image: &ImageId) -> Result<Option<ImageName>, Error> {
        let key = format!("id_{image}");
        let mut found = self.omap_get(DIRECTORY, &[&key])?.unwrap_or_default();
        let Some(value) = found.remove(&key) else {
            return Ok(None);
        };
        let odd = |errno| self.odd(DIRECTORY, errno);
        let name = ImageName::new(string(&value).map_err(odd)?);
        name.map(Some)
            .map_err(|error| odd(Errno::new(libc::EBADMSG)).with_detail(&error.to_string()))
    }

    /// Moves a user's snapshot to the snapshots' trash, whether it has clones or not. librbd
    /// removes it with its last clone, or with the image.
    ///
    /// Unlike `rbd_snap_remove` it needs no round of the monitors. It does not tell the image's
    /// watchers, to whom the snapshot is there as before.
    ///
    /// # Errors
    /// `is_busy` for a protected snapshot.
    ///
    /// # Blocking
    /// One round trip.
    ///
    /// # Idempotency
    /// Idempotent: one that is in the trash already, or gone, is an answer.
    pub fn trash_snapshot(&self, image: &ImageId, snapshot: SnapId) -> Result<(), Error> {
        let input = snapshot.get().to_le_bytes();
        let op = WriteOp::new()
            .assert_exists()
            .exec("rbd", "snapshot_trash_add", &input);
        match self.write(&header_object(image), op) {
            Ok(()) => Ok(()),
            Err(error) if error.is_present() || error.is_absent() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn snapshot(&self, object: &str, answer: &[u8]) -> Result<HeaderSnapshot, Error> {
        let info = structs::snapshot(answer).map_err(|errno| self.odd(object, errno))?;
        let taken = Duration::new(info.seconds.into(), 0)
            .saturating_add(Duration::from_nanos(info.nanoseconds.into()));
        let of = match (info.namespace, info.original_name) {
            (0, _) => SnapshotOf::Users,
            (TRASH, Some(name)) => SnapshotOf::Trash { name },
            _ => SnapshotOf::Others,
        };
        Ok(HeaderSnapshot {
            id: SnapId::new(info.id),
            name: info.name,
            of,
            size: ByteSize::from_bytes(info.size),
            taken: UNIX_EPOCH.checked_add(taken).unwrap_or(UNIX_EPOCH),
            clones: info.children,
        })
    }

    /// The error of an answer that has another form than it should.
    fn odd(&self, object: &str, errno: Errno) -> Error {
        self.error("rados.exec_read", &self.name(object), errno)
    }
}
