//! Services that the driver does not offer (yet): each call says so in plain words.

use cuttle_csi::v1;
use cuttle_csi::v1::group_controller_server::GroupController;
use cuttle_csi::v1::snapshot_metadata_server::SnapshotMetadata;
use tonic::{Request, Response, Status};

/// The status of a call that is not offered: what is missing, and what to do.
pub(crate) fn unserved(text: &str) -> Status {
    Status::unimplemented(format!("{text} [CUTTLE-1034]"))
}

/// Answers every call of GroupController and SnapshotMetadata.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unserved;

const GROUPS: &str = "group snapshots are not supported; take a snapshot of each volume";
const BLOCK_LISTS: &str = "lists of changed blocks are not supported";

#[tonic::async_trait]
impl GroupController for Unserved {
    async fn group_controller_get_capabilities(
        &self,
        _request: Request<v1::GroupControllerGetCapabilitiesRequest>,
    ) -> Result<Response<v1::GroupControllerGetCapabilitiesResponse>, Status> {
        Err(unserved(GROUPS))
    }

    async fn create_volume_group_snapshot(
        &self,
        _request: Request<v1::CreateVolumeGroupSnapshotRequest>,
    ) -> Result<Response<v1::CreateVolumeGroupSnapshotResponse>, Status> {
        Err(unserved(GROUPS))
    }

    async fn delete_volume_group_snapshot(
        &self,
        _request: Request<v1::DeleteVolumeGroupSnapshotRequest>,
    ) -> Result<Response<v1::DeleteVolumeGroupSnapshotResponse>, Status> {
        Err(unserved(GROUPS))
    }

    async fn get_volume_group_snapshot(
        &self,
        _request: Request<v1::GetVolumeGroupSnapshotRequest>,
    ) -> Result<Response<v1::GetVolumeGroupSnapshotResponse>, Status> {
        Err(unserved(GROUPS))
    }
}

#[tonic::async_trait]
impl SnapshotMetadata for Unserved {
    type GetMetadataAllocatedStream =
        tokio_stream::Empty<Result<v1::GetMetadataAllocatedResponse, Status>>;
    type GetMetadataDeltaStream = tokio_stream::Empty<Result<v1::GetMetadataDeltaResponse, Status>>;

    async fn get_metadata_allocated(
        &self,
        _request: Request<v1::GetMetadataAllocatedRequest>,
    ) -> Result<Response<Self::GetMetadataAllocatedStream>, Status> {
        Err(unserved(BLOCK_LISTS))
    }

    async fn get_metadata_delta(
        &self,
        _request: Request<v1::GetMetadataDeltaRequest>,
    ) -> Result<Response<Self::GetMetadataDeltaStream>, Status> {
        Err(unserved(BLOCK_LISTS))
    }
}
