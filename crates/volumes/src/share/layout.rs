//! Where a share's parts are, by the rules of the old provisioner.

use std::ffi::CStr;
use std::path::{Path, PathBuf};

use cuttle_model::{ShareGroup, ShareName, ShareRoot};

/// The quota in bytes, as text.
pub(super) const QUOTA: &CStr = c"ceph.quota.max_bytes";
/// The data pool of a directory's files.
pub(super) const POOL: &CStr = c"ceph.dir.layout.pool";
/// The RADOS namespace of a directory's files.
pub(super) const NAMESPACE: &CStr = c"ceph.dir.layout.pool_namespace";
/// What the files below a directory hold in bytes.
pub(super) const USED: &CStr = c"ceph.dir.rbytes";

/// The group that shares are in when nothing else is said.
pub(super) const USUAL_GROUP: &str = "kubernetes";

/// What the namespace of a share begins with; the old provisioner put the share's name after it.
pub(super) const OLD_NAMESPACE: &str = "fsvolumens_";

const TRASH: &str = "_deleting";

/// The directory and the group of the shares in question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharePlace {
    /// What holds the groups.
    pub root: ShareRoot,
    /// The group.
    pub group: ShareGroup,
}

impl SharePlace {
    pub(super) fn root(&self) -> &Path {
        Path::new(self.root.as_str())
    }

    pub(super) fn group(&self) -> PathBuf {
        self.root().join(self.group.as_str())
    }

    /// The share's directory.
    pub(super) fn share(&self, name: &ShareName) -> PathBuf {
        self.group().join(name.as_str())
    }

    /// The file that says that there is a share.
    pub(super) fn mark(&self, name: &ShareName) -> PathBuf {
        self.root()
            .join(mark_name(self.group.as_str(), name.as_str()))
    }

    pub(super) fn trash(&self) -> PathBuf {
        self.root().join(TRASH)
    }

    /// Where the share is while it is being removed.
    pub(super) fn trashed(&self, name: &ShareName) -> PathBuf {
        self.trash().join(name.as_str())
    }

    /// The RADOS namespace that a new share gets.
    ///
    /// Outside the usual group the group is part of it, unlike with the old provisioner, under
    /// which the users of two shares of the same name could reach each other's data. What exists
    /// keeps its own: it is read from the directory.
    pub(super) fn namespace(&self, name: &ShareName) -> String {
        if self.group.as_str() == USUAL_GROUP {
            old_namespace(name)
        } else {
            format!("{OLD_NAMESPACE}{}:{name}", self.group)
        }
    }
}

/// The namespace that the old provisioner gave a share, whatever its group.
pub(super) fn old_namespace(name: &ShareName) -> String {
    format!("{OLD_NAMESPACE}{name}")
}

pub(super) fn mark_name(group: &str, share: &str) -> String {
    format!("_{group}:{share}.meta")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &str, group: &str) -> SharePlace {
        SharePlace {
            root: ShareRoot::new(root).unwrap(),
            group: ShareGroup::new(group).unwrap(),
        }
    }

    #[test]
    fn parts_are_where_the_old_provisioner_put_them() {
        let place = place("/volumes/kubernetes", "kubernetes");
        let name = ShareName::new("pvc-1_a").unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        assert_eq!(
            text(place.share(&name)),
            "/volumes/kubernetes/kubernetes/pvc-1_a"
        );
        assert_eq!(
            text(place.mark(&name)),
            "/volumes/kubernetes/_kubernetes:pvc-1_a.meta"
        );
        assert_eq!(
            text(place.trashed(&name)),
            "/volumes/kubernetes/_deleting/pvc-1_a"
        );
        assert_eq!(place.namespace(&name), "fsvolumens_pvc-1_a");
    }

    #[test]
    fn namespaces_of_other_groups_are_their_own() {
        let name = |text| ShareName::new(text).unwrap();
        let of = |group, share| place("/volumes", group).namespace(&name(share));
        assert_ne!(of("a", "data"), of("b", "data"));
        assert_ne!(of("a", "data"), old_namespace(&name("data")));
        assert_ne!(of("a_b", "c"), of("a", "b_c"));
        assert_ne!(of("a-b", "c"), of("a_b", "c"));
    }
}
