//! The parameters of a CephFS StorageClass, checked as a whole, and those of them that nodes read
//! again from the volume context.
//!
//! As with RBD all mistakes are told at once, and no cluster is looked up here. Unlike RBD's, an
//! empty value is a mistake: ceph-csi takes it for one, too.

use std::collections::BTreeMap;
use std::fmt;

use super::keys::{CEPHFS_KEYS, check_keys};
use super::{VolumeMetadata, boolean, context, named, refuse_encryption, required};
use crate::mistakes::{Mistakes, ParameterErrors, Place};
use crate::names::{ClusterId, FsName, PoolName, SubvolumeGroup, SubvolumePrefix};

/// What a StorageClass says about the subvolumes it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CephfsParameters {
    /// The cluster, by its entry in `config.json`.
    pub cluster: ClusterId,
    /// The file system.
    pub fs: FsName,
    /// What subvolume names begin with.
    pub prefix: SubvolumePrefix,
    /// Data pool, group and mount options, which nodes read as well.
    pub attach: CephfsAttachParameters,
}

/// A CephFS StorageClass's parameters after checking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CephfsParsed {
    /// What to make.
    pub parameters: CephfsParameters,
    /// Who it is for.
    pub metadata: VolumeMetadata,
    /// The parameters that belong into the volume context, as they were given: all but those of
    /// Kubernetes' own components and `topologyConstrainedPools`.
    pub context: BTreeMap<String, String>,
}

/// How nodes mount the subvolumes of a StorageClass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CephfsAttachParameters {
    /// The client to mount with; the node's first when not given.
    pub mounter: Option<CephfsMounter>,
    /// Options for the kernel's client, comma-separated.
    pub kernel_mount_options: Option<String>,
    /// Options for ceph-fuse, comma-separated.
    pub fuse_mount_options: Option<String>,
    /// The pool of the files' data; the file system's first when not given.
    pub pool: Option<PoolName>,
    /// The group of the subvolume; that of the cluster's entry when not given.
    pub group: Option<SubvolumeGroup>,
}

/// A client that mounts CephFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CephfsMounter {
    /// The kernel's (`kernel`).
    Kernel,
    /// ceph-fuse (`fuse`).
    Fuse,
}

impl CephfsMounter {
    /// The client of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "kernel" => Some(Self::Kernel),
            "fuse" => Some(Self::Fuse),
            _ => None,
        }
    }

    /// The name in a StorageClass.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Fuse => "fuse",
        }
    }
}

impl fmt::Display for CephfsMounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl CephfsParameters {
    /// Checks the parameters of CreateVolume.
    ///
    /// # Errors
    /// All mistakes together, each with its field, the rule it breaks and what to write instead.
    pub fn parse(given: &BTreeMap<String, String>) -> Result<CephfsParsed, ParameterErrors> {
        let mut mistakes = Mistakes::default();
        check_keys(given, &CEPHFS_KEYS, &mut mistakes);
        refuse_later_features(given, &mut mistakes);
        let cluster = required(
            given,
            "clusterID",
            "set it to a clusterID of config.json",
            ClusterId::new,
            &mut mistakes,
        );
        let fs = required(
            given,
            "fsName",
            "set it to a file system of `ceph fs ls`",
            FsName::new,
            &mut mistakes,
        );
        let prefix = named(
            given,
            "volumeNamePrefix",
            "remove it, or set a prefix such as csi-vol-",
            SubvolumePrefix::new,
            &mut mistakes,
        );
        let attach = CephfsAttachParameters::read(given, &mut mistakes);
        match (cluster, fs) {
            (Some(cluster), Some(fs)) if mistakes.is_empty() => Ok(CephfsParsed {
                parameters: Self {
                    cluster,
                    fs,
                    prefix: prefix.unwrap_or_default(),
                    attach,
                },
                metadata: VolumeMetadata::read(given),
                context: context(given),
            }),
            _ => Err(mistakes.into_errors(Place::StorageClass)),
        }
    }
}

impl CephfsAttachParameters {
    /// Reads these parameters out of a StorageClass's parameters or a volume context.
    pub(crate) fn read(given: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Self {
        let mounter = given.get("mounter").and_then(|name| {
            let mounter = CephfsMounter::from_name(name);
            if mounter.is_none() {
                mistakes.add(
                    "mounter",
                    "must be fuse or kernel",
                    "remove it for the first client that works on the node",
                );
            }
            mounter
        });
        Self {
            mounter,
            kernel_mount_options: options(given, "kernelMountOptions", mistakes),
            fuse_mount_options: options(given, "fuseMountOptions", mistakes),
            pool: named(
                given,
                "pool",
                "remove it, or name a data pool of the file system",
                PoolName::new,
                mistakes,
            ),
            group: named(
                given,
                "subvolumeGroup",
                "remove it; the group is cephFS.subvolumeGroup of the cluster in config.json",
                SubvolumeGroup::new,
                mistakes,
            ),
        }
    }
}

/// Mount options: whether the client knows them, it says itself.
fn options(given: &BTreeMap<String, String>, key: &str, mistakes: &mut Mistakes) -> Option<String> {
    const REMEDY: &str = "remove it, or write options as a,b=c";
    let text = given.get(key)?;
    if text.is_empty() {
        mistakes.add(key, "must not be empty", REMEDY);
    } else if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        mistakes.add(key, "must not contain white space", REMEDY);
    } else if text.starts_with('-') {
        mistakes.add(key, "must not begin with '-'", REMEDY);
    }
    Some(text.clone())
}

fn refuse_later_features(given: &BTreeMap<String, String>, mistakes: &mut Mistakes) {
    const LATER: &str = "is not supported yet";
    refuse_encryption(given, mistakes);
    if given
        .get("topologyConstrainedPools")
        .is_some_and(|value| !value.trim().is_empty())
    {
        mistakes.add(
            "topologyConstrainedPools",
            "is not supported for CephFS",
            "remove it; a file system is reached from every node",
        );
    }
    if given.contains_key("snapshotNamePrefix") {
        mistakes.add(
            "snapshotNamePrefix",
            LATER,
            "remove it; it belongs to a VolumeSnapshotClass, and snapshots are still to come",
        );
    }
    match given.get("backingSnapshot").map(|value| boolean(value)) {
        Some(Some(true)) => mistakes.add(
            "backingSnapshot",
            LATER,
            "set it to \"false\" or remove it; snapshots are still to come",
        ),
        Some(None) => mistakes.add(
            "backingSnapshot",
            "must be true or false",
            "set it to \"false\" or remove it",
        ),
        Some(Some(false)) | None => {}
    }
}

#[cfg(test)]
mod tests;
