//! The volume context: what a PersistentVolume remembers of how its volume was made.

use std::collections::BTreeMap;

use cuttle_model::{CephfsParsed, FsPath, SubvolumeName};

/// The parameters of the StorageClass as they were given, and where the subvolume is.
///
/// Node and controller plugins of any version read it from the PersistentVolume for as long as the
/// volume lives, so its keys are ceph-csi's.
pub(crate) fn volume_context(
    parsed: &CephfsParsed,
    subvolume: &SubvolumeName,
    path: &FsPath,
) -> BTreeMap<String, String> {
    let mut context = parsed.context.clone();
    context.insert("subvolumeName".to_owned(), subvolume.to_string());
    context.insert("subvolumePath".to_owned(), path.to_string());
    context
}
