//! The Controller service for RBD volumes.

use std::sync::Arc;

use cuttle_csi::v1;
use cuttle_csi::v1::controller_server::Controller;
use tonic::{Request, Response, Status};

use super::controller_reply as reply;
use super::unserved::unserved;
use crate::cluster_directory::ClusterDirectory;
use crate::listing;
use crate::rim::{Call, Shared};
use crate::rpc::Rpc;
use cuttle_volumes::rbd::RbdController;

pub(super) mod asking;
mod changing;
mod snapshots;

/// What a process needs to serve Controller for RBD.
#[derive(Debug)]
pub struct RbdControllerParts {
    /// The operations.
    pub controller: RbdController,
    /// The configured clusters.
    pub clusters: ClusterDirectory,
}

/// Serves Controller, or says that this process does not.
#[derive(Debug)]
pub(crate) struct ControllerService {
    shared: Arc<Shared>,
    parts: Option<Arc<RbdControllerParts>>,
}

const PUBLISH: &str = "attaching is done by the node when it stages a volume; set attachRequired: \
                       false in the CSIDriver object or leave the empty step to the external-attacher";
const MODIFY: &str = "changing a volume's parameters is not supported yet";
const LIST_HEALTH: &str = "listing the health of all volumes is not supported; ask for one with ControllerGetVolumeHealth";

impl ControllerService {
    pub(crate) fn new(shared: Arc<Shared>, parts: Option<RbdControllerParts>) -> Self {
        Self {
            shared,
            parts: parts.map(Arc::new),
        }
    }

    fn begin<T>(
        &self,
        rpc: Rpc,
        request: &Request<T>,
    ) -> Result<(Call, Arc<RbdControllerParts>), Status> {
        let parts = self.parts.as_ref().ok_or_else(|| {
            unserved(
                "this process serves no controller calls; start it with --controllerserver=true",
            )
        })?;
        let call = Call::begin(&self.shared, rpc, request.metadata());
        Ok((call, Arc::clone(parts)))
    }
}

#[tonic::async_trait]
impl Controller for ControllerService {
    async fn create_volume(
        &self,
        request: Request<v1::CreateVolumeRequest>,
    ) -> Result<Response<v1::CreateVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::CreateVolume, &request)?;
        let wire = request.into_inner();
        call.about("volume.name", &wire.name);
        let work = changing::create(&self.shared, call.visit(), parts, wire);
        call.answer(work).await
    }

    async fn delete_volume(
        &self,
        request: Request<v1::DeleteVolumeRequest>,
    ) -> Result<Response<v1::DeleteVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::DeleteVolume, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let work = changing::delete(&self.shared, call.visit(), parts, wire);
        call.answer(work).await
    }

    async fn controller_expand_volume(
        &self,
        request: Request<v1::ControllerExpandVolumeRequest>,
    ) -> Result<Response<v1::ControllerExpandVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::ControllerExpandVolume, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let work = changing::expand(&self.shared, call.visit(), parts, wire);
        call.answer(work).await
    }

    async fn validate_volume_capabilities(
        &self,
        request: Request<v1::ValidateVolumeCapabilitiesRequest>,
    ) -> Result<Response<v1::ValidateVolumeCapabilitiesResponse>, Status> {
        let (call, parts) = self.begin(Rpc::ValidateVolumeCapabilities, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let work = asking::validate(&self.shared, call.visit(), parts, wire);
        call.answer(work).await
    }

    async fn list_volumes(
        &self,
        request: Request<v1::ListVolumesRequest>,
    ) -> Result<Response<v1::ListVolumesResponse>, Status> {
        let (call, parts) = self.begin(Rpc::ListVolumes, &request)?;
        let work = asking::list(&self.shared, call.visit(), parts, request.into_inner());
        call.answer(work).await
    }

    async fn get_capacity(
        &self,
        request: Request<v1::GetCapacityRequest>,
    ) -> Result<Response<v1::GetCapacityResponse>, Status> {
        let (call, parts) = self.begin(Rpc::GetCapacity, &request)?;
        let work = asking::capacity(&self.shared, call.visit(), parts, request.into_inner());
        call.answer(work).await
    }

    async fn controller_get_capabilities(
        &self,
        request: Request<v1::ControllerGetCapabilitiesRequest>,
    ) -> Result<Response<v1::ControllerGetCapabilitiesResponse>, Status> {
        let (call, parts) = self.begin(Rpc::ControllerGetCapabilities, &request)?;
        let can_list = listing::is_offered(&parts.clusters.snapshot());
        call.answer(async { Ok(reply::capabilities(can_list)) })
            .await
    }

    async fn controller_get_volume(
        &self,
        request: Request<v1::ControllerGetVolumeRequest>,
    ) -> Result<Response<v1::ControllerGetVolumeResponse>, Status> {
        let (call, parts) = self.begin(Rpc::ControllerGetVolume, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let work = asking::get(&self.shared, call.visit(), parts, wire);
        call.answer(work).await
    }

    async fn controller_get_volume_health(
        &self,
        request: Request<v1::ControllerGetVolumeHealthRequest>,
    ) -> Result<Response<v1::ControllerGetVolumeHealthResponse>, Status> {
        let (call, parts) = self.begin(Rpc::ControllerGetVolumeHealth, &request)?;
        let wire = request.into_inner();
        call.about("volume.handle", &wire.volume_id);
        let work = asking::health(&self.shared, call.visit(), parts, wire);
        call.answer(work).await
    }

    async fn controller_list_volume_health(
        &self,
        _request: Request<v1::ControllerListVolumeHealthRequest>,
    ) -> Result<Response<v1::ControllerListVolumeHealthResponse>, Status> {
        Err(unserved(LIST_HEALTH))
    }

    async fn controller_publish_volume(
        &self,
        _request: Request<v1::ControllerPublishVolumeRequest>,
    ) -> Result<Response<v1::ControllerPublishVolumeResponse>, Status> {
        Err(unserved(PUBLISH))
    }

    async fn controller_unpublish_volume(
        &self,
        _request: Request<v1::ControllerUnpublishVolumeRequest>,
    ) -> Result<Response<v1::ControllerUnpublishVolumeResponse>, Status> {
        Err(unserved(PUBLISH))
    }

    async fn controller_modify_volume(
        &self,
        _request: Request<v1::ControllerModifyVolumeRequest>,
    ) -> Result<Response<v1::ControllerModifyVolumeResponse>, Status> {
        Err(unserved(MODIFY))
    }

    async fn create_snapshot(
        &self,
        request: Request<v1::CreateSnapshotRequest>,
    ) -> Result<Response<v1::CreateSnapshotResponse>, Status> {
        let (call, parts) = self.begin(Rpc::CreateSnapshot, &request)?;
        let wire = request.into_inner();
        call.about("snapshot.name", &wire.name);
        call.about("volume.handle", &wire.source_volume_id);
        let work = snapshots::create(&self.shared, call.visit(), parts, wire);
        call.answer(work).await
    }

    async fn delete_snapshot(
        &self,
        request: Request<v1::DeleteSnapshotRequest>,
    ) -> Result<Response<v1::DeleteSnapshotResponse>, Status> {
        let (call, parts) = self.begin(Rpc::DeleteSnapshot, &request)?;
        let wire = request.into_inner();
        call.about("snapshot.handle", &wire.snapshot_id);
        let work = snapshots::delete(&self.shared, call.visit(), parts, wire);
        call.answer(work).await
    }

    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsResponse>, Status> {
        let (call, parts) = self.begin(Rpc::ListSnapshots, &request)?;
        let work = snapshots::list(&self.shared, call.visit(), parts, request.into_inner());
        call.answer(work).await
    }

    async fn get_snapshot(
        &self,
        request: Request<v1::GetSnapshotRequest>,
    ) -> Result<Response<v1::GetSnapshotResponse>, Status> {
        let (call, parts) = self.begin(Rpc::GetSnapshot, &request)?;
        let wire = request.into_inner();
        call.about("snapshot.handle", &wire.snapshot_id);
        let work = snapshots::get(&self.shared, call.visit(), parts, wire);
        call.answer(work).await
    }
}
