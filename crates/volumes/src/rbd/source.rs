//! The image that a snapshot is taken of, or that a new volume takes its data from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use ceph::{CloneParent, Cluster, Io, ReadOp, SnapId, SnapshotOf, header_object, read_many};
use cuttle_journal::{LocateError, Located, Record, locate, locate_snapshot};
use cuttle_model::{
    ByteSize, Class, ClusterId, ClusterSettings, ClusterTable, Code, ComposedHandle, Credentials,
    Explain, ImageFeatures, ImageId, ImageName, Left,
};

use crate::rbd::controller::RbdController;
use crate::rbd::flatten::Progress;
use crate::rbd::header::Header;
use crate::reach::{NamedBy, ReachError};
use crate::snapshots::SourceKind;

/// What the keys of an image's metadata begin with in its header.
const METADATA_PREFIX: &str = "metadata_";
/// More metadata than any image has.
const METADATA_MOST: u64 = 1000;
/// The order of images that do not tell theirs: librbd's default.
const DEFAULT_ORDER: u8 = 22;

/// Why nothing can be taken from a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Its cluster or pool cannot be worked in.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// Its record could not be looked up.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// It does not exist, by the cluster's own word.
    #[error("there is no {kind} {handle}")]
    Absent {
        /// What it is.
        kind: SourceKind,
        /// Its handle.
        handle: ComposedHandle,
    },
    /// It is still being made.
    #[error("{kind} {handle} is still being made")]
    Unfinished {
        /// What it is.
        kind: SourceKind,
        /// Its handle.
        handle: ComposedHandle,
    },
    /// Another image has the name of its image.
    #[error(
        "image {image} is another than the record's: its id is {present}, the record's {recorded}"
    )]
    Replaced {
        /// The image.
        image: ImageName,
        /// The id of the image that has the name.
        present: ImageId,
        /// The id that the record names.
        recorded: ImageId,
    },
    /// Its image has lost its header, or the snapshot of it.
    #[error("image {image} of {kind} {handle} has no {part}")]
    Damaged {
        /// What it is.
        kind: SourceKind,
        /// Its handle.
        handle: ComposedHandle,
        /// The image.
        image: ImageName,
        /// What is missing.
        part: &'static str,
    },
    /// It is encrypted.
    #[error("{kind} {handle} is encrypted (key store {store}), which is not supported yet")]
    Encrypted {
        /// What it is.
        kind: SourceKind,
        /// Its handle.
        handle: ComposedHandle,
        /// The key store's identifier.
        store: String,
    },
    /// Its image was made without the feature that clones need.
    #[error("image {image} lacks the feature layering")]
    NoLayering {
        /// The image.
        image: ImageName,
    },
    /// It has too many parents above it, and flattening it has been ordered.
    #[error(
        "{kind} {handle} has {depth} parents above it; image {image} is being flattened ({progress})"
    )]
    TooDeep {
        /// What it is.
        kind: SourceKind,
        /// Its handle.
        handle: ComposedHandle,
        /// How many parents.
        depth: usize,
        /// The image that is being flattened.
        image: ImageName,
        /// How far that is.
        progress: Progress,
    },
    /// It has too many parents above it, and nothing of them can be flattened.
    #[error(
        "{kind} {handle} has {depth} parents above it, and lacks the feature deep-flatten, without \
         which it is not flattened"
    )]
    NotFlattened {
        /// What it is.
        kind: SourceKind,
        /// Its handle.
        handle: ComposedHandle,
        /// How many parents.
        depth: usize,
    },
    /// It has as many snapshots as it may have.
    #[error(
        "image {image} has {count} snapshots, as many as it may have; {ordered} clones of the oldest are \
         being flattened{}", first_of(.first.as_ref())
    )]
    TooManySnapshots {
        /// The image.
        image: ImageName,
        /// How many snapshots.
        count: usize,
        /// How many clones are to be flattened to make room.
        ordered: usize,
        /// The first of these and how far it is.
        first: Option<(ImageName, Progress)>,
    },
    /// It lies in another Ceph cluster than what is to be made.
    #[error(
        "cluster \"{source_cluster}\" of the {kind} is not the same Ceph cluster as \"{asked}\""
    )]
    OtherCluster {
        /// What it is.
        kind: SourceKind,
        /// The cluster in its handle.
        source_cluster: ClusterId,
        /// The cluster of the class.
        asked: ClusterId,
    },
}

/// Of the images that are being flattened, how far the first is.
fn first_of(first: Option<&(ImageName, Progress)>) -> String {
    first.map_or_else(String::new, |(image, progress)| {
        format!(", first {image} ({progress})")
    })
}

impl SourceError {
    /// Ceph's answer, if that is what failed.
    pub(crate) fn as_ceph(&self) -> Option<&ceph::Error> {
        match self {
            Self::Reach(error) => error.as_ceph(),
            Self::Locate(error) => error.as_ceph(),
            Self::Absent { .. }
            | Self::Unfinished { .. }
            | Self::Replaced { .. }
            | Self::Damaged { .. }
            | Self::Encrypted { .. }
            | Self::NoLayering { .. }
            | Self::TooDeep { .. }
            | Self::NotFlattened { .. }
            | Self::TooManySnapshots { .. }
            | Self::OtherCluster { .. } => None,
        }
    }
}

impl Explain for SourceError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
            Self::Locate(error) => error.code(),
            Self::Absent { .. } => Code::new(1442),
            Self::Unfinished { .. } => Code::new(1443),
            Self::Replaced { .. } => Code::new(1444),
            Self::Damaged { .. } => Code::new(1445),
            Self::Encrypted { .. } => Code::new(1446),
            Self::NoLayering { .. } => Code::new(1447),
            Self::OtherCluster { .. } => Code::new(1448),
            Self::TooDeep { .. } => Code::new(1457),
            Self::NotFlattened { .. } => Code::new(1459),
            Self::TooManySnapshots { .. } => Code::new(1458),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Reach(error) => error.class(),
            Self::Locate(error) => error.class(),
            Self::Absent { .. } => Class::Absent,
            Self::Unfinished { .. } | Self::TooDeep { .. } => Class::Busy,
            Self::TooManySnapshots { .. } => Class::Full,
            Self::Replaced { .. } | Self::Damaged { .. } | Self::NotFlattened { .. } => {
                Class::Unmet
            }
            Self::Encrypted { .. } | Self::NoLayering { .. } | Self::OtherCluster { .. } => {
                Class::Invalid
            }
        }
    }

    fn left(&self) -> Left {
        // Looking changes nothing, however it ends.
        Left::Nothing
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        let text = match self {
            Self::Reach(error) => return error.remedy(),
            Self::Locate(error) => return error.remedy(),
            Self::Absent { kind, .. } => format!("name an existing {kind}"),
            Self::Unfinished { .. } => "repeat the request when it is made".to_owned(),
            Self::Replaced { image, .. } => format!(
                "somebody has removed the image and made another of the same name: find out with \
                 `rbd info {image}` which of the two is wanted; nothing was touched"
            ),
            Self::Damaged { image, .. } => {
                format!("look at it with `rbd info {image}` and `rbd snap ls --all {image}`")
            }
            Self::Encrypted { .. } => "take it with ceph-csi, which knows the key store".to_owned(),
            Self::NoLayering { image } => format!(
                "images made with imageFeatures that contain layering can be cloned; copy this \
                 one with `rbd cp {image} NEW --image-feature layering`"
            ),
            Self::TooDeep { .. } => "repeat the request: it succeeds when the image is \
                                     flattened; the limit is --rbdhardmaxclonedepth"
                .to_owned(),
            Self::NotFlattened { .. } => "take a snapshot of it and restore that, which is \
                                          flattened; or make volumes with deep-flatten in \
                                          imageFeatures; the limit is --rbdhardmaxclonedepth"
                .to_owned(),
            Self::TooManySnapshots { .. } => {
                "repeat the request when they are, or delete snapshots of the volume; the limit is \
                 --maxsnapshotsonimage"
                    .to_owned()
            }
            Self::OtherCluster { .. } => {
                "use a class whose clusterID is in the same Ceph cluster".to_owned()
            }
        };
        Some(Cow::Owned(text))
    }
}

/// An image to take data from, as its record and its header tell it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) kind: SourceKind,
    pub(crate) handle: ComposedHandle,
    pub(crate) settings: Arc<ClusterSettings>,
    pub(crate) record: Record,
    pub(crate) located: Located,
    /// The pool and namespace of the image.
    pub(crate) io: Io,
    pub(crate) image: ImageName,
    pub(crate) id: ImageId,
    pub(crate) size: ByteSize,
    pub(crate) order: u8,
    pub(crate) features: ImageFeatures,
    /// All of the image's metadata.
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Which source, for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'w> {
    pub(crate) kind: SourceKind,
    pub(crate) handle: &'w ComposedHandle,
    /// The cluster of the class by which something is to be made of it.
    pub(crate) asked: &'w ClusterId,
    pub(crate) credentials: &'w Credentials,
}

impl RbdController {
    /// Looks a source up, in two round trips.
    ///
    /// # Errors
    /// [`SourceError`].
    pub(crate) fn source(
        &self,
        table: &ClusterTable,
        wanted: &Wanted<'_>,
    ) -> Result<Source, SourceError> {
        let Wanted {
            kind,
            handle,
            credentials,
            ..
        } = *wanted;
        let (settings, cluster) =
            self.connect(table, &handle.cluster, NamedBy::Handle, credentials)?;
        self.check_cluster(table, wanted, &cluster)?;
        let located = match kind {
            SourceKind::Volume => locate(&cluster, &settings, handle),
            SourceKind::Snapshot => locate_snapshot(&cluster, &settings, handle),
        };
        let absent = || SourceError::Absent {
            kind,
            handle: handle.clone(),
        };
        let located = match located {
            Ok(located) => located,
            // The source went with its pool, by the cluster's newest map.
            Err(LocateError::PoolGone { .. }) => return Err(absent()),
            Err(error) => {
                return Err(match ReachError::located(credentials, &settings, error) {
                    Ok(reach) => reach.into(),
                    Err(error) => error.into(),
                });
            }
        };
        let Some(record) = located.record.clone() else {
            return Err(absent());
        };
        if record.image_id.is_none() && record.maker.is_some() {
            return Err(SourceError::Unfinished {
                kind,
                handle: handle.clone(),
            });
        }
        let Some(id) = located.image_id.clone() else {
            return Err(absent());
        };
        check_record(wanted, &record, &located.image, &id)?;
        let (header, metadata) = look(&located.io, &id).map_err(|error| {
            ReachError::refused(credentials, &located.io, None, "look at images", error)
        })?;
        let Some(header) = header else {
            return Err(damaged(wanted, &located.image, "header"));
        };
        if !header.features.contains(ImageFeatures::LAYERING) {
            let image = located.image.clone();
            return Err(SourceError::NoLayering { image });
        }
        Ok(Source {
            kind,
            handle: handle.clone(),
            settings,
            record,
            io: located.io.clone(),
            image: located.image.clone(),
            located,
            id,
            size: header.size,
            order: header.order.unwrap_or(DEFAULT_ORDER),
            features: header.features,
            metadata,
        })
    }

    /// Two entries of `config.json` may stand for one Ceph cluster, with different namespaces.
    fn check_cluster(
        &self,
        table: &ClusterTable,
        wanted: &Wanted<'_>,
        source: &Cluster,
    ) -> Result<(), SourceError> {
        let (asked, here) = (wanted.asked, &wanted.handle.cluster);
        if asked == here {
            return Ok(());
        }
        let (_settings, other) =
            self.connect(table, asked, NamedBy::Parameter, wanted.credentials)?;
        let fsid = |cluster: &Cluster| {
            cluster.fsid().map_err(|source| ReachError::Ceph {
                doing: "ask the cluster for its fsid".to_owned(),
                source,
            })
        };
        if fsid(source)? == fsid(&other)? {
            return Ok(());
        }
        Err(SourceError::OtherCluster {
            kind: wanted.kind,
            source_cluster: here.clone(),
            asked: asked.clone(),
        })
    }
}

/// Compares the record with the image that has its name.
fn check_record(
    wanted: &Wanted<'_>,
    record: &Record,
    image: &ImageName,
    present: &ImageId,
) -> Result<(), SourceError> {
    let (kind, handle) = (wanted.kind, wanted.handle.clone());
    if let Some(store) = &record.kms_id {
        let store = store.clone();
        return Err(SourceError::Encrypted {
            kind,
            handle,
            store,
        });
    }
    match &record.image_id {
        Some(recorded) if recorded != present => Err(SourceError::Replaced {
            image: image.clone(),
            present: present.clone(),
            recorded: recorded.clone(),
        }),
        Some(_) | None => Ok(()),
    }
}

fn damaged(wanted: &Wanted<'_>, image: &ImageName, part: &'static str) -> SourceError {
    SourceError::Damaged {
        kind: wanted.kind,
        handle: wanted.handle.clone(),
        image: image.clone(),
        part,
    }
}

/// An image's header and all of its metadata, at once.
pub(crate) fn look(
    io: &Io,
    id: &ImageId,
) -> Result<(Option<Header>, BTreeMap<String, String>), ceph::Error> {
    let object = header_object(id);
    let metadata = ReadOp::omap_page(&object, "", METADATA_PREFIX, METADATA_MOST);
    let reads = [
        (io, crate::rbd::header::header_read(id, &[])),
        (io, metadata),
    ];
    let mut replies = read_many(&reads).into_iter();
    let header = replies.next().transpose()?.flatten();
    let metadata = replies.next().transpose()?.flatten().unwrap_or_default();
    let entries = metadata.omap.into_iter().filter_map(|(key, value)| {
        let key = key.strip_prefix(METADATA_PREFIX)?.to_owned();
        Some((key, String::from_utf8(value).ok()?))
    });
    Ok((
        header.and_then(|reply| Header::decode(&reply.omap)),
        entries.collect(),
    ))
}

impl Source {
    /// What a clone of one of the image's snapshots is made of.
    pub(crate) fn parent(&self, snapshot: SnapId, size: ByteSize) -> CloneParent {
        CloneParent {
            io: self.io.clone(),
            image: self.id.clone(),
            features: self.features.bits(),
            order: self.order,
            snapshot,
            size,
        }
    }

    /// The snapshot that holds a snapshot's data: it has the name of the image it is on.
    pub(crate) fn own_snapshot(&self) -> Result<Option<CloneParent>, ceph::Error> {
        let snapshots = self.io.snapshots_by_id(&self.id)?.unwrap_or_default();
        let own = snapshots
            .into_iter()
            .find(|known| known.of == SnapshotOf::Users && known.name == self.image.as_str());
        Ok(own.map(|own| self.parent(own.id, own.size)))
    }
}
