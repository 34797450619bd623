//! Growing a volume, also while it is in use.
//!
//! ```text
//!  handle ▶ record ‖ image id ‖ header ▶ all header? ─ yes ▶ guarded write of the size ▶ clients told
//!                                                    └ no ─▶ librbd: open, resize, close
//! ```
//!
//! An image with nothing but layering has its size in its header alone, and growing it is what
//! librbd's own last step does after some ten round trips of opening.

use std::borrow::Cow;

use ceph::{Cluster, Io, OpenMode, header_object};
use cuttle_journal::{LocateError, locate_along};
use cuttle_model::{
    ByteSize, Class, ClusterSettings, ClusterTable, Code, Explain, ImageId, ImageName, Left,
    RadosNamespace, SizeError, VolumeCapability, VolumeHandle, round_for_image,
};

use crate::existing::{ExpandVolume, Expanded};
use crate::rbd::controller::RbdController;
use crate::rbd::header::{Header, header_read, read_header};
use crate::reach::{NamedBy, ReachError, class_of};

/// Why a volume was not expanded.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// The cluster cannot be worked in.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The record could not be looked up, or the pool is gone.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// No size fits the request.
    #[error(transparent)]
    Size(#[from] SizeError),
    /// There is no such volume, by the cluster's own word.
    #[error("there is no volume {handle}")]
    Absent {
        /// The handle.
        handle: VolumeHandle,
    },
    /// The volume is larger than the limit, and volumes do not shrink.
    #[error("the volume has {size} already, more than capacity_range.limit_bytes ({limit})")]
    PastLimit {
        /// Its size.
        size: ByteSize,
        /// The limit.
        limit: ByteSize,
    },
    /// librbd refuses the size: an object map describes a limited number of objects.
    #[error("image {image} cannot have {size}")]
    TooLarge {
        /// The image.
        image: ImageName,
        /// The size.
        size: ByteSize,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// librbd did not resize the image.
    #[error("could not resize image {image} to {size}")]
    Resize {
        /// The image.
        image: ImageName,
        /// The size.
        size: ByteSize,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
}

impl Explain for ExpandError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
            Self::Locate(error) => error.code(),
            Self::Size(error) => error.code(),
            Self::Absent { .. } => Code::new(1431),
            Self::PastLimit { .. } => Code::new(1432),
            Self::TooLarge { .. } => Code::new(1433),
            Self::Resize { .. } => Code::new(1434),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Reach(error) => error.class(),
            Self::Locate(error) => error.class(),
            Self::Size(error) => error.class(),
            Self::Absent { .. } => Class::Absent,
            Self::PastLimit { .. } | Self::TooLarge { .. } => Class::OutOfRange,
            Self::Resize { source, .. } => class_of(source),
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Resize { source, .. } => source.left(),
            Self::Reach(_)
            | Self::Locate(_)
            | Self::Size(_)
            | Self::Absent { .. }
            | Self::PastLimit { .. }
            | Self::TooLarge { .. } => Left::Nothing,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Reach(error) => error.remedy(),
            Self::Locate(error) => error.remedy(),
            Self::Size(error) => error.remedy(),
            Self::Absent { .. } => Some(Cow::Borrowed(
                "the volume was deleted behind the orchestrator's back; remove its PersistentVolume",
            )),
            Self::PastLimit { size, .. } => {
                Some(Cow::Owned(format!("raise the limit to at least {size}")))
            }
            Self::TooLarge { .. } => Some(Cow::Borrowed(
                "request less, or disable the image's object-map feature with \
                 `rbd feature disable`",
            )),
            Self::Resize { source, .. } => source.remedy(),
        }
    }
}

/// How often an image that others change at the same time is looked at again before librbd has to
/// grow it.
const LOOKS: u32 = 3;

impl RbdController {
    /// Grows the volume to the requested size, if it is smaller. Never shrinks it.
    ///
    /// A client that has the image mapped sees the new size; one that holds its exclusive lock is
    /// asked by librbd to do the work.
    ///
    /// # Errors
    /// [`ExpandError`].
    ///
    /// # Blocking
    /// Three round trips for an image that is all header; some twenty of librbd's for others.
    ///
    /// # Idempotency
    /// Idempotent.
    pub fn expand(
        &self,
        table: &ClusterTable,
        request: &ExpandVolume,
    ) -> Result<Expanded, ExpandError> {
        let id = request.handle.cluster();
        let (settings, cluster) = self.connect(table, id, NamedBy::Handle, &request.credentials)?;
        let (growth, is_mapped_encrypted) = growth_of(request, &settings, &cluster)?;
        let size = growth.run()?;
        let block = request.capability.as_ref();
        let block = block.is_some_and(VolumeCapability::is_block);
        Ok(Expanded {
            size,
            node_expansion_required: !block || is_mapped_encrypted,
        })
    }
}

/// One image to grow.
struct Growth<'r> {
    request: &'r ExpandVolume,
    io: Io,
    image: ImageName,
    /// The image's id and header, where they have been read.
    known: Option<(ImageId, Header)>,
}

/// The image of the volume, and whether nodes see it through a mapping of their own (LUKS), which
/// must grow as well.
fn growth_of<'r>(
    request: &'r ExpandVolume,
    settings: &ClusterSettings,
    cluster: &Cluster,
) -> Result<(Growth<'r>, bool), ExpandError> {
    let absent = || absent(request);
    match &request.handle {
        VolumeHandle::Composed(handle) => {
            // An image made by plan has its header where its UUID says.
            let planned = ImageId::of(&handle.uuid);
            let along = header_read(&planned, &[]);
            let (found, header) = match locate_along(cluster, settings, handle, along) {
                Ok(found) => found,
                Err(error) => {
                    return Err(
                        match ReachError::located(&request.credentials, settings, error) {
                            Ok(reach) => reach.into(),
                            Err(error) => error.into(),
                        },
                    );
                }
            };
            let (record, id) = found.record.zip(found.image_id).ok_or_else(absent)?;
            // Records of older releases name the key store, but no kind: that was LUKS.
            let is_mapped_encrypted =
                record.kms_id.is_some() && record.encryption_type.as_deref() != Some("file");
            let mut growth = Growth {
                request,
                io: found.io,
                image: found.image,
                known: None,
            };
            let header = header.and_then(|reply| Header::decode(&reply.omap));
            growth.known = match header.filter(|_| id == planned) {
                Some(header) => Some((id, header)),
                None => growth.look(&id)?.map(|header| (id, header)),
            };
            Ok((growth, is_mapped_encrypted))
        }
        VolumeHandle::Migrated(handle) => {
            match cluster.io(handle.pool(), &RadosNamespace::default()) {
                Ok(io) => {
                    let growth = Growth {
                        request,
                        io,
                        image: handle.image().clone(),
                        known: None,
                    };
                    Ok((growth, false))
                }
                Err(source) if source.is_absent() => Err(absent()),
                Err(source) => {
                    let doing = format!("open pool {}", handle.pool());
                    Err(ReachError::Ceph { doing, source }.into())
                }
            }
        }
    }
}

fn absent(request: &ExpandVolume) -> ExpandError {
    ExpandError::Absent {
        handle: request.handle.clone(),
    }
}

impl Growth<'_> {
    /// Grows the image by its header if that is all there is to change, else by librbd.
    fn run(mut self) -> Result<ByteSize, ExpandError> {
        for _look in 0..LOOKS {
            let Some((id, header)) = self.known.take() else {
                break;
            };
            let size = self.size_for(header.size)?;
            let told = |error| self.failed(error, size);
            if size == header.size {
                // The clients have not been told, if whoever grew it died before that.
                self.io.image_has_changed(&id).map_err(told)?;
                return Ok(size);
            }
            let Some(growth) = header.growth(size) else {
                break;
            };
            match self.io.write(&header_object(&id), growth) {
                Ok(()) => {
                    self.io.image_has_changed(&id).map_err(told)?;
                    return Ok(size);
                }
                Err(error) if error.is_guard_failed() => {
                    self.known = self.look(&id)?.map(|header| (id, header));
                }
                Err(error) if error.is_absent() => return Err(absent(self.request)),
                Err(error) => return Err(self.failed(error, size)),
            }
        }
        self.run_librbd()
    }

    fn run_librbd(&self) -> Result<ByteSize, ExpandError> {
        let wanted = self.request.range.required.unwrap_or(ByteSize::ZERO);
        let opened = match self.io.open_image(&self.image, OpenMode::ReadWrite) {
            Ok(opened) => opened,
            Err(error) if error.is_absent() => return Err(absent(self.request)),
            Err(error) => return Err(self.failed(error, wanted)),
        };
        let present = opened.size().map_err(|error| self.failed(error, wanted))?;
        let size = self.size_for(present)?;
        if size > present {
            opened
                .resize(size, false)
                .map_err(|error| self.failed(error, size))?;
        }
        opened.close().map_err(|error| self.failed(error, size))?;
        Ok(size)
    }

    /// The size that an image of the size `present` is to have.
    fn size_for(&self, present: ByteSize) -> Result<ByteSize, ExpandError> {
        let range = &self.request.range;
        if let Some(limit) = range.limit.filter(|limit| present > *limit) {
            return Err(ExpandError::PastLimit {
                size: present,
                limit,
            });
        }
        if present >= range.required.unwrap_or(ByteSize::ZERO) {
            return Ok(present);
        }
        Ok(round_for_image(range.required, range.limit)?)
    }

    fn look(&self, id: &ImageId) -> Result<Option<Header>, ExpandError> {
        let header = read_header(&self.io, id, &[]);
        let wanted = self.request.range.required.unwrap_or(ByteSize::ZERO);
        header.map_err(|error| self.failed(error, wanted))
    }

    fn failed(&self, source: ceph::Error, size: ByteSize) -> ExpandError {
        let image = self.image.clone();
        if source.is_denied() {
            let doing = "resize images";
            let credentials = &self.request.credentials;
            ReachError::refused(credentials, &self.io, None, doing, source).into()
        } else if matches!(
            source.errno().get(),
            libc::EINVAL | libc::EFBIG | libc::ERANGE
        ) {
            ExpandError::TooLarge {
                image,
                size,
                source,
            }
        } else {
            ExpandError::Resize {
                image,
                size,
                source,
            }
        }
    }
}
