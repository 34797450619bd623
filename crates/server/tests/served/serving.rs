//! A served driver and the way to it.

use std::path::Path;
use std::time::Duration;

use ceph::{Clusters, ConnectOptions};
use cuttle_door::{Doors, FaultPlan};
use cuttle_host::Host;
use cuttle_model::{ClusterId, ClusterSettings, ClusterTable, DriverName, Monitors, NodeId};
use cuttle_node::rbd::RbdNode;
use cuttle_node::{ExportProgram, NodeSettings};
use cuttle_server::dispatch::{DispatchOptions, Dispatcher};
use cuttle_server::{
    ClusterDirectory, ControllerParts, DriverServices, NodeParts, RbdControllerParts, RbdNodeParts,
    Readiness, ServeOptions, serve,
};
use cuttle_volumes::ControllerSettings;
use cuttle_volumes::rbd::RbdController;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::requests::map;

/// What is served.
pub(crate) struct Setup {
    pub(crate) table: ClusterTable,
    pub(crate) faults: FaultPlan,
    pub(crate) connect: ConnectOptions,
    services: bool,
}

impl Setup {
    /// These clusters.
    pub(crate) fn new(clusters: impl IntoIterator<Item = ClusterSettings>) -> Self {
        Self {
            table: ClusterTable::new(clusters),
            faults: FaultPlan::none(),
            connect: ConnectOptions::default(),
            services: true,
        }
    }

    /// Clusters of these names, behind a port where nobody listens.
    pub(crate) fn unreachable(names: &[&str]) -> Self {
        let monitors = || Monitors::new(vec!["v2:127.0.0.1:1".to_owned()]).unwrap();
        let mut setup = Self::new(
            names
                .iter()
                .map(|name| ClusterSettings::new(ClusterId::new(*name).unwrap(), monitors())),
        );
        setup.connect.connect_timeout = Duration::from_secs(1);
        setup
    }

    /// Identity alone.
    pub(crate) fn without_services(mut self) -> Self {
        self.services = false;
        self
    }

    pub(crate) fn with_faults(mut self, plan: &str) -> Self {
        self.faults = FaultPlan::parse(plan).unwrap();
        self
    }
}

/// A driver that is being served.
pub(crate) struct Served {
    pub(crate) channel: Channel,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) readiness: Readiness,
    uri: String,
    stop: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<usize>,
    _directory: tempfile::TempDir,
}

impl Served {
    pub(crate) async fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("csi.sock");
        let readiness = Readiness::new();
        let driver = driver(&socket, readiness.clone(), setup);
        let dispatcher = Dispatcher::new(DispatchOptions::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let options = ServeOptions {
            figures: cuttle_server::CallFigures::default(),
            drivers: vec![driver],
            dispatcher: dispatcher.clone(),
            drain: Duration::from_secs(2),
        };
        let server = tokio::spawn(async move {
            let stopped = async {
                let _stop = stopped.await;
            };
            serve(options, stopped).await.unwrap()
        });
        let uri = format!("unix://{}", socket.display());
        let channel = connect(&uri).await;
        Self {
            channel,
            dispatcher,
            readiness,
            uri,
            stop,
            server,
            _directory: directory,
        }
    }

    /// One more connection.
    pub(crate) async fn connect(&self) -> Channel {
        connect(&self.uri).await
    }

    /// Stops serving; answers the number of jobs that were still running.
    pub(crate) async fn end(self) -> usize {
        drop(self.channel);
        self.stop.send(()).unwrap();
        self.server.await.unwrap()
    }
}

async fn connect(uri: &str) -> Channel {
    let endpoint = Endpoint::from_shared(uri.to_owned()).unwrap();
    endpoint.connect().await.unwrap()
}

fn driver(socket: &Path, readiness: Readiness, setup: Setup) -> DriverServices {
    let doors = Doors::new(setup.faults);
    let clusters = Clusters::new(doors.ceph.clone(), setup.connect);
    let directory = ClusterDirectory::new(setup.table);
    let controller = setup.services.then(|| RbdControllerParts {
        controller: RbdController::new(clusters.clone(), ControllerSettings::default()),
        clusters: directory.clone(),
    });
    let program = ExportProgram {
        path: "/bin/false".into(),
        arguments: Vec::new(),
    };
    let node = setup.services.then(|| RbdNodeParts {
        node: RbdNode::new(Host::new(doors.host), clusters, NodeSettings::new(program)),
        clusters: directory,
        id: NodeId::new("node-1").unwrap(),
        topology: map(&[("topology.rbd.csi.ceph.com/zone", "a")]),
    });
    DriverServices {
        name: DriverName::new("rbd.csi.ceph.com").unwrap(),
        version: "v1.2.3".to_owned(),
        listener: UnixListener::bind(socket).unwrap(),
        readiness,
        controller: controller.map(ControllerParts::Rbd),
        node: node.map(|parts| NodeParts::Rbd(Box::new(parts))),
    }
}

#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    result: Result<T, Status>,
    code: Code,
    parts: &[&str],
) {
    let status = result.unwrap_err();
    assert_eq!(status.code(), code, "{}", status.message());
    for part in parts {
        assert!(
            status.message().contains(part),
            "\"{part}\" not in: {}",
            status.message()
        );
    }
}
