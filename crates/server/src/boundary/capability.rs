//! Volume capabilities: from the wire's optional parts to a whole one.

use cuttle_csi::v1;
use cuttle_csi::v1::volume_capability::AccessType;
use cuttle_csi::v1::volume_capability::access_mode::Mode;
use cuttle_model::{Access, AccessMode, FsType, VolumeCapability};

use super::mistakes::{Check, Mistake};

/// CSI's bound for all mount flags together.
const LONGEST_FLAGS: usize = 4096;

/// A required capability.
pub(crate) fn one(
    check: &mut Check,
    field: &str,
    wire: Option<v1::VolumeCapability>,
) -> Option<VolumeCapability> {
    let Some(wire) = wire else {
        check.add(Mistake::invalid(
            field.to_owned(),
            "is missing",
            "say how the volume is going to be used",
        ));
        return None;
    };
    let access = access(check, field, wire.access_type);
    let mode = mode(check, field, wire.access_mode);
    access
        .zip(mode)
        .map(|(access, mode)| VolumeCapability { access, mode })
}

/// A required list of capabilities.
pub(crate) fn list(
    check: &mut Check,
    wire: Vec<v1::VolumeCapability>,
) -> Option<Vec<VolumeCapability>> {
    if wire.is_empty() {
        check.add(Mistake::invalid(
            "volume_capabilities",
            "must have at least one entry",
            "say how the volume is going to be used",
        ));
        return None;
    }
    let mut whole = true;
    let mut all = Vec::with_capacity(wire.len());
    for (index, wire) in wire.into_iter().enumerate() {
        match one(check, &format!("volume_capabilities[{index}]"), Some(wire)) {
            Some(one) => all.push(one),
            None => whole = false,
        }
    }
    whole.then_some(all)
}

fn access(check: &mut Check, field: &str, wire: Option<AccessType>) -> Option<Access> {
    match wire {
        None => {
            check.add(Mistake::invalid(
                format!("{field}.access_type"),
                "is missing",
                "set block or mount",
            ));
            None
        }
        Some(AccessType::Block(_)) => Some(Access::Block),
        Some(AccessType::Mount(mount)) => {
            let fs_type = if mount.fs_type.is_empty() {
                Some(None)
            } else {
                let name = format!("{field}.mount.fs_type");
                check.take(name, FsType::new(mount.fs_type)).map(Some)
            };
            let flags = flags(check, field, mount.mount_flags);
            if !mount.volume_mount_group.is_empty() {
                check.add(Mistake::unsupported(
                    format!("{field}.mount.volume_mount_group"),
                    "is not supported",
                    "let kubelet apply fsGroup (fsGroupPolicy in the CSIDriver object)",
                ));
            }
            fs_type
                .zip(flags)
                .map(|(fs_type, mount_flags)| Access::Filesystem {
                    fs_type,
                    mount_flags,
                })
        }
    }
}

/// Flags are not shown: they may hold something private.
fn flags(check: &mut Check, field: &str, flags: Vec<String>) -> Option<Vec<String>> {
    let total = flags.iter().map(String::len).fold(0, usize::saturating_add);
    let rule = if total > LONGEST_FLAGS {
        format!("must be at most {LONGEST_FLAGS} bytes together, are {total}")
    } else if flags.iter().any(|flag| flag.is_empty()) {
        "must not be empty".to_owned()
    } else if flags.iter().any(|flag| flag.contains(char::is_control)) {
        "must not contain control characters".to_owned()
    } else {
        return Some(flags);
    };
    check.add(Mistake::invalid(
        format!("{field}.mount.mount_flags"),
        rule,
        "correct mountOptions in the StorageClass or PersistentVolume",
    ));
    None
}

fn mode(
    check: &mut Check,
    field: &str,
    wire: Option<v1::volume_capability::AccessMode>,
) -> Option<AccessMode> {
    let number = wire.map_or(0, |mode| mode.mode);
    let mode = match Mode::try_from(number) {
        Ok(Mode::SingleNodeWriter) => AccessMode::SingleNodeWriter,
        Ok(Mode::SingleNodeReaderOnly) => AccessMode::SingleNodeReaderOnly,
        Ok(Mode::MultiNodeReaderOnly) => AccessMode::MultiNodeReaderOnly,
        Ok(Mode::MultiNodeSingleWriter) => AccessMode::MultiNodeSingleWriter,
        Ok(Mode::MultiNodeMultiWriter) => AccessMode::MultiNodeMultiWriter,
        Ok(Mode::SingleNodeSingleWriter) => AccessMode::SingleNodeSingleWriter,
        Ok(Mode::SingleNodeMultiWriter) => AccessMode::SingleNodeMultiWriter,
        Ok(Mode::Unknown) | Err(_) => {
            let rule = match number {
                0 => "is missing".to_owned(),
                other => format!("has the unknown value {other}"),
            };
            check.add(Mistake::invalid(
                format!("{field}.access_mode.mode"),
                rule,
                "set one of the access modes of CSI 1.12",
            ));
            return None;
        }
    };
    Some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The way back, so that every part is seen to survive.
    fn to_wire(capability: &VolumeCapability) -> v1::VolumeCapability {
        let access_type = match &capability.access {
            Access::Block => AccessType::Block(v1::volume_capability::BlockVolume {}),
            Access::Filesystem {
                fs_type,
                mount_flags,
            } => AccessType::Mount(v1::volume_capability::MountVolume {
                fs_type: fs_type
                    .as_ref()
                    .map(|fs| fs.as_str().to_owned())
                    .unwrap_or_default(),
                mount_flags: mount_flags.clone(),
                volume_mount_group: String::new(),
            }),
        };
        let mode = match capability.mode {
            AccessMode::SingleNodeWriter => Mode::SingleNodeWriter,
            AccessMode::SingleNodeReaderOnly => Mode::SingleNodeReaderOnly,
            AccessMode::MultiNodeReaderOnly => Mode::MultiNodeReaderOnly,
            AccessMode::MultiNodeSingleWriter => Mode::MultiNodeSingleWriter,
            AccessMode::MultiNodeMultiWriter => Mode::MultiNodeMultiWriter,
            AccessMode::SingleNodeSingleWriter => Mode::SingleNodeSingleWriter,
            AccessMode::SingleNodeMultiWriter => Mode::SingleNodeMultiWriter,
        };
        v1::VolumeCapability {
            access_mode: Some(v1::volume_capability::AccessMode { mode: mode.into() }),
            access_type: Some(access_type),
        }
    }

    fn mount(fs_type: &str, flags: &[&str], mode: i32) -> v1::VolumeCapability {
        v1::VolumeCapability {
            access_mode: Some(v1::volume_capability::AccessMode { mode }),
            access_type: Some(AccessType::Mount(v1::volume_capability::MountVolume {
                fs_type: fs_type.to_owned(),
                mount_flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
                volume_mount_group: String::new(),
            })),
        }
    }

    #[test]
    fn every_mode_survives_the_way_in_and_out() {
        for mode in 1..=7 {
            let wire = mount("ext4", &["noatime"], mode);
            let mut check = Check::default();
            let inner = one(&mut check, "volume_capability", Some(wire.clone())).unwrap();
            check.finish().unwrap();
            assert_eq!(to_wire(&inner), wire);
        }
    }

    #[test]
    fn every_missing_part_is_named() {
        let mut check = Check::default();
        let wire = vec![
            v1::VolumeCapability::default(),
            mount("../x", &["a\n", ""], 99),
        ];
        assert_eq!(list(&mut check, wire), None);
        let text = check.finish().unwrap_err().to_string();
        for part in [
            "volume_capabilities[0].access_type: is missing",
            "volume_capabilities[0].access_mode.mode: is missing",
            "volume_capabilities[1].mount.fs_type",
            "volume_capabilities[1].mount.mount_flags",
            "volume_capabilities[1].access_mode.mode: has the unknown value 99",
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
    }

    #[test]
    fn flags_are_bounded_and_never_shown() {
        let secret = format!("MARKER{}", "x".repeat(LONGEST_FLAGS));
        let mut check = Check::default();
        assert_eq!(one(&mut check, "c", Some(mount("", &[&secret], 1))), None);
        let text = check.finish().unwrap_err().to_string();
        assert!(!text.contains("MARKER"), "{text}");
        assert!(text.contains("at most 4096 bytes"), "{text}");
    }
}
