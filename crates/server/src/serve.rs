//! Serves the drivers of a process on their sockets until told to stop, then lets work end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cuttle_csi::v1::controller_server::ControllerServer;
use cuttle_csi::v1::group_controller_server::GroupControllerServer;
use cuttle_csi::v1::identity_server::IdentityServer;
use cuttle_csi::v1::node_server::NodeServer;
use cuttle_csi::v1::snapshot_metadata_server::SnapshotMetadataServer;
use cuttle_model::DriverName;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_stream::{Stream, StreamExt, wrappers::UnixListenerStream};
use tonic::service::Routes;
use tonic::transport::Server;

use crate::dispatch::Dispatcher;
use crate::figures::CallFigures;
use crate::readiness::Readiness;
use crate::rim::{Meter, RequestIds, Shared};
use crate::services::{
    CephfsControllerParts, CephfsControllerService, CephfsNodeParts, CephfsNodeService,
    ControllerService, IdentityService, NodeService, RbdControllerParts, RbdNodeParts, Unserved,
};

/// Largest request in bytes: room for hostile ones to be answered rather than cut off.
const LARGEST_REQUEST: usize = 4 * 1024 * 1024;

/// Requests at once on one connection; further ones wait.
const MOST_STREAMS: u32 = 1024;

/// One driver: its name, its socket and what it serves there.
#[derive(Debug)]
pub struct DriverServices {
    /// The CSI name.
    pub name: DriverName,
    /// The version told to callers.
    pub version: String,
    /// The bound socket; the caller has seen to its path and mode.
    pub listener: UnixListener,
    /// Readiness told by Probe.
    pub readiness: Readiness,
    /// Controller operations; absent on nodes.
    pub controller: Option<ControllerParts>,
    /// Node operations; absent on controllers.
    pub node: Option<NodeParts>,
}

/// The controller operations of one kind of volumes.
#[derive(Debug)]
pub enum ControllerParts {
    /// RBD.
    Rbd(RbdControllerParts),
    /// CephFS.
    Cephfs(CephfsControllerParts),
}

/// The node operations of one kind of volumes.
#[derive(Debug)]
pub enum NodeParts {
    /// RBD.
    Rbd(Box<RbdNodeParts>),
    /// CephFS.
    Cephfs(CephfsNodeParts),
}

/// Everything that is served by one process.
#[derive(Debug)]
pub struct ServeOptions {
    /// The drivers, each on its socket.
    pub drivers: Vec<DriverServices>,
    /// Runs the work of all of them.
    pub dispatcher: Dispatcher,
    /// Where their calls are counted.
    pub figures: CallFigures,
    /// How long running work may take to end at shutdown.
    pub drain: Duration,
}

/// A server that could not go on.
#[derive(Debug, thiserror::Error)]
#[error("the gRPC server on a socket failed")]
pub struct ServeError {
    #[source]
    source: tonic::transport::Error,
}

/// Serves until `shutdown` is done; then takes no more requests, gives up those that have not
/// begun, waits for the running ones and answers their callers.
///
/// Answers the number of jobs that were still running after [`ServeOptions::drain`].
///
/// # Errors
/// When a server fails by itself.
pub async fn serve(
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<usize, ServeError> {
    let ServeOptions {
        drivers,
        dispatcher,
        figures,
        drain,
    } = options;
    let ids = Arc::new(RequestIds::new());
    let (stop, stopped) = watch::channel(false);
    let mut servers = tokio::task::JoinSet::new();
    for driver in drivers {
        let shared = Arc::new(Shared {
            ids: Arc::clone(&ids),
            dispatcher: dispatcher.clone(),
            meter: Meter {
                driver: driver.name.as_str().into(),
                figures: figures.clone(),
            },
        });
        servers.spawn(serve_driver(driver, shared, stopped.clone()));
    }
    let mut shutdown = std::pin::pin!(shutdown);
    let early = tokio::select! {
        () = &mut shutdown => None,
        ended = servers.join_next() => ended,
    };
    tracing::info!(jobs = dispatcher.open_jobs(), "shutting down");
    stop.send_replace(true);
    let left = dispatcher.drain(drain).await;
    // The outcomes are there; callers get them before the connections close.
    let answered = tokio::time::timeout(Duration::from_secs(5), async {
        while servers.join_next().await.is_some() {}
    });
    if answered.await.is_err() {
        tracing::debug!("connections were still open at the end");
    }
    match early {
        Some(Ok(Err(source))) => Err(ServeError { source }),
        Some(Ok(Ok(())) | Err(_)) | None => Ok(left),
    }
}

async fn serve_driver(
    driver: DriverServices,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let has_topology = !is_cephfs(&driver);
    let identity = IdentityService {
        shared: Arc::clone(&shared),
        driver: driver.name,
        version: driver.version,
        readiness: driver.readiness,
        has_topology,
    };
    let routes =
        Routes::new(IdentityServer::new(identity).max_decoding_message_size(LARGEST_REQUEST));
    let routes = add_controller(routes, Arc::clone(&shared), driver.controller);
    let routes = add_node(routes, shared, driver.node)
        .add_service(GroupControllerServer::new(Unserved))
        .add_service(SnapshotMetadataServer::new(Unserved))
        .prepare();
    Server::builder()
        .max_concurrent_streams(MOST_STREAMS)
        .add_routes(routes)
        .serve_with_incoming_shutdown(connections(driver.listener), async move {
            // An error means that the sender is gone, which is a stop as well.
            let _stop = stopped.wait_for(|stopped| *stopped).await;
        })
        .await
}

fn add_controller(routes: Routes, shared: Arc<Shared>, parts: Option<ControllerParts>) -> Routes {
    let rbd = match parts {
        Some(ControllerParts::Cephfs(parts)) => {
            let service = CephfsControllerService::new(shared, parts);
            let server = ControllerServer::new(service);
            return routes.add_service(server.max_decoding_message_size(LARGEST_REQUEST));
        }
        Some(ControllerParts::Rbd(parts)) => Some(parts),
        None => None,
    };
    let server = ControllerServer::new(ControllerService::new(shared, rbd));
    routes.add_service(server.max_decoding_message_size(LARGEST_REQUEST))
}

fn add_node(routes: Routes, shared: Arc<Shared>, parts: Option<NodeParts>) -> Routes {
    let rbd = match parts {
        Some(NodeParts::Cephfs(parts)) => {
            let server = NodeServer::new(CephfsNodeService::new(shared, parts));
            return routes.add_service(server.max_decoding_message_size(LARGEST_REQUEST));
        }
        Some(NodeParts::Rbd(parts)) => Some(*parts),
        None => None,
    };
    let server = NodeServer::new(NodeService::new(shared, rbd));
    routes.add_service(server.max_decoding_message_size(LARGEST_REQUEST))
}

/// File systems are reached from everywhere.
fn is_cephfs(driver: &DriverServices) -> bool {
    matches!(driver.controller, Some(ControllerParts::Cephfs(_)))
        || matches!(driver.node, Some(NodeParts::Cephfs(_)))
}

/// Accepted connections. A failed accept is told and waited out, so that a process without free
/// descriptors neither spins nor stops serving.
fn connections(
    listener: UnixListener,
) -> impl Stream<Item = Result<UnixStream, std::io::Error>> + Send {
    UnixListenerStream::new(listener)
        .then(|accepted| async move {
            if let Err(error) = &accepted {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            accepted
        })
        .filter(Result::is_ok)
}
