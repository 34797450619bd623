//! Making a clone with RBD's own object class calls, as [`image_plan`](crate::image_plan) makes an
//! image.
//!
//! `rbd_clone3` opens parent and child and makes some thirty round trips. A [`ClonePlan`] is an
//! [`ImagePlan`] and two steps more (Ceph's `librbd/image/CloneRequest.cc`):
//!
//! | Step | Object | Calls |
//! |---|---|---|
//! | parent link | `rbd_header.<id>` | `rbd.parent_attach(parent, u64 overlap)`, `rbd.op_features_set(CLONE_CHILD)` |
//! | child link | the parent's header | `rbd.child_attach(u64 snap, child)`, which refuses a snapshot that is gone or in the trash |
//!
//! The order matters: a clone that its parent does not know holds no data yet and is removed as
//! any image; a clone that only its parent knows would keep the parent for ever.
//!
//! A snapshot of the new clone can follow: [`Io::snapshot_write`]. Nobody else knows the image yet, so
//! there is nobody to agree with.

use ceph_sys::rbd;
use cuttle_model::{ByteSize, ImageId, ImageName};

use crate::connection::text;
use crate::encoding::structs::{self, ChildSpec, ParentSpec};
use crate::error::{Errno, Error};
use crate::image_options::{Built, ImageOptions};
use crate::image_plan::ImagePlan;
use crate::images::header_object;
use crate::io::Io;
use crate::snap_id::SnapId;
use crate::write::WriteOp;

/// Tells that an image is a clone of format 2 (`RBD_OPERATION_FEATURE_CLONE_CHILD`).
const CLONE_CHILD: u64 = 1 << 1;
/// Features that librbd gives by itself and that a clone does not inherit
/// (`RBD_FEATURES_IMPLICIT_ENABLE`).
const IMPLICIT: u64 = rbd::RBD_FEATURE_STRIPINGV2 | rbd::RBD_FEATURE_DATA_POOL | (1 << 8);

/// What is cloned: a snapshot of an image, as the image's header tells it.
#[derive(Debug, Clone)]
pub struct CloneParent {
    /// The pool and namespace of the image.
    pub io: Io,
    /// The image.
    pub image: ImageId,
    /// Its features.
    pub features: u64,
    /// The size of its objects, as a power of two.
    pub order: u8,
    /// The snapshot.
    pub snapshot: SnapId,
    /// The image's size at the snapshot.
    pub size: ByteSize,
}

/// The writes that make a clone.
#[derive(Debug, Clone)]
pub struct ClonePlan {
    /// The image itself; its two steps come first.
    pub image: ImagePlan,
    parent_link: (String, WriteOp),
    child_link: (Io, String, WriteOp),
}

impl ClonePlan {
    /// The third step, in the clone's pool: with it the clone shows the parent's data. EEXIST:
    /// it has a parent already.
    #[must_use]
    pub fn parent_link(&self) -> (&str, &WriteOp) {
        (&self.parent_link.0, &self.parent_link.1)
    }

    /// The fourth and last step, in the parent's pool: with it the snapshot stays as long as the
    /// clone. ENOENT: the snapshot is gone.
    #[must_use]
    pub fn child_link(&self) -> (&Io, &str, &WriteOp) {
        let (io, object, write) = &self.child_link;
        (io, object, write)
    }
}

impl Io {
    /// Plans a clone with that identifier, which must be new in the pool and namespace, that size
    /// and that metadata, without making it. Features and object size that
    /// the options do not give are the parent's. `None`: this clone is not of the everyday kind;
    /// use [`Io::clone_image`].
    ///
    /// # Errors
    /// Any failure to read the pool's settings.
    ///
    /// # Blocking
    /// As [`Io::plan_image_as`].
    pub fn plan_clone_as(
        &self,
        id: &ImageId,
        name: &ImageName,
        size: ByteSize,
        options: &ImageOptions,
        metadata: &[(&str, &str)],
        parent: &CloneParent,
    ) -> Result<Option<ClonePlan>, Error> {
        let features = options.features.unwrap_or(parent.features & !IMPLICIT);
        // A parent without data has nothing to show, and the class refuses it.
        if features & rbd::RBD_FEATURE_LAYERING == 0 || parent.size == ByteSize::ZERO {
            return Ok(None);
        }
        let options = ImageOptions {
            features: Some(features),
            order: Some(options.order.unwrap_or(parent.order)),
            ..options.clone()
        };
        let Some(image) = self.plan_image_as(id, name, size, &options, metadata)? else {
            return Ok(None);
        };
        self.link(image, parent)
            .map(Some)
            .map_err(|errno| self.error("rbd.plan", &self.name(name.as_str()), errno))
    }

    fn link(&self, image: ImagePlan, parent: &CloneParent) -> Result<ClonePlan, Errno> {
        let spec = ParentSpec {
            pool: parent.io.pool_id().get(),
            namespace: parent.io.namespace().to_string(),
            image: parent.image.to_string(),
            snapshot: parent.snapshot.get(),
        };
        let attach = structs::parent_attach(&spec, parent.size.bytes())?;
        let parent_link = WriteOp::new()
            .assert_exists()
            .exec("rbd", "parent_attach", &attach)
            .exec("rbd", "op_features_set", &structs::op_features(CLONE_CHILD));
        let (object, write) = self.child_link(parent, image.id())?;
        Ok(ClonePlan {
            parent_link: (header_object(image.id()), parent_link),
            child_link: (parent.io.clone(), object, write),
            image,
        })
    }

    /// Makes a parent's snapshot know a clone of this pool and namespace that shows it already.
    ///
    /// # Errors
    /// `is_absent` when the snapshot is gone or in the trash.
    ///
    /// # Blocking
    /// One round trip.
    ///
    /// # Idempotency
    /// Idempotent.
    pub fn attach_child(&self, parent: &CloneParent, child: &ImageId) -> Result<(), Error> {
        let (object, write) = self
            .child_link(parent, child)
            .map_err(|errno| self.error("rbd.plan", &self.name(child.as_str()), errno))?;
        match parent.io.write(&object, &write) {
            Err(error) if error.is_present() => Ok(()),
            outcome => outcome,
        }
    }

    /// Object and write that make a parent's snapshot know its clone.
    fn child_link(
        &self,
        parent: &CloneParent,
        child: &ImageId,
    ) -> Result<(String, WriteOp), Errno> {
        let child = ChildSpec {
            pool: self.pool_id().get(),
            namespace: self.namespace().to_string(),
            image: child.to_string(),
        };
        let attach = structs::child(parent.snapshot.get(), &child)?;
        let write = WriteOp::new()
            .assert_exists()
            .exec("rbd", "child_attach", &attach);
        Ok((header_object(&parent.image), write))
    }

    /// Object and write that give an image that nobody has open a user's snapshot, with a number
    /// from [`Io::start_snap_id`]. EEXIST: it has one of that name.
    ///
    /// # Errors
    /// E2BIG for a name beyond 4 GiB.
    pub fn snapshot_write(
        &self,
        image: &ImageId,
        name: &str,
        id: SnapId,
    ) -> Result<(String, WriteOp), Error> {
        let input = structs::snapshot_add(name, id.get())
            .map_err(|errno| self.error("rbd.plan", &self.name(image.as_str()), errno))?;
        let write = WriteOp::new()
            .assert_exists()
            .exec("rbd", "snapshot_add", &input);
        Ok((header_object(image), write))
    }

    /// Carries out a plan by itself: all steps, nothing riding along.
    ///
    /// # Errors
    /// `is_present` when the name is taken, or torn; `is_absent` when the parent's snapshot is
    /// gone.
    ///
    /// # Blocking
    /// Four round trips.
    ///
    /// # Idempotency
    /// As [`Io::create_planned_image`].
    pub fn create_planned_clone(&self, plan: &ClonePlan) -> Result<(), Error> {
        self.create_planned_image(&plan.image)?;
        let (object, write) = plan.parent_link();
        self.write(object, write)?;
        let (parent, object, write) = plan.child_link();
        parent.write(object, write)
    }

    /// Makes a clone of format 2 through librbd, with the parent's size and metadata.
    ///
    /// # Errors
    /// `is_present` when the name is taken; `is_absent` when there is no such parent or snapshot.
    ///
    /// # Blocking
    /// Some thirty round trips one after the other.
    ///
    /// # Idempotency
    /// Not idempotent. A crash or time-out in the middle leaves a torn image, as
    /// [`Io::create_image`] does, or a whole one without a parent.
    pub fn clone_image(
        &self,
        name: &ImageName,
        options: &ImageOptions,
        (parent_io, parent, snapshot): (&Io, &ImageName, &str),
    ) -> Result<(), Error> {
        self.call("rbd.clone", name.as_str(), || {
            let child = text(name.as_str())?;
            let (parent, snapshot) = (text(parent.as_str())?, text(snapshot)?);
            let options = Built::new(options)?;
            options.set_number(rbd::RBD_IMAGE_OPTION_CLONE_FORMAT, 2)?;
            // SAFETY: both contexts and the options are live; the three names are NUL-terminated
            // and copied.
            let result = unsafe {
                rbd::rbd_clone3(
                    parent_io.handle(),
                    parent.as_ptr(),
                    snapshot.as_ptr(),
                    self.handle(),
                    child.as_ptr(),
                    options.handle(),
                )
            };
            Errno::check(result).map(drop)
        })
    }
}
