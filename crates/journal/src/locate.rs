//! From the handle of a volume or snapshot to its record and image.

use std::borrow::Cow;

use ceph::{Cluster, Io, ReadOp, ReadReply, id_object, read_many};
use cuttle_model::{
    Class, ClusterId, ClusterSettings, Code, ComposedHandle, Explain, ImageId, ImageName,
    InstanceId, Left, ObjectUuid, PoolId,
};

use crate::error::{JournalError, class_of};
use crate::journal::Journal;
use crate::layout::Kind;
use crate::record::Record;

/// Bytes enough for any `rbd_id.` object: a length and an id.
const ID_OBJECT_BYTES: usize = 4096;

/// Where a handle leads.
#[derive(Debug, Clone)]
pub struct Located {
    /// Whether it is a volume's or a snapshot's.
    pub kind: Kind,
    /// The pool and namespace of record and image.
    pub io: Io,
    /// The UUID of the handle.
    pub uuid: ObjectUuid,
    /// The record; `None` is the cluster's own answer that there is none.
    pub record: Option<Record>,
    /// The image's name; the default one when there is no record.
    pub image: ImageName,
    /// The id of the image that has this name now; `None` is the cluster's own answer that no
    /// image has.
    pub image_id: Option<ImageId>,
}

/// Why a handle leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The cluster has no such pool, by its newest map.
    #[error("cluster \"{cluster}\" has no pool number {pool}")]
    PoolGone {
        /// The cluster.
        cluster: ClusterId,
        /// The pool.
        pool: PoolId,
    },
    /// Ceph did not answer.
    #[error("could not {doing}")]
    Ceph {
        /// What was being done.
        doing: String,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The record cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl LocateError {
    /// Ceph's answer, if that is what failed.
    #[must_use]
    pub fn as_ceph(&self) -> Option<&ceph::Error> {
        match self {
            Self::Ceph { source, .. } => Some(source),
            Self::Journal(error) => error.as_ceph(),
            Self::PoolGone { .. } => None,
        }
    }
}

impl Explain for LocateError {
    fn code(&self) -> Code {
        match self {
            Self::PoolGone { .. } => Code::new(1310),
            Self::Ceph { .. } => Code::new(1311),
            Self::Journal(error) => error.code(),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::PoolGone { .. } => Class::Absent,
            Self::Ceph { source, .. } => class_of(source),
            Self::Journal(error) => error.class(),
        }
    }

    fn left(&self) -> Left {
        // Looking changes nothing, however it ends.
        Left::Nothing
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::PoolGone { .. } => Some(Cow::Borrowed(
                "the pool was deleted, or the cluster's entry in config.json points to another \
                 cluster than when the volume was made",
            )),
            Self::Ceph { source, .. } => source.remedy(),
            Self::Journal(error) => error.remedy(),
        }
    }
}

impl Located {
    /// The journal that holds the names of something else that lies beside it, such as the
    /// snapshots of a volume.
    ///
    /// # Errors
    /// As [`Located::journal`].
    pub fn journal_of(
        &self,
        kind: Kind,
        settings: &ClusterSettings,
        instance: &InstanceId,
    ) -> Result<Journal, LocateError> {
        let other = Self {
            kind,
            ..self.clone()
        };
        other.journal(settings, instance)
    }

    /// The journal that holds the name.
    ///
    /// # Errors
    /// When the directory is in another pool which cannot be opened.
    pub fn journal(
        &self,
        settings: &ClusterSettings,
        instance: &InstanceId,
    ) -> Result<Journal, LocateError> {
        let other = self.record.as_ref().and_then(|record| record.journal_pool);
        match other {
            Some(pool) if pool != self.io.pool_id() => {
                let directory = open(self.io.cluster(), settings, pool)?;
                Ok(Journal::split(
                    self.kind,
                    directory,
                    self.io.clone(),
                    self.io.pool_id(),
                    instance,
                ))
            }
            Some(_) | None => Ok(Journal::new(self.kind, self.io.clone(), instance)),
        }
    }
}

/// Follows a volume's handle. Changes nothing.
///
/// The record and the id of the image with the default name are read at once, so that the usual
/// volume costs one round trip; an image of another name costs one more.
///
/// # Errors
/// [`LocateError`]. That a record or image is absent is an answer, not an error.
///
/// # Blocking
/// Up to the connection's time-outs.
pub fn locate(
    cluster: &Cluster,
    settings: &ClusterSettings,
    handle: &ComposedHandle,
) -> Result<Located, LocateError> {
    locate_as(Kind::Volume, cluster, settings, handle)
}

/// As [`locate`], and sends another read along, as [`follow_along`] does.
///
/// # Errors
/// As [`locate`].
pub fn locate_along(
    cluster: &Cluster,
    settings: &ClusterSettings,
    handle: &ComposedHandle,
    along: ReadOp,
) -> Result<(Located, Option<ReadReply>), LocateError> {
    let io = open(cluster, settings, PoolId::new(handle.location))?;
    let guess = Kind::Volume.default_image_name(&handle.uuid);
    follow_along(Kind::Volume, io, &handle.uuid, &guess, Some(along))
}

/// Follows a snapshot's handle; otherwise as [`locate`].
///
/// # Errors
/// As [`locate`].
pub fn locate_snapshot(
    cluster: &Cluster,
    settings: &ClusterSettings,
    handle: &ComposedHandle,
) -> Result<Located, LocateError> {
    locate_as(Kind::Snapshot, cluster, settings, handle)
}

fn locate_as(
    kind: Kind,
    cluster: &Cluster,
    settings: &ClusterSettings,
    handle: &ComposedHandle,
) -> Result<Located, LocateError> {
    let io = open(cluster, settings, PoolId::new(handle.location))?;
    follow(
        kind,
        io,
        &handle.uuid,
        &kind.default_image_name(&handle.uuid),
    )
}

/// Follows a UUID in a pool and namespace, expecting the image to be called `guess`; otherwise as
/// [`locate`].
///
/// # Errors
/// As [`locate`].
pub fn follow(
    kind: Kind,
    io: Io,
    uuid: &ObjectUuid,
    guess: &ImageName,
) -> Result<Located, LocateError> {
    follow_along(kind, io, uuid, guess, None).map(|(located, _nothing)| located)
}

/// As [`follow`], and sends another read in the same pool and namespace along with its own: `None`
/// when that found nothing, or failed.
///
/// # Errors
/// As [`locate`].
pub fn follow_along(
    kind: Kind,
    io: Io,
    uuid: &ObjectUuid,
    guess: &ImageName,
    along: Option<ReadOp>,
) -> Result<(Located, Option<ReadReply>), LocateError> {
    let id_object = id_object(guess);
    let record = ReadOp::omap_get(&kind.record_object(uuid), &Record::keys(kind));
    let id = ReadOp::data(&id_object, ID_OBJECT_BYTES);
    let mut reads = vec![(&io, record), (&io, id)];
    reads.extend(along.map(|read| (&io, read)));
    let mut replies = read_many(&reads).into_iter();
    let record = match replies.next() {
        Some(Ok(Some(reply))) => Some(Journal::read_record(kind, uuid, &reply.omap)?),
        Some(Ok(None)) | None => None,
        Some(Err(error)) => {
            return Err(JournalError::ceph(format!("read the record {uuid}"), error).into());
        }
    };
    let image = record
        .as_ref()
        .map_or_else(|| guess.clone(), |record| record.image_name.clone());
    let id = replies.next();
    let along = replies.next().and_then(Result::ok).flatten();
    let image_id = if image == *guess {
        match id {
            // A crash of its writer has left it empty: there is no image by this name.
            Some(Ok(Some(reply))) if reply.bytes.is_empty() => None,
            Some(Ok(Some(reply))) => Some(
                io.parse_id(&id_object, &reply.bytes)
                    .map_err(|source| looking_up(&image, source))?,
            ),
            Some(Ok(None)) | None => None,
            Some(Err(source)) => return Err(looking_up(&image, source)),
        }
    } else {
        io.image_id(&image)
            .map_err(|source| looking_up(&image, source))?
    };
    let located = Located {
        kind,
        io,
        uuid: uuid.clone(),
        record,
        image,
        image_id,
    };
    Ok((located, along))
}

/// The pool of a number; that the cluster has none is told apart from everything else.
fn open(cluster: &Cluster, settings: &ClusterSettings, pool: PoolId) -> Result<Io, LocateError> {
    cluster.io(pool, &settings.rbd.namespace).map_err(|source| {
        if source.is_absent() {
            LocateError::PoolGone {
                cluster: settings.id.clone(),
                pool,
            }
        } else {
            LocateError::Ceph {
                doing: format!("open pool number {pool}"),
                source,
            }
        }
    })
}

fn looking_up(image: &ImageName, source: ceph::Error) -> LocateError {
    LocateError::Ceph {
        doing: format!("look up image {image}"),
        source,
    }
}
