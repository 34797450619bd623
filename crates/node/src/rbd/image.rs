//! From a request to its image: where it is, what it is like, and who else uses it.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use ceph::{Clusters, Image, Io, OpenMode, Watcher};
use cuttle_journal::LocateError;
use cuttle_model::{
    Class, ClusterSettings, Credentials, Fsid, ImageFeatures, ImageId, NameError, PoolName,
};

use crate::rbd::image_spec::ImageSpec;
use crate::rbd::mkfs_note::MkfsNote;
use crate::rbd::request::Volume;
use crate::verdict::{Verdict, explain_by_verdict};

/// How often the watchers of an image in use are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Why a volume's image cannot be staged, as Ceph tells it.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The cluster cannot be connected to.
    #[error("could not connect to cluster \"{cluster}\"")]
    Connect {
        /// The cluster's id.
        cluster: String,
        /// Ceph's answer.
        source: ceph::Error,
    },
    /// Another cluster answers than the one that is configured.
    #[error(
        "config.json leads cluster \"{cluster}\" to the Ceph cluster with fsid {found}, but it names the fsid {wanted}"
    )]
    OtherCluster {
        /// The cluster's id.
        cluster: String,
        /// The fsid of the cluster that answers.
        found: Fsid,
        /// The fsid of the entry.
        wanted: Fsid,
    },
    /// The handle could not be followed.
    #[error("could not find the volume's image")]
    Locate(#[source] LocateError),
    /// There is no such volume: the cluster itself says so.
    #[error("there is no image {image}")]
    Absent {
        /// The image.
        image: String,
    },
    /// The pool of a static volume cannot be opened.
    #[error("could not open pool \"{pool}\"")]
    Pool {
        /// The pool.
        pool: String,
        /// Ceph's answer.
        source: ceph::Error,
    },
    /// The cluster gives the pool a name that no pool can have.
    #[error("the pool's name cannot be used")]
    PoolName(#[source] NameError),
    /// The image cannot be read.
    #[error("could not {doing} image {image}")]
    Ceph {
        /// What was being done.
        doing: &'static str,
        /// The image.
        image: String,
        /// Ceph's answer.
        source: ceph::Error,
    },
    /// The journal says that the image is encrypted; as a plain one it must not be touched.
    #[error("image {image} is encrypted by ceph-csi, which is not supported yet")]
    Encrypted {
        /// The image.
        image: String,
    },
    /// Somebody else has the image open for writing.
    #[error("image {image} is in use by {} (waited {} s)", addresses(watchers), waited.as_secs())]
    InUse {
        /// The image.
        image: String,
        /// Who uses it.
        watchers: Vec<Watcher>,
        /// How long it was waited for.
        waited: Duration,
    },
}

fn addresses(watchers: &[Watcher]) -> String {
    let addresses: Vec<&str> = watchers
        .iter()
        .map(|watcher| watcher.address.as_str())
        .collect();
    addresses.join(", ")
}

impl ImageError {
    pub(crate) fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Connect { source, .. } => Verdict::Of(source),
            // That a pool is absent does not say that its volume is: the entry of the cluster may
            // lead elsewhere by now.
            Self::Pool { source, .. } if source.is_absent() => Verdict::Own(1531, Class::Unmet),
            Self::Pool { source, .. } | Self::Ceph { source, .. } => Verdict::Of(source),
            Self::Locate(source) => Verdict::Of(source),
            Self::PoolName(_) => Verdict::Own(1533, Class::Bug),
            Self::Absent { .. } => Verdict::Own(1530, Class::Absent),
            Self::InUse { .. } => Verdict::Own(1532, Class::Unmet),
            Self::Encrypted { .. } => Verdict::Own(1534, Class::Unmet),
            Self::OtherCluster { .. } => Verdict::Own(1558, Class::Unmet),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Connect { .. } | Self::Locate(_) | Self::Ceph { .. } | Self::PoolName(_) => {
                return None;
            }
            Self::Pool { source, .. } if !source.is_absent() => return None,
            Self::Pool { .. } => {
                "check `pool` in the PersistentVolume and the cluster's entry in config.json".into()
            }
            Self::Absent { .. } => {
                "see whether it was moved to the trash (`rbd trash list`); a volume whose image \
                 is gone can only be deleted"
                    .into()
            }
            Self::OtherCluster { .. } => {
                "correct monitors or fsid of the cluster's entry in config.json".into()
            }
            Self::Encrypted { .. } => {
                "stage it with ceph-csi. The PersistentVolume does not say `encrypted`, but the \
                 volume's journal does: compare it with the StorageClass that made it"
                    .into()
            }
            Self::InUse { .. } => {
                "stop what uses it there; the address is the node's (or that of `rbd map` or a \
                 backup). A node that died keeps its watch for half a minute; if it is cut off, \
                 fence it with `ceph osd blocklist add ADDRESS`. Mirrored images, which the mirror \
                 daemon watches, are not supported yet"
                    .into()
            }
        })
    }
}

explain_by_verdict!(ImageError);

/// Where a volume's image is.
#[derive(Debug)]
pub(crate) struct LocatedImage {
    pub(crate) spec: ImageSpec,
    io: Io,
    id: ImageId,
}

impl LocatedImage {
    /// Follows the volume to its image. A few round trips.
    pub(crate) fn find(
        clusters: &Clusters,
        settings: &ClusterSettings,
        credentials: &Credentials,
        volume: &Volume,
    ) -> Result<Self, ImageError> {
        let connected = clusters.connect(&settings.monitors, credentials);
        let failed = |source| ImageError::Connect {
            cluster: settings.id.to_string(),
            source,
        };
        let cluster = connected.map_err(failed)?;
        let fsid = cluster.fsid().map_err(failed)?;
        // Before anything is looked for: the image of a static volume is found by its name alone,
        // and another cluster may have one of that name.
        if let Some(wanted) = settings.fsid.filter(|wanted| *wanted != fsid) {
            return Err(ImageError::OtherCluster {
                cluster: settings.id.to_string(),
                found: fsid,
                wanted,
            });
        }
        let namespace = settings.rbd.namespace.clone();
        let (io, image, id) = match volume {
            Volume::Provisioned(handle) => {
                let located = cuttle_journal::locate(&cluster, settings, handle)
                    .map_err(ImageError::Locate)?;
                let is_encrypted = located.record.as_ref().is_some_and(|record| {
                    record.kms_id.is_some() || record.encryption_type.is_some()
                });
                if is_encrypted {
                    let image = located.image.to_string();
                    return Err(ImageError::Encrypted { image });
                }
                (located.io, located.image, located.image_id)
            }
            Volume::Static(place) => {
                let io = cluster.io(&place.pool, &namespace);
                let io = io.map_err(|source| ImageError::Pool {
                    pool: place.pool.to_string(),
                    source,
                })?;
                let id = io.image_id(&place.image).map_err(|source| {
                    let (doing, image) = ("find", format!("{}/{}", place.pool, place.image));
                    ImageError::Ceph {
                        doing,
                        image,
                        source,
                    }
                })?;
                (io, place.image.clone(), id)
            }
        };
        let spec = ImageSpec {
            pool: PoolName::new(io.pool_name()).map_err(ImageError::PoolName)?,
            namespace,
            image,
            fsid: Some(fsid.to_string()),
            pool_id: Some(io.pool_id()),
            image_id: id.clone(),
        };
        match id {
            Some(id) => Ok(Self { spec, io, id }),
            None => Err(absent(&spec)),
        }
    }

    /// Opens the image for reading, which makes no watch.
    pub(crate) fn open(self) -> Result<OpenedImage, ImageError> {
        let Self { spec, io, id } = self;
        let opened = match io.open_image(&spec.image, OpenMode::ReadOnly) {
            Ok(opened) => opened,
            Err(source) if source.is_absent() => return Err(absent(&spec)),
            Err(source) => return Err(failed_at("open", &spec)(source)),
        };
        let failed = failed_at("read the identifier of", &spec);
        if opened.id().map_err(failed)? != id {
            // Replaced by another of its name since it was found.
            return Err(absent(&spec));
        }
        let features = opened
            .features()
            .map_err(failed_at("read the features of", &spec))?;
        Ok(OpenedImage {
            spec,
            features: ImageFeatures::from_bits(features),
            image: opened,
            io,
            id,
        })
    }
}

/// A volume's image, open for reading; that makes no watch.
#[derive(Debug)]
pub(crate) struct OpenedImage {
    pub(crate) spec: ImageSpec,
    pub(crate) features: ImageFeatures,
    image: Image,
    io: Io,
    id: ImageId,
}

impl OpenedImage {
    /// The note about a mkfs on the image.
    pub(crate) fn mkfs_note(&self) -> MkfsNote<'_> {
        MkfsNote::new(&self.io, &self.id, &self.spec)
    }

    /// Waits a short time until nobody has the image open for writing.
    ///
    /// # Errors
    /// [`ImageError::InUse`] with the addresses of those that have.
    pub(crate) fn wait_until_free(&self, patience: Duration) -> Result<(), ImageError> {
        let started = Instant::now();
        loop {
            let watchers = self.image.watchers();
            let watchers = watchers.map_err(failed_at("list the users of", &self.spec))?;
            if watchers.is_empty() {
                return Ok(());
            }
            let waited = started.elapsed();
            if waited >= patience {
                let image = self.spec.to_string();
                return Err(ImageError::InUse {
                    image,
                    watchers,
                    waited,
                });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Fails if anybody has the image open for writing.
    ///
    /// # Errors
    /// [`ImageError::InUse`] with the addresses of those that have.
    pub(crate) fn expect_free(&self) -> Result<(), ImageError> {
        self.wait_until_free(Duration::ZERO)
    }

    /// Makes sure that of several nodes that attach the image at the same time at most one goes
    /// on. To be called after attaching: whoever attaches later sees this node's watch.
    ///
    /// Those that attach at once see each other. The one with the smallest client number waits a
    /// short time for the others to go, which give up at once. If one of them had gone on before,
    /// it stays, and this node gives up, too. `client` is this node's number; where it is not
    /// known, a single watcher is taken for this node. A node that holds the image's exclusive lock
    /// (`locked`) gives way to nobody: the others cannot write, and are on their way out.
    ///
    /// # Errors
    /// [`ImageError::InUse`] with the addresses of the others.
    pub(crate) fn settle_alone(
        &self,
        client: Option<u64>,
        locked: bool,
        patience: Duration,
    ) -> Result<(), ImageError> {
        let started = Instant::now();
        loop {
            let watchers = self.image.watchers();
            let watchers = watchers.map_err(failed_at("list the users of", &self.spec))?;
            let (others, yields) = rivals(watchers, client);
            if others.is_empty() {
                return Ok(());
            }
            let waited = started.elapsed();
            if (yields && !locked) || waited >= patience {
                let image = self.spec.to_string();
                return Err(ImageError::InUse {
                    image,
                    watchers: others,
                    waited,
                });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Closes the image.
    pub(crate) fn close(self) -> Result<(), ImageError> {
        let spec = self.spec;
        self.image.close().map_err(failed_at("close", &spec))
    }
}

/// Those of an image's watchers that are not this node, and whether it gives way to them at once.
fn rivals(mut watchers: Vec<Watcher>, client: Option<u64>) -> (Vec<Watcher>, bool) {
    let Some(own) = client.and_then(|own| i64::try_from(own).ok()) else {
        if watchers.len() == 1 {
            watchers.clear();
        }
        return (watchers, true);
    };
    watchers.retain(|watcher| watcher.id != own);
    let yields = watchers.iter().any(|watcher| watcher.id < own);
    (watchers, yields)
}

fn absent(spec: &ImageSpec) -> ImageError {
    ImageError::Absent {
        image: spec.to_string(),
    }
}

pub(super) fn failed_at<'a>(
    doing: &'static str,
    image: &'a ImageSpec,
) -> impl FnOnce(ceph::Error) -> ImageError + 'a {
    move |source| ImageError::Ceph {
        doing,
        image: image.to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watchers(ids: &[i64]) -> Vec<Watcher> {
        let watcher = |id: &i64| Watcher {
            address: format!("10.0.0.{id}:0/1"),
            id: *id,
            cookie: 1,
        };
        ids.iter().map(watcher).collect()
    }

    #[test]
    fn one_of_many_goes_on() {
        assert_eq!(rivals(watchers(&[4]), Some(4)), (vec![], false));
        assert_eq!(rivals(vec![], Some(4)), (vec![], false));
        assert_eq!(
            rivals(watchers(&[4, 5, 6]), Some(4)),
            (watchers(&[5, 6]), false)
        );
        assert_eq!(
            rivals(watchers(&[4, 5, 6]), Some(5)),
            (watchers(&[4, 6]), true)
        );
        assert_eq!(
            rivals(watchers(&[4, 5, 6]), Some(6)),
            (watchers(&[4, 5]), true)
        );
    }

    #[test]
    fn who_does_not_know_itself_must_be_the_only_one() {
        assert!(rivals(watchers(&[9]), None).0.is_empty());
        assert_eq!(rivals(watchers(&[4, 9]), None), (watchers(&[4, 9]), true));
    }
}
