//! Growing a volume, also while it is in use.

use std::borrow::Cow;

use ceph::{Cluster, Io, OpenMode};
use cuttle_journal::{LocateError, locate};
use cuttle_model::{
    ByteSize, Class, ClusterSettings, ClusterTable, Code, Explain, ImageName, Left, RadosNamespace,
    SizeError, VolumeCapability, VolumeHandle, round_for_image,
};

use crate::existing::{ExpandVolume, Expanded};
use crate::rbd::controller::RbdController;
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
    /// Some twenty round trips of librbd's.
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
        let target = image_of(request, &settings, &cluster)?;
        let size = grow(request, &target.io, &target.image)?;
        let block = request.capability.as_ref();
        let block = block.is_some_and(VolumeCapability::is_block);
        Ok(Expanded {
            size,
            node_expansion_required: !block || target.is_mapped_encrypted,
        })
    }
}

/// The image to grow.
struct Target {
    io: Io,
    image: ImageName,
    /// Whether nodes see it through a mapping of their own (LUKS), which must grow as well.
    is_mapped_encrypted: bool,
}

/// Where the volume's image is.
fn image_of(
    request: &ExpandVolume,
    settings: &ClusterSettings,
    cluster: &Cluster,
) -> Result<Target, ExpandError> {
    let absent = || ExpandError::Absent {
        handle: request.handle.clone(),
    };
    match &request.handle {
        VolumeHandle::Composed(handle) => {
            let found = match locate(cluster, settings, handle) {
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
            let Some(record) = found.record.filter(|_| found.image_id.is_some()) else {
                return Err(absent());
            };
            // Records of older releases name the key store, but no kind: that was LUKS.
            let is_mapped_encrypted =
                record.kms_id.is_some() && record.encryption_type.as_deref() != Some("file");
            Ok(Target {
                io: found.io,
                image: found.image,
                is_mapped_encrypted,
            })
        }
        VolumeHandle::Migrated(handle) => {
            match cluster.io(handle.pool(), &RadosNamespace::default()) {
                Ok(io) => Ok(Target {
                    io,
                    image: handle.image().clone(),
                    is_mapped_encrypted: false,
                }),
                Err(source) if source.is_absent() => Err(absent()),
                Err(source) => {
                    let doing = format!("open pool {}", handle.pool());
                    Err(ReachError::Ceph { doing, source }.into())
                }
            }
        }
    }
}

fn grow(request: &ExpandVolume, io: &Io, image: &ImageName) -> Result<ByteSize, ExpandError> {
    let failed = |source: ceph::Error, size| {
        let image = image.clone();
        if source.is_denied() {
            let doing = "resize images";
            ReachError::refused(&request.credentials, io, None, doing, source).into()
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
    };
    let wanted = request.range.required.unwrap_or(ByteSize::ZERO);
    let opened = match io.open_image(image, OpenMode::ReadWrite) {
        Ok(opened) => opened,
        Err(error) if error.is_absent() => {
            return Err(ExpandError::Absent {
                handle: request.handle.clone(),
            });
        }
        Err(error) => return Err(failed(error, wanted)),
    };
    let present = opened.size().map_err(|error| failed(error, wanted))?;
    if let Some(limit) = request.range.limit.filter(|limit| present > *limit) {
        return Err(ExpandError::PastLimit {
            size: present,
            limit,
        });
    }
    let size = if present >= wanted {
        present
    } else {
        let size = round_for_image(request.range.required, request.range.limit)?;
        opened
            .resize(size, false)
            .map_err(|error| failed(error, size))?;
        size
    };
    opened.close().map_err(|error| failed(error, size))?;
    Ok(size)
}
