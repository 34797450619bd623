//! What a clone inherits of its source's metadata.

use std::collections::BTreeMap;

use cuttle_model::{SnapshotMetadata, VolumeMetadata};

use crate::settings::CLUSTER_NAME_KEY;

/// What a clone takes over of its source's metadata: all but for whom the source is.
pub(crate) fn inherited(source: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let own = |key: &str| {
        VolumeMetadata::KEYS.contains(&key)
            || SnapshotMetadata::KEYS.contains(&key)
            || key == CLUSTER_NAME_KEY
    };
    let kept = source.iter().filter(|(key, _)| !own(key));
    kept.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
