//! One entry of `config.json`, member by member.

use cuttle_model::{
    CephFsListing, CephFsSettings, ClusterId, ClusterSettings, FsName, Fsid, FsidError,
    ListingSettings, Monitors, NameError, NfsSettings, PoolName, RadosNamespace, RbdSettings,
    ReadAffinitySettings, SubvolumeGroup,
};
use std::path::PathBuf;

use serde_json::Value;

use super::fields::{Object, wrong};
use super::{Entry, Reading};

// `namespace` is written by Rook and read by nobody.
const CLUSTER: &[&str] = &[
    "clusterID",
    "monitors",
    "fsid",
    "rbd",
    "cephFS",
    "nfs",
    "readAffinity",
    "namespace",
];
const RBD: &[&str] = &[
    "radosNamespace",
    "netNamespaceFilePath",
    "mirrorDaemonCount",
    "listing",
];
const LISTING: &[&str] = &["credentialsDirectory", "pools"];
const CEPHFS: &[&str] = &[
    "subvolumeGroup",
    "radosNamespace",
    "netNamespaceFilePath",
    "kernelMountOptions",
    "fuseMountOptions",
    "createSubvolumeGroup",
    "listing",
];
const CEPHFS_LISTING: &[&str] = &["credentialsDirectory", "fileSystems"];
const NFS: &[&str] = &["netNamespaceFilePath"];
const AFFINITY: &[&str] = &["enabled", "crushLocationLabels"];

/// Reads the entry at an index; its findings are added to `reading`.
pub(super) fn read(index: usize, value: &Value, reading: &mut Reading) -> Entry {
    let before = reading.mistakes.len();
    let Some(object) = Object::open(value, format!("$[{index}]"), CLUSTER, reading) else {
        return Entry {
            id: None,
            settings: None,
        };
    };
    let id = id(&object, reading);
    let monitors = monitors(&object, reading);
    let fsid = fsid(&object, reading);
    let rbd = object.object("rbd", RBD, reading).map(|o| rbd(&o, reading));
    let cephfs = object
        .object("cephFS", CEPHFS, reading)
        .map(|o| cephfs(&o, reading));
    let nfs = object.object("nfs", NFS, reading).map(|o| NfsSettings {
        net_namespace_file: o.path("netNamespaceFilePath", reading),
    });
    let affinity = object
        .object("readAffinity", AFFINITY, reading)
        .map(|o| ReadAffinitySettings {
            enabled: o.truth("enabled", reading),
            crush_location_labels: o.texts("crushLocationLabels", reading),
        });
    let settings = match (&id, monitors) {
        (Some(id), Some(monitors)) if reading.mistakes.len() == before => Some(ClusterSettings {
            fsid,
            rbd: rbd.unwrap_or_default(),
            cephfs: cephfs.unwrap_or_default(),
            nfs: nfs.unwrap_or_default(),
            read_affinity: affinity.unwrap_or_default(),
            ..ClusterSettings::new(id.clone(), monitors)
        }),
        _ => None,
    };
    Entry { id, settings }
}

fn id(object: &Object<'_>, reading: &mut Reading) -> Option<ClusterId> {
    let before = reading.mistakes.len();
    let text = object.text("clusterID", reading);
    if reading.mistakes.len() > before {
        return None;
    }
    named(ClusterId::new(text), object.at("clusterID"), reading)
}

fn monitors(object: &Object<'_>, reading: &mut Reading) -> Option<Monitors> {
    let before = reading.mistakes.len();
    let addresses = object.texts("monitors", reading);
    if reading.mistakes.len() > before {
        return None;
    }
    match Monitors::new(addresses) {
        Ok(monitors) => Some(monitors),
        Err(error) => {
            wrong(reading, object.at("monitors"), error.to_string());
            None
        }
    }
}

fn fsid(object: &Object<'_>, reading: &mut Reading) -> Option<Fsid> {
    const NAME: &str = "fsid";
    let text = object.text(NAME, reading);
    if text.is_empty() {
        return None;
    }
    let fsid = Fsid::parse(text);
    let refused = |error: FsidError| wrong(reading, object.at(NAME), error.to_string());
    fsid.map_err(refused).ok()
}

fn named<T>(result: Result<T, NameError>, path: String, reading: &mut Reading) -> Option<T> {
    match result {
        Ok(name) => Some(name),
        Err(error) => {
            wrong(reading, path, error.rule().to_owned());
            None
        }
    }
}

fn namespace(
    object: &Object<'_>,
    default: RadosNamespace,
    reading: &mut Reading,
) -> RadosNamespace {
    const NAME: &str = "radosNamespace";
    let text = object.text(NAME, reading);
    if text.is_empty() {
        return default;
    }
    named(RadosNamespace::new(text), object.at(NAME), reading).unwrap_or(default)
}

fn rbd(object: &Object<'_>, reading: &mut Reading) -> RbdSettings {
    let default = RbdSettings::default();
    RbdSettings {
        namespace: namespace(object, default.namespace, reading),
        net_namespace_file: object.path("netNamespaceFilePath", reading),
        // ceph-csi reads 0 as 1.
        mirror_daemon_count: object
            .count("mirrorDaemonCount", reading)
            .filter(|count| *count > 0)
            .unwrap_or(default.mirror_daemon_count),
        listing: object
            .object("listing", LISTING, reading)
            .and_then(|o| listing(&o, reading)),
    }
}

fn listing(object: &Object<'_>, reading: &mut Reading) -> Option<ListingSettings> {
    let (directory, pools) = listed(object, "pools", PoolName::new, reading);
    Some(ListingSettings {
        credentials_directory: directory?,
        pools,
    })
}

fn cephfs_listing(object: &Object<'_>, reading: &mut Reading) -> Option<CephFsListing> {
    let (directory, file_systems) = listed(object, "fileSystems", FsName::new, reading);
    Some(CephFsListing {
        credentials_directory: directory?,
        file_systems,
    })
}

/// The directory of the credentials, and the names of what is listed with them.
fn listed<T>(
    object: &Object<'_>,
    what: &'static str,
    check: fn(String) -> Result<T, NameError>,
    reading: &mut Reading,
) -> (Option<PathBuf>, Vec<T>) {
    const DIRECTORY: &str = "credentialsDirectory";
    if object.member(DIRECTORY).is_none() {
        let rule = "is missing: it is the directory with the files userID and userKey";
        wrong(reading, object.at(DIRECTORY), rule.to_owned());
    }
    let directory = object.path(DIRECTORY, reading);
    let before = reading.mistakes.len();
    let names = object.texts(what, reading);
    if names.is_empty() && reading.mistakes.len() == before {
        let rule = match what {
            "pools" => "must name at least one pool",
            _ => "must name at least one file system",
        };
        wrong(reading, object.at(what), rule.to_owned());
    }
    let mut checked = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let place = format!("{}[{index}]", object.at(what));
        checked.extend(named(check(name), place, reading));
    }
    (directory, checked)
}

fn cephfs(object: &Object<'_>, reading: &mut Reading) -> CephFsSettings {
    let default = CephFsSettings::default();
    CephFsSettings {
        subvolume_group: group(object, reading),
        create_subvolume_group: object.truth("createSubvolumeGroup", reading),
        namespace: namespace(object, default.namespace, reading),
        net_namespace_file: object.path("netNamespaceFilePath", reading),
        kernel_mount_options: object.text("kernelMountOptions", reading).to_owned(),
        fuse_mount_options: object.text("fuseMountOptions", reading).to_owned(),
        listing: object
            .object("listing", CEPHFS_LISTING, reading)
            .and_then(|o| cephfs_listing(&o, reading)),
    }
}

fn group(object: &Object<'_>, reading: &mut Reading) -> SubvolumeGroup {
    const NAME: &str = "subvolumeGroup";
    let text = object.text(NAME, reading);
    if text.is_empty() {
        return SubvolumeGroup::default();
    }
    named(SubvolumeGroup::new(text), object.at(NAME), reading).unwrap_or_default()
}
