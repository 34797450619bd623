//! The Identity service: name, version, what is offered, readiness.

use std::sync::Arc;

use cuttle_csi::v1;
use cuttle_csi::v1::identity_server::Identity;
use cuttle_csi::v1::plugin_capability::{
    Service, Type, VolumeExpansion, service, volume_expansion,
};
use cuttle_model::DriverName;
use tonic::{Request, Response, Status};

use crate::readiness::Readiness;
use crate::rim::{Call, Shared};
use crate::rpc::Rpc;

/// Serves Identity for one driver.
#[derive(Debug)]
pub(crate) struct IdentityService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) driver: DriverName,
    pub(crate) version: String,
    pub(crate) readiness: Readiness,
    /// Whether volumes may be bound to a part of the cluster. CephFS has no such volumes, and a
    /// provisioner that is told otherwise waits for topology keys that no node has.
    pub(crate) has_topology: bool,
}

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn get_plugin_info(
        &self,
        request: Request<v1::GetPluginInfoRequest>,
    ) -> Result<Response<v1::GetPluginInfoResponse>, Status> {
        let call = Call::begin(&self.shared, Rpc::GetPluginInfo, request.metadata());
        let info = v1::GetPluginInfoResponse {
            name: self.driver.to_string(),
            vendor_version: self.version.clone(),
            ..v1::GetPluginInfoResponse::default()
        };
        call.answer(async { Ok(info) }).await
    }

    /// The same answer from controller and node processes: sidecars of both ask it.
    async fn get_plugin_capabilities(
        &self,
        request: Request<v1::GetPluginCapabilitiesRequest>,
    ) -> Result<Response<v1::GetPluginCapabilitiesResponse>, Status> {
        let call = Call::begin(&self.shared, Rpc::GetPluginCapabilities, request.metadata());
        let service = |kind: service::Type| {
            Type::Service(Service {
                r#type: kind.into(),
            })
        };
        let topology = self
            .has_topology
            .then(|| service(service::Type::VolumeAccessibilityConstraints));
        let offered = [
            service(service::Type::ControllerService),
            Type::VolumeExpansion(VolumeExpansion {
                r#type: volume_expansion::Type::Online.into(),
            }),
        ];
        let capabilities = offered
            .into_iter()
            .chain(topology)
            .map(|kind| v1::PluginCapability { r#type: Some(kind) })
            .collect();
        call.answer(async { Ok(v1::GetPluginCapabilitiesResponse { capabilities }) })
            .await
    }

    /// Ready once every part of the process has started, and until it shuts down. No cluster is
    /// asked: a liveness probe must not restart a driver because Ceph is away.
    async fn probe(
        &self,
        request: Request<v1::ProbeRequest>,
    ) -> Result<Response<v1::ProbeResponse>, Status> {
        let call = Call::begin(&self.shared, Rpc::Probe, request.metadata());
        let ready = self.readiness.is_ready() && !self.shared.dispatcher.is_draining();
        if !ready {
            tracing::debug!(waiting_for = ?self.readiness.waiting_for(), "not ready");
        }
        call.answer(async { Ok(v1::ProbeResponse { ready: Some(ready) }) })
            .await
    }
}
