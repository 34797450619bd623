//! The Node service for CephFS volumes.
//!
//! Growing a volume is the controller's work alone: a client sees a new quota by itself.

use std::sync::Arc;

use cuttle_csi::v1;
use cuttle_csi::v1::node_server::Node;
use cuttle_model::NodeId;
use cuttle_node::cephfs::CephfsNode;
use tonic::{Request, Response, Status};

use super::node::{alone, question, shared, target};
use super::node_reply;
use super::plan::{doing, fingerprint};
use super::unserved::unserved;
use crate::boundary::cephfs_node as boundary;
use crate::cluster_directory::ClusterDirectory;
use crate::dispatch::LaneName;
use crate::rim::{Call, Failed, Plan, Shared, Visit};
use crate::rpc::Rpc;

/// What a process needs to serve Node for CephFS.
#[derive(Debug)]
pub struct CephfsNodeParts {
    /// The operations.
    pub node: CephfsNode,
    /// The configured clusters.
    pub clusters: ClusterDirectory,
    /// The name of this node.
    pub id: NodeId,
}

impl CephfsNodeParts {
    /// The volume's cluster, for its lane; volumes whose handle does not tell a configured one count
    /// as of one without a name, so that there are no more lanes than clusters.
    fn cluster_of(&self, volume_id: &str) -> Arc<str> {
        let known = cuttle_model::VolumeHandle::parse(volume_id)
            .ok()
            .filter(|handle| self.clusters.snapshot().find(handle.cluster()).is_some());
        Arc::from(
            known
                .as_ref()
                .map_or("", |handle| handle.cluster().as_str()),
        )
    }
}

/// Serves Node for CephFS.
#[derive(Debug)]
pub(crate) struct CephfsNodeService {
    shared: Arc<Shared>,
    parts: Arc<CephfsNodeParts>,
}

impl CephfsNodeService {
    pub(crate) fn new(shared: Arc<Shared>, parts: CephfsNodeParts) -> Self {
        Self {
            shared,
            parts: Arc::new(parts),
        }
    }

    fn begin<T>(&self, rpc: Rpc, request: &Request<T>) -> (Call, Arc<CephfsNodeParts>) {
        let call = Call::begin(&self.shared, rpc, request.metadata());
        (call, Arc::clone(&self.parts))
    }

    async fn stage(
        &self,
        visit: Visit,
        parts: Arc<CephfsNodeParts>,
        wire: v1::NodeStageVolumeRequest,
    ) -> Result<v1::NodeStageVolumeResponse, Failed> {
        let doing = doing("stage", &wire.volume_id);
        let fingerprint = fingerprint(&wire);
        let request = boundary::stage(wire, &parts.clusters.snapshot())
            .map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
        let plan = Plan {
            doing,
            keys: vec![alone(request.id.as_str())],
            lane: LaneName::Stage(Arc::from(
                request.cluster.id.as_ref().map_or("", |id| id.as_str()),
            )),
            fingerprint,
        };
        let work = move || parts.node.stage(&request);
        self.shared.run(&visit, plan, work).await?;
        Ok(v1::NodeStageVolumeResponse {})
    }

    async fn unstage(
        &self,
        visit: Visit,
        parts: Arc<CephfsNodeParts>,
        wire: v1::NodeUnstageVolumeRequest,
    ) -> Result<v1::NodeUnstageVolumeResponse, Failed> {
        let doing = doing("unstage", &wire.volume_id);
        let fingerprint = fingerprint(&wire);
        let request =
            boundary::unstage(&wire).map_err(|mistakes| Failed::new(doing.clone(), mistakes))?;
        let plan = Plan {
            doing,
            keys: vec![alone(request.id.as_str())],
            lane: LaneName::Unstage(parts.cluster_of(&wire.volume_id)),
            fingerprint,
        };
        let work = move || parts.node.unstage(&request);
        self.shared.run(&visit, plan, work).await?;
        Ok(v1::NodeUnstageVolumeResponse {})
    }

    async fn publish(
        &self,
        visit: Visit,
        parts: Arc<CephfsNodeParts>,
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
        parts: Arc<CephfsNodeParts>,
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

    async fn stats(
        &self,
        visit: Visit,
        parts: Arc<CephfsNodeParts>,
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
        parts: Arc<CephfsNodeParts>,
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

const EXPAND: &str =
    "a CephFS volume needs no step on nodes to grow: ControllerExpandVolume changes its quota";

#[tonic::async_trait]
impl Node for CephfsNodeService {
    async fn node_stage_volume(
        &self,
        request: Request<v1::NodeStageVolumeRequest>,
    ) -> Result<Response<v1::NodeStageVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeStageVolume, &request);
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.stage(visit, parts, wire)).await
    }

    async fn node_unstage_volume(
        &self,
        request: Request<v1::NodeUnstageVolumeRequest>,
    ) -> Result<Response<v1::NodeUnstageVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeUnstageVolume, &request);
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.unstage(visit, parts, wire)).await
    }

    async fn node_publish_volume(
        &self,
        request: Request<v1::NodePublishVolumeRequest>,
    ) -> Result<Response<v1::NodePublishVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodePublishVolume, &request);
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.publish(visit, parts, wire)).await
    }

    async fn node_unpublish_volume(
        &self,
        request: Request<v1::NodeUnpublishVolumeRequest>,
    ) -> Result<Response<v1::NodeUnpublishVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeUnpublishVolume, &request);
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.unpublish(visit, parts, wire)).await
    }

    async fn node_get_volume_stats(
        &self,
        request: Request<v1::NodeGetVolumeStatsRequest>,
    ) -> Result<Response<v1::NodeGetVolumeStatsResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeGetVolumeStats, &request);
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let visit = call.visit();
        call.answer(self.stats(visit, parts, wire)).await
    }

    async fn node_expand_volume(
        &self,
        _request: Request<v1::NodeExpandVolumeRequest>,
    ) -> Result<Response<v1::NodeExpandVolumeResponse>, Status> {
        Err(unserved(EXPAND))
    }

    async fn node_get_capabilities(
        &self,
        request: Request<v1::NodeGetCapabilitiesRequest>,
    ) -> Result<Response<v1::NodeGetCapabilitiesResponse>, Status> {
        let (call, _) = self.begin(Rpc::NodeGetCapabilities, &request);
        call.answer(async { Ok(node_reply::cephfs_capabilities()) })
            .await
    }

    async fn node_get_info(
        &self,
        request: Request<v1::NodeGetInfoRequest>,
    ) -> Result<Response<v1::NodeGetInfoResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeGetInfo, &request);
        let info = v1::NodeGetInfoResponse {
            node_id: parts.id.to_string(),
            max_volumes_per_node: 0,
            // A file system is reached from every node.
            accessible_topology: None,
        };
        call.answer(async { Ok(info) }).await
    }

    async fn node_get_volume_health(
        &self,
        request: Request<v1::NodeGetVolumeHealthRequest>,
    ) -> Result<Response<v1::NodeGetVolumeHealthResponse>, Status> {
        let (call, parts) = self.begin(Rpc::NodeGetVolumeHealth, &request);
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
