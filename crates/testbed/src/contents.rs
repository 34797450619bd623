//! What lies in a pool's RADOS namespace, seen through Ceph's own programs.
//!
//! This is the witness of the leak proofs: it shares no code with the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::{Cluster, Error};

/// Objects that librbd keeps in a namespace for its own bookkeeping, even when no image is left.
const BOOKKEEPING: [&str; 7] = [
    "rbd_directory",
    "rbd_info",
    "rbd_trash",
    "rbd_children",
    "rbd_namespace",
    "rbd_mirroring",
    "rbd_task",
];

/// Keys in those objects that do not speak of an image.
const BOOKKEEPING_KEYS: [&str; 1] = ["state"];

/// Everything in one namespace of one pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Names of images.
    pub images: BTreeSet<String>,
    /// Names of images in the trash.
    pub trash: BTreeSet<String>,
    /// Names of all RADOS objects, librbd's own among them.
    pub objects: BTreeSet<String>,
    /// The omap keys of the driver's objects (`csi.*`) and of librbd's directories.
    pub omap_keys: BTreeMap<String, BTreeSet<String>>,
}

/// One thing that is there and should not be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leftover {
    /// An image of this name.
    Image(String),
    /// An image of this name in the trash.
    Trash(String),
    /// A RADOS object.
    Object(String),
    /// An omap key.
    Key {
        /// The object that holds it.
        object: String,
        /// The key.
        key: String,
    },
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(name) => write!(f, "image {name}"),
            Self::Trash(name) => write!(f, "image {name} in the trash"),
            Self::Object(name) => write!(f, "object {name}"),
            Self::Key { object, key } => write!(f, "key {key} of object {object}"),
        }
    }
}

impl Contents {
    /// Looks at a namespace; `""` is the default one. A namespace that does not exist is empty.
    ///
    /// The listings are taken one after the other: take them while nothing else works there.
    pub(crate) fn look(cluster: &Cluster, pool: &str, namespace: &str) -> Result<Self, Error> {
        let spec = format!("{pool}/{namespace}");
        let spec = spec.trim_end_matches('/');
        let objects = list_objects(cluster, pool, namespace)?;
        if objects.is_empty() {
            return Ok(Self::default());
        }
        let (images, trash) = if objects.contains("rbd_directory") || objects.contains("rbd_trash")
        {
            let images = cluster
                .program("rbd")
                .args(["ls", "--format", "json", spec])
                .ok()?;
            let trash = cluster
                .program("rbd")
                .args(["trash", "ls", "--all", "--format", "json", spec])
                .ok()?;
            (
                texts(&images.json()?, None),
                texts(&trash.json()?, Some("name")),
            )
        } else {
            Default::default()
        };
        let mut omap_keys = BTreeMap::new();
        let wanted =
            |name: &&String| name.starts_with("csi.") || BOOKKEEPING.contains(&name.as_str());
        for object in objects.iter().filter(wanted) {
            omap_keys.insert(object.clone(), list_keys(cluster, pool, namespace, object)?);
        }
        Ok(Self {
            images,
            trash,
            objects,
            omap_keys,
        })
    }

    /// What is here that an unused namespace would not have.
    ///
    /// librbd's own bookkeeping objects do not count while they name no image, and neither do the
    /// driver's directory objects (`csi.volumes.*` and its kin) while they are without keys: both
    /// stay for ever by design.
    #[must_use]
    pub fn leftovers(&self) -> Vec<Leftover> {
        let mut found: Vec<Leftover> = Vec::new();
        found.extend(self.images.iter().cloned().map(Leftover::Image));
        found.extend(self.trash.iter().cloned().map(Leftover::Trash));
        found.extend(
            self.objects
                .iter()
                .filter(|name| !stays_for_ever(name))
                .cloned()
                .map(Leftover::Object),
        );
        for (object, keys) in &self.omap_keys {
            let counts =
                stays_for_ever(object) && object != "rbd_info" && object != "rbd_namespace";
            if counts {
                found.extend(
                    keys.iter()
                        .filter(|key| !BOOKKEEPING_KEYS.contains(&key.as_str()))
                        .map(|key| Leftover::Key {
                            object: object.clone(),
                            key: key.clone(),
                        }),
                );
            }
        }
        found
    }

    /// What is left over here and was not before.
    #[must_use]
    pub fn leftovers_since(&self, before: &Self) -> Vec<Leftover> {
        let known: BTreeSet<Leftover> = before.leftovers().into_iter().collect();
        self.leftovers()
            .into_iter()
            .filter(|leftover| !known.contains(leftover))
            .collect()
    }
}

/// Objects that remain although every volume is gone.
fn stays_for_ever(object: &str) -> bool {
    let directory = [
        "csi.volumes.",
        "csi.snaps.",
        "csi.groups.",
        "csi.volume.group.directory",
    ]
    .iter()
    .any(|prefix| object.starts_with(prefix));
    directory || BOOKKEEPING.contains(&object)
}

fn list_objects(cluster: &Cluster, pool: &str, namespace: &str) -> Result<BTreeSet<String>, Error> {
    let listed = cluster
        .program("rados")
        .args(["-p", pool, "-N", namespace, "ls", "--format", "json"])
        .ok()?;
    Ok(texts(&listed.json()?, Some("name")))
}

fn list_keys(
    cluster: &Cluster,
    pool: &str,
    namespace: &str,
    object: &str,
) -> Result<BTreeSet<String>, Error> {
    let listed = cluster
        .program("rados")
        .args(["-p", pool, "-N", namespace, "listomapkeys", object])
        .run()?;
    // The object may have gone since the listing; then it has no keys.
    Ok(listed.text().lines().map(ToOwned::to_owned).collect())
}

/// The strings of a JSON array, or the named member of each of its objects.
fn texts(list: &Value, member: Option<&str>) -> BTreeSet<String> {
    let entries = list.as_array().into_iter().flatten();
    entries
        .filter_map(|entry| match member {
            Some(member) => entry.get(member)?.as_str(),
            None => entry.as_str(),
        })
        .map(ToOwned::to_owned)
        .collect()
}
