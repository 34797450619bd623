//! The volume context of CephFS volumes.
//!
//! What a node has to go by is, in this order, the handle, the path of a static volume, or the
//! monitors that volumes of the first releases of ceph-csi name themselves.

use std::collections::BTreeMap;

use crate::cluster::Monitors;
use crate::handle::{ComposedHandle, VolumeHandle};
use crate::mistakes::{Mistakes, ParameterErrors, Place};
use crate::names::{ClusterId, FsName, FsPath, SubvolumeName};
use crate::parameters::{
    CephfsAttachParameters, RuleText, boolean, named, refuse_encryption, required,
};

/// A checked volume context of a CephFS volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CephfsContext {
    /// Where the volume is.
    pub place: CephfsPlace,
    /// Its subvolume as CreateVolume told it; older releases did not.
    pub subvolume: Option<ToldSubvolume>,
    /// How to mount it.
    pub attach: CephfsAttachParameters,
    /// What the single snapshot to show has in its name, for volumes that are one
    /// (`backingSnapshotID`).
    pub backing_snapshot: Option<String>,
}

/// A subvolume by the words of a volume context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldSubvolume {
    /// Its name (`subvolumeName`).
    pub name: SubvolumeName,
    /// The directory of its data (`subvolumePath`).
    pub path: FsPath,
}

impl ToldSubvolume {
    /// What cannot be one says nothing: the cluster is asked then.
    fn read(given: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            name: SubvolumeName::new(given.get("subvolumeName")?.as_str()).ok()?,
            path: FsPath::new(given.get("subvolumePath")?.as_str()).ok()?,
        })
    }
}

/// Where a CephFS volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CephfsPlace {
    /// Where its handle leads.
    Handle(ComposedHandle),
    /// A path of a file system (`staticVolume: "true"`), mounted as the user of the node's secret.
    Static {
        /// The cluster, by its entry in `config.json`.
        cluster: ClusterId,
        /// The file system; the cluster's default one when not given.
        fs: Option<FsName>,
        /// The path.
        root: FsPath,
    },
    /// A path of a cluster that only the context describes, as ceph-csi up to 1.0 did.
    Monitors {
        /// Its monitors; `None` when they are in the secrets.
        monitors: Option<Monitors>,
        /// The file system; the cluster's default one when not given.
        fs: Option<FsName>,
        /// The path.
        root: FsPath,
        /// Whether ceph-csi made the volume (`provisionVolume`): then it is mounted as the
        /// administrator.
        provisioned: bool,
    },
}

impl CephfsContext {
    /// Checks a volume context; `handle` is the request's volume id.
    ///
    /// # Errors
    /// All mistakes together.
    pub fn parse(handle: &str, given: &BTreeMap<String, String>) -> Result<Self, ParameterErrors> {
        let mut mistakes = Mistakes::default();
        refuse_encryption(given, &mut mistakes);
        let attach = CephfsAttachParameters::read(given, &mut mistakes);
        let place = place(handle, given, &mut mistakes);
        let backing_snapshot = given
            .get("backingSnapshotID")
            .filter(|id| !id.is_empty())
            .cloned();
        match place {
            Some(place) if mistakes.is_empty() => Ok(Self {
                place,
                subvolume: ToldSubvolume::read(given),
                attach,
                backing_snapshot,
            }),
            Some(_) | None => Err(mistakes.into_errors(Place::VolumeContext)),
        }
    }
}

fn place(
    handle: &str,
    given: &BTreeMap<String, String>,
    mistakes: &mut Mistakes,
) -> Option<CephfsPlace> {
    let undecodable = match VolumeHandle::parse(handle) {
        Ok(VolumeHandle::Composed(handle)) => return Some(CephfsPlace::Handle(handle)),
        Ok(VolumeHandle::Migrated(_)) => "is that of an RBD image".to_owned(),
        Err(error) => error.to_string(),
    };
    let is_static = flag(given, "staticVolume", mistakes);
    if is_static == Some(true) {
        return static_place(given, mistakes);
    }
    // Nothing of the kind was meant: it is the handle that is wrong.
    if !given.contains_key("monitors") && !given.contains_key("provisionVolume") {
        mistakes.add(
            "volumeHandle",
            undecodable,
            "use the volumeHandle that CreateVolume returned, or set staticVolume: \"true\" with \
             clusterID and rootPath",
        );
        return None;
    }
    old_place(handle, given, mistakes)
}

fn static_place(given: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Option<CephfsPlace> {
    let cluster = required(
        given,
        "clusterID",
        "set it to a clusterID of config.json",
        ClusterId::new,
        mistakes,
    );
    let fs = fs_name(given, mistakes);
    let root = root_path(given, mistakes);
    Some(CephfsPlace::Static {
        cluster: cluster?,
        fs,
        root: root?,
    })
}

/// A volume of the first releases: made under a directory of their own, or found at a path.
fn old_place(
    handle: &str,
    given: &BTreeMap<String, String>,
    mistakes: &mut Mistakes,
) -> Option<CephfsPlace> {
    let monitors = given
        .get("monitors")
        .filter(|text| !text.is_empty())
        .map(|text| {
            let list = text.split(',').map(str::to_owned).collect();
            let remedy = "list the monitors' addresses, separated by commas";
            mistakes.take("monitors", remedy, Monitors::new(list))
        });
    let provisioned = flag(given, "provisionVolume", mistakes);
    if provisioned.is_none() {
        mistakes.add(
            "provisionVolume",
            "is missing",
            "set it to \"false\" and rootPath to the path",
        );
    }
    let root = if provisioned == Some(true) {
        if !given.contains_key("pool") {
            let remedy = "set it to the data pool of the volume";
            mistakes.add("pool", "is missing", remedy);
        }
        let made = FsPath::new(format!("/csi-volumes/{handle}"));
        let made = made.map_err(|error| error.rule_text());
        mistakes.take("volumeHandle", "correct it", made)
    } else {
        root_path(given, mistakes)
    };
    let fs = fs_name(given, mistakes);
    Some(CephfsPlace::Monitors {
        monitors: match monitors {
            None => None,
            Some(checked) => Some(checked?),
        },
        fs,
        root: root?,
        provisioned: provisioned?,
    })
}

fn fs_name(given: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Option<FsName> {
    let remedy = "remove it, or set it to a file system of `ceph fs ls`";
    named(given, "fsName", remedy, FsName::new, mistakes)
}

fn root_path(given: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Option<FsPath> {
    let remedy = "set it to a path inside the file system";
    required(given, "rootPath", remedy, FsPath::new, mistakes)
}

/// A truth value, if it is given and one.
fn flag(given: &BTreeMap<String, String>, key: &str, mistakes: &mut Mistakes) -> Option<bool> {
    let text = given.get(key)?;
    let value = boolean(text);
    if value.is_none() {
        mistakes.add(key, "must be true or false", "write \"true\" or \"false\"");
        // Told; that it is missing need not be told as well.
        return Some(false);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLE: &str =
        "0001-0009-rook-ceph-0000000000000001-50d53503-9da1-11ed-847e-bacf8f2f1297";

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn wrong(handle: &str, entries: &[(&str, &str)]) -> Vec<String> {
        let errors = CephfsContext::parse(handle, &map(entries)).unwrap_err();
        let mistakes = errors.mistakes().iter();
        mistakes
            .map(|m| format!("{} {}", m.field, m.rule))
            .collect()
    }

    #[test]
    fn a_dynamic_volume_is_found_by_its_handle() {
        let context = CephfsContext::parse(
            HANDLE,
            &map(&[
                ("clusterID", "rook-ceph"),
                ("fsName", "myfs"),
                ("subvolumeName", "csi-vol-50d53503"),
                ("subvolumePath", "/volumes/csi/x/y"),
                ("mounter", "kernel"),
                ("subvolumeGroup", "team"),
                ("storage.kubernetes.io/csiProvisionerIdentity", "1-2-cephfs"),
            ]),
        )
        .unwrap();
        let CephfsPlace::Handle(handle) = context.place else {
            panic!("{:?}", context.place);
        };
        assert_eq!(handle.encode(), HANDLE);
        let told = context.subvolume.unwrap();
        assert_eq!(told.name.as_str(), "csi-vol-50d53503");
        assert_eq!(told.path.as_str(), "/volumes/csi/x/y");
        let mounter = context.attach.mounter;
        assert_eq!(mounter, Some(crate::parameters::CephfsMounter::Kernel));
        assert_eq!(context.attach.group.unwrap().as_str(), "team");
    }

    #[test]
    fn a_static_volume_says_where_its_path_is() {
        let given = map(&[
            ("staticVolume", "true"),
            ("clusterID", "a"),
            ("rootPath", "/x"),
            ("backingSnapshotID", "snap-1"),
        ]);
        let context = CephfsContext::parse("any/thing", &given).unwrap();
        assert_eq!(context.backing_snapshot.as_deref(), Some("snap-1"));
        let CephfsPlace::Static { cluster, fs, root } = context.place else {
            panic!("{:?}", context.place);
        };
        assert_eq!((cluster.as_str(), fs, root.as_str()), ("a", None, "/x"));
        assert_eq!(
            wrong("x", &[("staticVolume", "true"), ("fsName", "")]),
            [
                "clusterID is missing",
                "fsName must not be empty",
                "rootPath is missing"
            ]
        );
    }

    #[test]
    fn volumes_of_the_first_releases_name_their_monitors() {
        let made = map(&[
            ("monitors", "a:1,b:2"),
            ("provisionVolume", "true"),
            ("pool", "data"),
        ]);
        let place = CephfsContext::parse("csi-cephfs-1", &made).unwrap().place;
        let CephfsPlace::Monitors {
            monitors,
            root,
            provisioned,
            ..
        } = place
        else {
            panic!("{place:?}");
        };
        assert_eq!(monitors.unwrap().joined(), "a:1,b:2");
        assert_eq!(root.as_str(), "/csi-volumes/csi-cephfs-1");
        assert!(provisioned);
        let found = map(&[("provisionVolume", "false"), ("rootPath", "/a")]);
        let place = CephfsContext::parse("x", &found).unwrap().place;
        assert!(matches!(
            place,
            CephfsPlace::Monitors {
                monitors: None,
                provisioned: false,
                ..
            }
        ));
        assert_eq!(
            wrong("x", &[("monitors", "a b")]),
            [
                "monitors has \"a b\", which is no monitor address",
                "provisionVolume is missing",
                "rootPath is missing"
            ]
        );
    }

    #[test]
    fn a_handle_that_leads_nowhere_is_the_mistake() {
        let errors = wrong("x", &[("clusterID", "a"), ("staticVolume", "maybe")]);
        assert_eq!(errors.len(), 2);
        assert_eq!(errors[0], "staticVolume must be true or false");
        assert!(
            errors[1].starts_with("volumeHandle volume handle"),
            "{errors:?}"
        );
        assert_eq!(
            wrong(HANDLE, &[("encrypted", "true"), ("mounter", "nbd")]),
            [
                "encrypted is not supported yet",
                "mounter must be fuse or kernel"
            ]
        );
    }
}
