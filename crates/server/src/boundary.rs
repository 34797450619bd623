//! From wire messages to checked requests.
//!
//! Pure: no I/O, no clock. Every function takes a whole message and either gives a request made of
//! the model's checked types, or reports all its mistakes at once, each with the field, the rule
//! and what to do. Wire types do not go further than this module and the services around it.

mod capability;
pub(crate) mod cephfs;
pub(crate) mod cephfs_node;
pub(crate) mod controller;
pub(crate) mod create;
mod mistakes;

pub(crate) mod node;
mod paths;
mod secrets;
pub(crate) mod snapshots;

use cuttle_model::{ClusterId, ClusterSettings, ClusterTable, VolumeHandle};
use std::sync::Arc;

use mistakes::{Check, Mistake};

/// The settings of a cluster that a request names.
fn cluster(
    check: &mut Check,
    field: &'static str,
    id: &ClusterId,
    table: &ClusterTable,
) -> Option<Arc<ClusterSettings>> {
    let found = table.find(id);
    if found.is_none() {
        let known: Vec<&str> = table
            .iter()
            .take(20)
            .map(|known| known.id.as_str())
            .collect();
        let fix = if known.is_empty() {
            "config.json names no cluster at all: add an entry with this clusterID".to_owned()
        } else {
            format!(
                "use one of {}, or add an entry to config.json",
                known.join(", ")
            )
        };
        let shown = cuttle_model::names::shorten(id.as_str());
        check.add(Mistake::invalid(
            field,
            format!("cluster \"{shown}\" is not in config.json"),
            fix,
        ));
    }
    found
}

/// A required volume handle and its cluster.
fn volume(
    check: &mut Check,
    text: &str,
    table: &ClusterTable,
) -> Option<(VolumeHandle, Arc<ClusterSettings>)> {
    if text.is_empty() {
        check.add(Mistake::invalid(
            "volume_id",
            "must not be empty",
            "give the handle that CreateVolume returned",
        ));
        return None;
    }
    let handle = check.take("volume_id", VolumeHandle::parse(text))?;
    let cluster = cluster(check, "volume_id", handle.cluster(), table)?;
    Some((handle, cluster))
}

#[cfg(test)]
mod tests;
