//! What `config.json` says about each cluster, after checking.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Class, Code, Explain};
use crate::ids::Fsid;
use crate::names::{ClusterId, FsName, PoolName, RadosNamespace, SubvolumeGroup, shorten};

/// The addresses of a cluster's monitors; at least one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monitors(Vec<String>);

/// A list that cannot be a cluster's monitors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MonitorsError {
    /// There is none.
    #[error("must name at least one monitor")]
    Empty,
    /// An address is empty or contains characters an address cannot have.
    #[error("has \"{0}\", which is no monitor address")]
    Address(String),
}

impl Explain for MonitorsError {
    fn code(&self) -> Code {
        Code::new(1007)
    }
    fn class(&self) -> Class {
        Class::Invalid
    }
}

impl Monitors {
    /// Checks the list.
    ///
    /// # Errors
    /// When it is empty, or an address is empty or contains white space or control characters.
    pub fn new(addresses: Vec<String>) -> Result<Self, MonitorsError> {
        if addresses.is_empty() {
            return Err(MonitorsError::Empty);
        }
        let wrong = |address: &&String| {
            address.is_empty() || address.contains(|c: char| c.is_whitespace() || c.is_control())
        };
        match addresses.iter().find(wrong) {
            Some(address) => Err(MonitorsError::Address(shorten(address))),
            None => Ok(Self(addresses)),
        }
    }

    /// The addresses.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.0
    }

    /// The addresses joined by commas, as `mon_host` wants them.
    #[must_use]
    pub fn joined(&self) -> String {
        self.0.join(",")
    }
}

/// One entry of `config.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The name by which StorageClasses and handles refer to it.
    pub id: ClusterId,
    /// Where its monitors are.
    pub monitors: Monitors,
    /// The fsid that the cluster must have; where none is configured, any.
    pub fsid: Option<Fsid>,
    /// What concerns RBD.
    pub rbd: RbdSettings,
    /// What concerns CephFS.
    pub cephfs: CephFsSettings,
    /// What concerns NFS.
    pub nfs: NfsSettings,
    /// Reading from near OSDs.
    pub read_affinity: ReadAffinitySettings,
}

impl ClusterSettings {
    /// The settings of a cluster of which nothing but id and monitors is configured.
    #[must_use]
    pub fn new(id: ClusterId, monitors: Monitors) -> Self {
        Self {
            id,
            monitors,
            fsid: None,
            rbd: RbdSettings::default(),
            cephfs: CephFsSettings::default(),
            nfs: NfsSettings::default(),
            read_affinity: ReadAffinitySettings::default(),
        }
    }
}

/// The `rbd` section of a cluster's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RbdSettings {
    /// The RADOS namespace of images and journal.
    pub namespace: RadosNamespace,
    /// The network namespace in which images are mapped.
    pub net_namespace_file: Option<PathBuf>,
    /// Watchers tolerated on a primary mirrored image; at least 1.
    pub mirror_daemon_count: u32,
    /// With which credentials, and where, volumes may be listed; without it they cannot.
    pub listing: Option<ListingSettings>,
}

impl Default for RbdSettings {
    fn default() -> Self {
        Self {
            namespace: RadosNamespace::default(),
            net_namespace_file: None,
            mirror_daemon_count: 1,
            listing: None,
        }
    }
}

/// What ListVolumes, GetCapacity and ControllerGetVolume need, since CSI passes them no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingSettings {
    /// A directory with the files `userID` and `userKey`, as a mounted Secret has them.
    pub credentials_directory: PathBuf,
    /// The pools whose journals are listed.
    pub pools: Vec<PoolName>,
}

/// The `cephFS` section of a cluster's entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CephFsSettings {
    /// The group of subvolumes.
    pub subvolume_group: SubvolumeGroup,
    /// Whether the group is made when it is missing.
    pub create_subvolume_group: bool,
    /// The RADOS namespace of the journal.
    pub namespace: RadosNamespace,
    /// The network namespace in which file systems are mounted.
    pub net_namespace_file: Option<PathBuf>,
    /// Options for the kernel's client.
    pub kernel_mount_options: String,
    /// Options for ceph-fuse.
    pub fuse_mount_options: String,
    /// With which credentials, and where, volumes may be listed; without it they cannot.
    pub listing: Option<CephFsListing>,
}

/// What ListVolumes, GetCapacity and ControllerGetVolume need, since CSI passes them no secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CephFsListing {
    /// A directory with the files `userID` and `userKey`, as a mounted Secret has them.
    pub credentials_directory: PathBuf,
    /// The file systems whose journals are listed.
    pub file_systems: Vec<FsName>,
}

impl CephFsSettings {
    /// The name ceph-csi gives to both the subvolume group and the journal's namespace.
    pub const DEFAULT_NAME: &'static str = "csi";
}

impl Default for CephFsSettings {
    fn default() -> Self {
        Self {
            subvolume_group: SubvolumeGroup::default(),
            create_subvolume_group: false,
            namespace: RadosNamespace::cephfs_default(),
            net_namespace_file: None,
            kernel_mount_options: String::new(),
            fuse_mount_options: String::new(),
            listing: None,
        }
    }
}

/// The `nfs` section of a cluster's entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NfsSettings {
    /// The network namespace in which exports are mounted.
    pub net_namespace_file: Option<PathBuf>,
}

/// The `readAffinity` section of a cluster's entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadAffinitySettings {
    /// Whether near OSDs are preferred.
    pub enabled: bool,
    /// The node labels that give the place; empty means those of the command line.
    pub crush_location_labels: Vec<String>,
}

/// All configured clusters. Cheap to clone; never changes once made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterTable {
    clusters: Arc<BTreeMap<ClusterId, Arc<ClusterSettings>>>,
}

impl ClusterTable {
    /// A table of these clusters; of two with the same id the first counts.
    #[must_use]
    pub fn new(clusters: impl IntoIterator<Item = ClusterSettings>) -> Self {
        let mut table = BTreeMap::new();
        for settings in clusters {
            table
                .entry(settings.id.clone())
                .or_insert_with(|| Arc::new(settings));
        }
        Self {
            clusters: Arc::new(table),
        }
    }

    /// The settings of a cluster, when it is configured.
    #[must_use]
    pub fn find(&self, id: &ClusterId) -> Option<Arc<ClusterSettings>> {
        self.clusters.get(id).cloned()
    }

    /// All clusters, ordered by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ClusterSettings>> {
        self.clusters.values()
    }

    /// The number of clusters.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clusters.len()
    }

    /// Whether no cluster is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(id: &str, monitor: &str) -> ClusterSettings {
        ClusterSettings::new(
            ClusterId::new(id).unwrap(),
            Monitors::new(vec![monitor.to_owned()]).unwrap(),
        )
    }

    #[test]
    fn the_first_of_two_entries_with_one_id_counts() {
        let table = ClusterTable::new([cluster("b", "1"), cluster("a", "2"), cluster("b", "3")]);
        assert_eq!(table.len(), 2);
        let found = table.find(&ClusterId::new("b").unwrap()).unwrap();
        assert_eq!(found.monitors.joined(), "1");
        assert_eq!(table.find(&ClusterId::new("c").unwrap()), None);
        let order: Vec<_> = table.iter().map(|c| c.id.as_str()).collect();
        assert_eq!(order, ["a", "b"]);
        assert!(ClusterTable::default().is_empty());
    }

    #[test]
    fn monitors_are_addresses() {
        let monitors = |list: &[&str]| Monitors::new(list.iter().map(|&s| s.to_owned()).collect());
        assert_eq!(
            monitors(&["a:1", "[v2:b:2]"]).unwrap().joined(),
            "a:1,[v2:b:2]"
        );
        assert_eq!(monitors(&[]), Err(MonitorsError::Empty));
        monitors(&["a", ""]).unwrap_err();
        monitors(&["a b"]).unwrap_err();
    }

    #[test]
    fn defaults_are_those_of_ceph_csi() {
        let settings = cluster("a", "1");
        assert_eq!(settings.rbd.mirror_daemon_count, 1);
        assert!(settings.rbd.namespace.is_default());
        assert_eq!(settings.cephfs.subvolume_group.as_str(), "csi");
        assert_eq!(settings.cephfs.namespace.as_str(), "csi");
        assert!(!settings.read_affinity.enabled);
    }
}
