//! Kubelet's registration of plugins: the service that kubelet asks who is there.
//!
//! ```text
//!  kubelet sees a socket in the directory it watches
//!     ├─ GetInfo ──────────────────▶ kind, name, the driver's own socket, its versions
//!     ├─ asks the driver itself (NodeGetInfo) and writes the CSINode object
//!     └─ NotifyRegistrationStatus ─▶ taken, or why not
//! ```
//!
//! Where the socket is, and making it anew, is the caller's.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use cuttle_csi::pluginregistration::registration_server::{Registration, RegistrationServer};
use cuttle_csi::pluginregistration::{
    InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse,
};
use cuttle_model::DriverName;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// The kind of plugin by which kubelet knows CSI drivers.
const KIND: &str = "CSIPlugin";

/// The version of CSI as kubelet compares it: the same since CSI 1.0.
const VERSION: &str = "1.0.0";

/// Who kubelet finds.
#[derive(Debug, Clone)]
pub struct Plugin {
    name: DriverName,
    endpoint: String,
    standing: Standing,
}

/// What kubelet has said about a driver so far. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    said: Arc<Mutex<Said>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    Taken,
    Refused,
}

impl Standing {
    /// Whether kubelet has taken the driver, by its latest word.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        *self.said() == Said::Taken
    }

    /// Whether kubelet's latest word was that it does not take the driver. Forgotten when asked.
    #[must_use]
    pub fn take_refusal(&self) -> bool {
        let mut said = self.said();
        let refused = *said == Said::Refused;
        if refused {
            *said = Said::Nothing;
        }
        refused
    }

    /// The socket that kubelet knew is gone, and with it what kubelet said.
    pub fn forget(&self) {
        *self.said() = Said::Nothing;
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plugin {
    /// A driver whose own socket is at `endpoint`, a path as kubelet sees it.
    #[must_use]
    pub fn new(name: DriverName, endpoint: impl Into<String>, standing: Standing) -> Self {
        Self {
            name,
            endpoint: endpoint.into(),
            standing,
        }
    }
}

/// Serves the registration on a socket until `end` is done.
///
/// # Errors
/// When the server fails by itself.
pub async fn serve_registration(
    plugin: Plugin,
    listener: UnixListener,
    end: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .add_service(RegistrationServer::new(plugin))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), end)
        .await
}

#[tonic::async_trait]
impl Registration for Plugin {
    async fn get_info(
        &self,
        _request: Request<InfoRequest>,
    ) -> Result<Response<PluginInfo>, Status> {
        tracing::debug!(driver = %self.name, "kubelet asks who is there");
        Ok(Response::new(PluginInfo {
            r#type: KIND.to_owned(),
            name: self.name.to_string(),
            endpoint: self.endpoint.clone(),
            supported_versions: vec![VERSION.to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        request: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = request.into_inner();
        if status.plugin_registered {
            tracing::info!(driver = %self.name, "kubelet has registered the driver");
            *self.standing.said() = Said::Taken;
        } else {
            let error = cuttle_model::names::shorten(&status.error);
            tracing::error!(driver = %self.name, error, "kubelet does not register the driver");
            *self.standing.said() = Said::Refused;
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
