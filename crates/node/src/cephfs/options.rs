//! The mount options of a volume, in the order in which ceph-csi gives them.

use std::borrow::Cow;

use cuttle_model::{Access, Class};

use super::request::StageVolume;
use super::settings::CephfsNodeSettings;
use crate::verdict::{Verdict, explain_by_verdict};

/// A mount option that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("mount option \"{shown}\" {rule}")]
pub struct MountOptionError {
    shown: String,
    rule: &'static str,
}

impl MountOptionError {
    fn verdict(&self) -> Verdict<'_> {
        Verdict::Own(1544, Class::Invalid)
    }

    #[expect(clippy::unused_self, reason = "the form of all errors")]
    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(
            "correct mountOptions or fuseMountOptions in the StorageClass, the PersistentVolume or \
             config.json"
                .into(),
        )
    }
}

explain_by_verdict!(MountOptionError);

/// Options for mount(8), fstab readers and init systems; the clients do not know them.
const FOR_OTHERS: [&str; 6] = ["defaults", "auto", "noauto", "nofail", "_netdev", "silent"];

/// What says whom to mount as, and what: the driver's own business.
const OURS: [&str; 8] = [
    "name",
    "secret",
    "secretfile",
    "key",
    "keyfile",
    "fsname",
    "subtype",
    "remount",
];

/// The options of a volume, each once: those of its StorageClass, those of its cluster's entry or
/// the flag, the volume's mount flags, and `ro` for readers.
///
/// # Errors
/// [`MountOptionError`] for one that would change what is mounted, or as whom.
pub(super) fn of_volume(
    request: &StageVolume,
    settings: &CephfsNodeSettings,
) -> Result<Vec<String>, MountOptionError> {
    let entry = &request.cluster.cephfs.fuse_mount_options;
    let configured = if entry.is_empty() {
        &settings.fuse_mount_options
    } else {
        entry
    };
    let flags: &[String] = match &request.capability.access {
        Access::Filesystem { mount_flags, .. } => mount_flags,
        Access::Block => &[],
    };
    let parameter = request.parameters.fuse_mount_options.as_deref();
    let lists = parameter
        .into_iter()
        .chain([configured.as_str()])
        .chain(flags.iter().map(String::as_str))
        .chain(request.capability.is_read_only().then_some("ro"));
    let mut options: Vec<String> = Vec::new();
    for option in lists.flat_map(|list| list.split(',')).map(str::trim) {
        let is_for_others = option.is_empty()
            || FOR_OTHERS.contains(&option)
            || option.starts_with("x-")
            || option.starts_with("comment=");
        if is_for_others || options.iter().any(|known| known == option) {
            continue;
        }
        options.push(checked(option)?.to_owned());
    }
    Ok(options)
}

fn checked(option: &str) -> Result<&str, MountOptionError> {
    let key = option.split('=').next().unwrap_or(option);
    let rule = if OURS.contains(&key) {
        "is set by the driver"
    } else if option.starts_with('-') {
        "must not begin with '-'"
    } else if option.contains(|c: char| c.is_control() || c == '"' || c == '\\') {
        "must not contain quotes, backslashes or control characters"
    } else {
        return Ok(option);
    };
    Err(MountOptionError {
        shown: cuttle_model::names::shorten(key),
        rule,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use cuttle_model::{
        AccessMode, CephFsSettings, CephfsAttachParameters, Credentials, FsPath, Monitors, Secret,
        UserId, VolumeCapability,
    };

    use super::*;
    use crate::cephfs::request::{FsCluster, FsVolume, FsVolumeId};
    use crate::cephfs::settings::{FsPatience, OwnProgram};

    pub(crate) fn settings() -> CephfsNodeSettings {
        CephfsNodeSettings {
            keeper: OwnProgram {
                path: "/bin/keeper".into(),
                arguments: Vec::new(),
            },
            ender: None,
            directory: cuttle_host::AbsolutePath::new("/csi/mountinfo").unwrap(),
            ceph_conf: None,
            json_log: false,
            fuse_mount_options: "flag".to_owned(),
            patience: FsPatience::default(),
        }
    }

    pub(crate) fn request(flags: &[&str], mode: AccessMode) -> StageVolume {
        StageVolume {
            id: FsVolumeId::new("v").unwrap(),
            volume: FsVolume::Path {
                fs: None,
                root: FsPath::new("/a").unwrap(),
            },
            cluster: FsCluster {
                id: None,
                monitors: Monitors::new(vec!["10.0.0.1:6789".to_owned()]).unwrap(),
                cephfs: CephFsSettings::default(),
            },
            credentials: Credentials {
                user: UserId::new("node-1_a").unwrap(),
                key: Secret::new("AQBmarker==".to_owned()),
            },
            staging_path: "/staging".into(),
            capability: VolumeCapability {
                access: Access::Filesystem {
                    fs_type: None,
                    mount_flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
                },
                mode,
            },
            parameters: CephfsAttachParameters::default(),
            is_snapshot: false,
        }
    }

    #[test]
    fn options_come_from_class_entry_or_flag_and_volume_in_this_order() {
        let mut wanted = request(
            &["noatime,nofail", "x-a.b", "b"],
            AccessMode::SingleNodeReaderOnly,
        );
        wanted.parameters.fuse_mount_options = Some("a=1,b".to_owned());
        let options = |wanted: &StageVolume| of_volume(wanted, &settings()).unwrap().join(",");
        assert_eq!(options(&wanted), "a=1,b,flag,noatime,ro");
        // The cluster's entry takes the flag's place.
        wanted.cluster.cephfs.fuse_mount_options = "entry".to_owned();
        assert_eq!(options(&wanted), "a=1,b,entry,noatime,ro");
        let writer = request(&["ro"], AccessMode::MultiNodeMultiWriter);
        assert_eq!(options(&writer), "flag,ro");
    }

    #[test]
    fn nobody_else_says_who_mounts_what() {
        for bad in ["name=admin", "secret=MARKER", "keyfile=/x", "-o", "a=\"b"] {
            let wanted = request(&[bad], AccessMode::MultiNodeMultiWriter);
            let error = of_volume(&wanted, &settings()).unwrap_err();
            assert!(!error.to_string().contains("MARKER"), "{error}");
        }
    }
}
