//! The volume context: what a PersistentVolume remembers of how its volume was made.

use std::collections::BTreeMap;

use ceph::Io;
use cuttle_model::ImageName;
use cuttle_model::parameters::Parsed;

/// The facts about the image, overlaid by the parameters of the StorageClass as they were given.
///
/// Node and controller plugins of any version read it from the PersistentVolume for as long as the
/// volume lives, so its keys are ceph-csi's.
pub(crate) fn volume_context(
    io: &Io,
    image: &ImageName,
    parsed: &Parsed,
) -> BTreeMap<String, String> {
    let mut context = BTreeMap::from([
        ("pool".to_owned(), io.pool_name().to_owned()),
        ("journalPool".to_owned(), io.pool_name().to_owned()),
        ("imageName".to_owned(), image.to_string()),
    ]);
    if !io.namespace().is_default() {
        context.insert("radosNamespace".to_owned(), io.namespace().to_string());
    }
    if let Some(data_pool) = &parsed.parameters.data_pool {
        context.insert("dataPool".to_owned(), data_pool.to_string());
    }
    context.extend(parsed.context.clone());
    context
}
