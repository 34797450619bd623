//! The Node service for RBD volumes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cuttle_csi::v1;
use cuttle_csi::v1::node_server::Node;
use cuttle_model::{ClusterId, NodeId};
use cuttle_node::VolumeId;
use cuttle_node::rbd::{RbdNode, UnstageError};
use tonic::{Request, Response, Status};

use super::node_reply;
use super::plan::{doing, fingerprint};
use super::unserved::unserved;
use crate::boundary::node as boundary;
use crate::cluster_directory::ClusterDirectory;
use crate::dispatch::{Fingerprint, Hold, Key, LaneName};
use crate::rim::{Call, Failed, Plan, Shared, Visit};
use crate::rpc::Rpc;

/// How long the record of a staging may take to be read, to learn a static volume's lane.
const RECORD_PATIENCE: Duration = Duration::from_secs(2);

/// What a process needs to serve Node for RBD.
#[derive(Debug)]
pub struct RbdNodeParts {
    /// The operations.
    pub node: RbdNode,
    /// The configured clusters.
    pub clusters: ClusterDirectory,
    /// The name of this node.
    pub id: NodeId,
    /// Where this node stands: keys `topology.<driver>/<label>` and their values.
    pub topology: BTreeMap<String, String>,
}

/// Serves Node, or says that this process does not.
#[derive(Debug)]
pub(crate) struct NodeService {
    shared: Arc<Shared>,
    parts: Option<Arc<RbdNodeParts>>,
}

impl NodeService {
    pub(crate) fn new(shared: Arc<Shared>, parts: Option<RbdNodeParts>) -> Self {
        Self {
            shared,
            parts: parts.map(Arc::new),
        }
    }

    fn begin<T>(
        &self,
        rpc: Rpc,
        request: &Request<T>,
    ) -> Result<(Call, Arc<RbdNodeParts>), Status> {
        let parts = self.parts.as_ref().ok_or_else(|| {
            unserved("this process serves no node calls; start it with --nodeserver=true")
        })?;
        let call = Call::begin(&self.shared, rpc, request.metadata());
        Ok((call, Arc::clone(parts)))
    }

    /// The volume's cluster, for its lane: what its handle tells, or for a static volume the record
    /// of its staging. One that neither tells counts as of a cluster without a name, and one that is
    /// not configured as well, so that there are no more lanes than clusters.
    async fn cluster_of(
        &self,
        visit: &Visit,
        parts: &Arc<RbdNodeParts>,
        of: Staging<'_>,
    ) -> Arc<str> {
        let known = |id: &ClusterId| parts.clusters.snapshot().find(id).is_some();
        let by_handle = cuttle_model::VolumeHandle::parse(of.volume.as_str()).ok();
        if let Some(handle) = by_handle.filter(|handle| known(handle.cluster())) {
            return Arc::from(handle.cluster().as_str());
        }
        let recorded = self.recorded(visit, parts, of).await.filter(known);
        Arc::from(recorded.as_ref().map_or("", ClusterId::as_str))
    }

    /// The cluster in the record of a staging. A disk that does not answer only costs the name.
    async fn recorded(
        &self,
        visit: &Visit,
        parts: &Arc<RbdNodeParts>,
        of: Staging<'_>,
    ) -> Option<ClusterId> {
        let path = of.path?.to_owned();
        let plan = Plan {
            doing: doing("find the cluster of", of.volume.as_str()),
            keys: vec![question("cluster", &path)],
            lane: LaneName::Probe,
            fingerprint: of.fingerprint,
        };
        let soon = Instant::now().checked_add(RECORD_PATIENCE);
        let visit = Visit {
            deadline: visit.deadline.min(soon).or(soon),
            ..visit.clone()
        };
        let (parts, volume) = (Arc::clone(parts), of.volume.clone());
        let work = move || Ok::<_, UnstageError>(parts.node.staged_from(&volume, &path));
        let found = self.shared.run(&visit, plan, work).await.ok()?;
        found.as_ref().clone()
    }

    async fn stage(
        &self,
        visit: Visit,
        parts: Arc<RbdNodeParts>,
        wire: v1::NodeStageVolumeRequest,
    ) -> Result<v1::NodeStageVolumeResponse, Failed> {
        let doing = doing("stage", &wire.volume_id);
        let fingerprint = fingerprint(&wire);
        let request = boundary::stage(wire, &parts.clusters.snapshot())
            .map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
        let plan = Plan {
            doing,
            keys: vec![alone(request.id.as_str())],
            lane: LaneName::Stage(Arc::from(request.cluster.id.as_str())),
            fingerprint,
        };
        let work = move || parts.node.stage(&request);
        self.shared.run(&visit, plan, work).await?;
        Ok(v1::NodeStageVolumeResponse {})
    }

    async fn unstage(
        &self,
        visit: Visit,
        parts: Arc<RbdNodeParts>,
        wire: v1::NodeUnstageVolumeRequest,
    ) -> Result<v1::NodeUnstageVolumeResponse, Failed> {
        let doing = doing("unstage", &wire.volume_id);
        let fingerprint = fingerprint(&wire);
        let request =
            boundary::unstage(&wire).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
        let staging = Staging {
            volume: &request.id,
            path: Some(&request.staging_path),
            fingerprint,
        };
        let cluster = self.cluster_of(&visit, &parts, staging).await;
        let plan = Plan {
            doing,
            keys: vec![alone(request.id.as_str())],
            lane: LaneName::Unstage(cluster),
            fingerprint,
        };
        let work = move || parts.node.unstage(&request);
        self.shared.run(&visit, plan, work).await?;
        Ok(v1::NodeUnstageVolumeResponse {})
    }

    async fn publish(
        &self,
        visit: Visit,
        parts: Arc<RbdNodeParts>,
        wire: v1::NodePublishVolumeRequest,
    ) -> Result<v1::NodePublishVolumeResponse, Failed> {
        let doing = doing("publish", &wire.volume_id);
        let fingerprint = fingerprint(&wire);
        let request =
            boundary::publish(wire).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
        let plan = Plan {
            doing,
            keys: vec![shared(request.id.as_str()), target(&request.target_path)],
            lane: LaneName::Publish,
            fingerprint,
        };
        let work = move || parts.node.publish(&request);
        self.shared.run(&visit, plan, work).await?;
        Ok(v1::NodePublishVolumeResponse {})
    }

    async fn unpublish(
        &self,
        visit: Visit,
        parts: Arc<RbdNodeParts>,
        wire: v1::NodeUnpublishVolumeRequest,
    ) -> Result<v1::NodeUnpublishVolumeResponse, Failed> {
        let doing = doing("unpublish", &wire.volume_id);
        let fingerprint = fingerprint(&wire);
        let request =
            boundary::unpublish(&wire).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
        let plan = Plan {
            doing,
            keys: vec![shared(request.id.as_str()), target(&request.target_path)],
            lane: LaneName::Unmount,
            fingerprint,
        };
        let work = move || parts.node.unpublish(&request);
        self.shared.run(&visit, plan, work).await?;
        Ok(v1::NodeUnpublishVolumeResponse {})
    }

    async fn expand(
        &self,
        visit: Visit,
        parts: Arc<RbdNodeParts>,
        wire: v1::NodeExpandVolumeRequest,
    ) -> Result<v1::NodeExpandVolumeResponse, Failed> {
        let doing = doing("grow", &wire.volume_id);
        let fingerprint = fingerprint(&wire);
        let request =
            boundary::expand(wire).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
        let staging = Staging {
            volume: &request.id,
            path: request.staging_path.as_deref(),
            fingerprint,
        };
        let cluster = self.cluster_of(&visit, &parts, staging).await;
        let plan = Plan {
            doing,
            keys: vec![alone(request.id.as_str())],
            lane: LaneName::Stage(cluster),
            fingerprint,
        };
        let work = move || parts.node.expand(&request);
        let expanded = self.shared.run(&visit, plan, work).await?;
        Ok(v1::NodeExpandVolumeResponse {
            capacity_bytes: expanded.size.wire_bytes(),
        })
    }

    async fn stats(
        &self,
        visit: Visit,
        parts: Arc<RbdNodeParts>,
        wire: v1::NodeGetVolumeStatsRequest,
    ) -> Result<v1::NodeGetVolumeStatsResponse, Failed> {
        let doing = doing("measure", &wire.volume_id);
        let fingerprint = fingerprint(&wire);
        let request =
            boundary::stats(&wire).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
        let plan = Plan {
            doing,
            keys: vec![question("stats", &request.volume_path)],
            lane: LaneName::Probe,
            fingerprint,
        };
        let work = move || parts.node.stats(&request);
        let stats = self.shared.run(&visit, plan, work).await?;
        Ok(node_reply::stats(&stats))
    }

    async fn health(
        &self,
        visit: Visit,
        parts: Arc<RbdNodeParts>,
        wire: v1::NodeGetVolumeHealthRequest,
    ) -> Result<v1::NodeGetVolumeHealthResponse, Failed> {
        let doing = doing("look at the health of", &wire.volume_id);
        let fingerprint = fingerprint(&wire);
        let request =
            boundary::health(&wire).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
        let Some(request) = request else {
            return Ok(node_reply::health(wire.volume_id, None));
        };
        let plan = Plan {
            doing,
            keys: vec![question("health", &request.volume_path)],
            lane: LaneName::Probe,
            fingerprint,
        };
        let work = move || parts.node.stats(&request);
        match self.shared.run(&visit, plan, work).await {
            Ok(stats) => Ok(node_reply::health(wire.volume_id, Some(&stats.condition))),
            Err(failed) => node_reply::unhealthy(wire.volume_id, failed),
        }
    }
}

/// What a request says of a staging.
struct Staging<'a> {
    volume: &'a VolumeId,
    path: Option<&'a Path>,
    fingerprint: Fingerprint,
}

pub(super) fn alone(id: &str) -> (Key, Hold) {
    (Key::NodeVolume(id.to_owned()), Hold::Alone)
}

/// Workloads come and go side by side; only staging and growing keep everyone else out.
pub(super) fn shared(id: &str) -> (Key, Hold) {
    (Key::NodeVolume(id.to_owned()), Hold::Shared)
}

pub(super) fn target(path: &Path) -> (Key, Hold) {
    (
        Key::Target(path.to_string_lossy().into_owned()),
        Hold::Alone,
    )
}

pub(super) fn question(what: &str, path: &Path) -> (Key, Hold) {
    let text = format!("{what} {}", path.to_string_lossy());
    (Key::Question(text), Hold::Alone)
}

#[tonic::async_trait]
impl Node for NodeService {
    async fn node_stage_volume(
        &self,
        request: Request<v1::NodeStageVolumeRequest>,
    ) -> Result<Response<v1::NodeStageVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeStageVolume, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.stage(visit, parts, wire)).await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<v1::NodeUnstageVolumeRequest>,
    ) -> Result<Response<v1::NodeUnstageVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeUnstageVolume, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.unstage(visit, parts, wire)).await
    }

    async fn node_publish_volume(
        &self,
        request: Request<v1::NodePublishVolumeRequest>,
    ) -> Result<Response<v1::NodePublishVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodePublishVolume, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.publish(visit, parts, wire)).await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<v1::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<v1::NodeUnpublishVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeUnpublishVolume, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.unpublish(visit, parts, wire)).await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<v1::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<v1::NodeGetVolumeStatsResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeGetVolumeStats, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.stats(visit, parts, wire)).await
    }

    async fn node_expand_volume(
        &self,
        request: Request<v1::NodeExpandVolumeRequest>,
    ) -> Result<Response<v1::NodeExpandVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeExpandVolume, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.expand(visit, parts, wire)).await
    }

    async fn node_get_capabilities(
        &self,
        request: Request<v1::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<v1::NodeGetCapabilitiesResponse>, Status> {
        let (call, _) = self.begin(Rpc::NodeGetCapabilities, &request)?;
        call.answer(async { Ok(node_reply::capabilities()) }).await
    }

    async fn node_get_info(
        &self,
        request: Request<v1::NodeGetInfoRequest>,
    ) -> Result<Response<v1::NodeGetInfoResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeGetInfo, &request)?;
        let info = v1::NodeGetInfoResponse {
            node_id: parts.id.to_string(),
            max_volumes_per_node: 0,
            accessible_topology: Some(v1::Topology {
                segments: parts.topology.clone(),
            }),
        };
        call.answer(async { Ok(info) }).await
    }

    async fn node_get_volume_health(
        &self,
        request: Request<v1::NodeGetVolumeHealthRequest>,
    ) -> Result<Response<v1::NodeGetVolumeHealthResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeGetVolumeHealth, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.health(visit, parts, wire)).await
    }

    async fn node_get_storage_health(
        &self,
        _request: Request<v1::NodeGetStorageHealthRequest>,
    ) -> Result<Response<v1::NodeGetStorageHealthResponse>, Status> {
        Err(unserved(
            "reports on the health of a whole storage backend are not supported",
        ))
    }
}
