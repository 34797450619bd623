//! Names of CephFS: file systems, subvolumes, their groups and paths.

use std::borrow::Cow;
use std::fmt;

use super::{NameError, Rule, at_most, no_control, not_empty};
use crate::ids::ObjectUuid;

/// What Ceph's manager takes in names of subvolumes and groups (`goodchars` of its commands).
pub(super) fn plain_characters(text: &str) -> Rule {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text.chars().find(|c| !plain(*c)) {
        Some(c) => Err(format!("must not contain '{}'", c.escape_debug()).into()),
        None => Ok(()),
    }
}

pub(super) fn no_dots(text: &str) -> Rule {
    if matches!(text, "." | "..") {
        Err("must not be \".\" or \"..\"".into())
    } else {
        Ok(())
    }
}

fn fs_rule(text: &str) -> Rule {
    not_empty(text)?;
    at_most(text, 255)?;
    plain_characters(text)
}

fn subvolume_rule(text: &str) -> Rule {
    not_empty(text)?;
    // It is a directory's name.
    at_most(text, 255)?;
    plain_characters(text)?;
    no_dots(text)
}

fn group_rule(text: &str) -> Rule {
    subvolume_rule(text)?;
    // Beside the groups stand the manager's own directories, its trash among them.
    if text.starts_with('_') {
        return Err("must not begin with '_'".into());
    }
    Ok(())
}

fn prefix_rule(text: &str) -> Rule {
    not_empty(text)?;
    at_most(text, 200)?;
    plain_characters(text)?;
    // The manager hides what begins so, its own files for one.
    if text.starts_with(['_', '.']) {
        return Err("must not begin with '_' or '.'".into());
    }
    Ok(())
}

pub(super) fn path_rule(text: &str) -> Rule {
    not_empty(text)?;
    at_most(text, 4096)?;
    no_control(text)?;
    if !text.starts_with('/') {
        return Err("must be an absolute path".into());
    }
    if text.split('/').any(|part| part == "..") {
        return Err(Cow::Borrowed("must not contain \"..\""));
    }
    Ok(())
}

name!(
    /// The name of a Ceph file system.
    FsName, "file system name", fs_rule
);
name!(
    /// The name of a subvolume.
    SubvolumeName, "subvolume name", subvolume_rule
);
name!(
    /// The name of a group of subvolumes.
    SubvolumeGroup, "subvolume group", group_rule
);
name!(
    /// What the names of subvolumes begin with (`volumeNamePrefix`). 1 to 200 bytes.
    SubvolumePrefix, "subvolume name prefix", prefix_rule
);
name!(
    /// An absolute path inside a file system, without `..`.
    FsPath, "path", path_rule
);

impl SubvolumePrefix {
    /// The name of the subvolume with this UUID.
    #[must_use]
    pub fn subvolume_name(&self, uuid: &ObjectUuid) -> SubvolumeName {
        SubvolumeName(format!("{}{uuid}", self.0))
    }
}

impl Default for SubvolumePrefix {
    fn default() -> Self {
        Self("csi-vol-".to_owned())
    }
}

impl Default for SubvolumeGroup {
    /// The group of ceph-csi: `csi`.
    fn default() -> Self {
        Self(crate::cluster::CephFsSettings::DEFAULT_NAME.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule_of<T: fmt::Debug>(result: Result<T, NameError>) -> String {
        result.unwrap_err().rule().to_owned()
    }

    #[test]
    fn names_hold_what_the_manager_takes() {
        for good in ["cephfs", "my-fs_2.x"] {
            FsName::new(good).unwrap();
            SubvolumeName::new(good).unwrap();
            SubvolumeGroup::new(good).unwrap();
            SubvolumePrefix::new(good).unwrap();
        }
        for bad in ["", "a/b", "a b", "a\0", "ä", "a@b"] {
            FsName::new(bad).unwrap_err();
            SubvolumeName::new(bad).unwrap_err();
            SubvolumeGroup::new(bad).unwrap_err();
            SubvolumePrefix::new(bad).unwrap_err();
        }
        assert_eq!(
            rule_of(SubvolumeName::new("a\nb")),
            "must not contain '\\n'"
        );
    }

    #[test]
    fn the_managers_own_directories_cannot_be_named() {
        for bad in ["_deleting", "_nogroup", "_index", ".", ".."] {
            SubvolumeGroup::new(bad).unwrap_err();
            SubvolumePrefix::new(bad).unwrap_err();
        }
        SubvolumeName::new("..").unwrap_err();
    }

    #[test]
    fn a_subvolume_is_named_by_prefix_and_uuid() {
        let uuid = ObjectUuid::parse("50d53503-9da1-11ed-847e-bacf8f2f1297").unwrap();
        assert_eq!(
            SubvolumePrefix::default().subvolume_name(&uuid).as_str(),
            "csi-vol-50d53503-9da1-11ed-847e-bacf8f2f1297"
        );
        let longest = SubvolumePrefix::new("p".repeat(200)).unwrap();
        SubvolumeName::new(longest.subvolume_name(&uuid).as_str()).unwrap();
        SubvolumePrefix::new("p".repeat(201)).unwrap_err();
    }

    #[test]
    fn paths_stay_inside_the_file_system() {
        for good in ["/", "/volumes/csi/a", "/a..b/c", "/größe 1"] {
            FsPath::new(good).unwrap();
        }
        for bad in ["", "a", "/a/../b", "/..", "/a\nb"] {
            FsPath::new(bad).unwrap_err();
        }
    }
}
