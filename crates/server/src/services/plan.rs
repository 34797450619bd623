//! The parts of a plan that all services make in the same way.

use std::sync::Arc;

use cuttle_model::ClusterId;
use cuttle_model::names::shorten;
use prost::Message;

use crate::dispatch::{Fingerprint, LaneName};
use crate::status::Doing;

/// `create volume "pvc-1"`.
pub(super) fn doing(verb: &str, volume: &str) -> Doing {
    Doing::new(format!("{verb} volume \"{}\"", shorten(volume)))
}

/// `take snapshot "snapshot-1"`.
pub(super) fn doing_with_snapshot(verb: &str, snapshot: &str) -> Doing {
    Doing::new(format!("{verb} snapshot \"{}\"", shorten(snapshot)))
}

/// The fingerprint of a whole request, secrets included.
pub(super) fn fingerprint(wire: &impl Message) -> Fingerprint {
    Fingerprint::of(&wire.encode_to_vec())
}

/// The lane of controller operations on a cluster's subvolumes.
pub(super) fn subvolumes_lane(cluster: &ClusterId) -> LaneName {
    LaneName::Subvolumes(Arc::from(cluster.as_str()))
}

/// The lane of controller operations on a cluster's images.
pub(super) fn cluster_lane(cluster: &ClusterId) -> LaneName {
    LaneName::Cluster(Arc::from(cluster.as_str()))
}
