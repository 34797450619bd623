//! What the services are made of: the doors, the connections and the host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ceph::{Clusters, ConnectOptions};
use cuttle_door::{Doors, Ledger};
use cuttle_host::{AbsolutePath, Host, PathRefused};
use cuttle_image_export::LogSettings as ExportLog;
use cuttle_model::{Explain, chain};
use cuttle_node::cephfs::{CephfsNode, CephfsNodeSettings, FsPatience, OwnProgram};
use cuttle_node::rbd::RbdNode;
use cuttle_node::{ExportProgram, NodeSettings};
use cuttle_server::{
    CephfsControllerParts, CephfsNodeParts, ClusterDirectory, ControllerParts, NodeParts,
    RbdControllerParts, RbdNodeParts,
};
use cuttle_volumes::ControllerSettings;
use cuttle_volumes::cephfs::CephfsController;
use cuttle_volumes::rbd::RbdController;
use tracing::level_filters::LevelFilter;

use crate::settings::{DriverKind, DriverSettings, LogFormat, LogSettings, Settings};

/// A user's own settings for Ceph's libraries, read when present.
const CEPH_CONF: &str = "/etc/ceph/ceph.conf";

/// The small program that keeps a mount of ceph-fuse, beside this one.
const KEEPER: &str = "cuttle-keeper";

/// The directory of the keepers, beside the driver's socket.
const MOUNT_INFO: &str = "mountinfo";

/// Longest wait for a connection, within the limit for all calls.
const CONNECT: Duration = Duration::from_secs(15);

/// Shared by all drivers of the process.
#[derive(Debug)]
pub(super) struct Parts {
    ceph: Clusters,
    host: Host,
    clusters: ClusterDirectory,
    node: NodeSettings,
    outside: Ledger,
}

impl Parts {
    /// Makes the doors and what stands behind them; nothing is connected yet.
    pub(super) fn new(settings: &Settings, clusters: ClusterDirectory, program: &Path) -> Self {
        let doors = Doors::new(settings.faults.clone());
        let export = ExportProgram {
            path: program.to_owned(),
            arguments: vec!["image-export".to_owned()],
        };
        let node = NodeSettings {
            export_log: export_log(settings.log),
            ceph_conf: ceph_conf(),
            ..NodeSettings::new(export)
        };
        Self {
            outside: doors.ledger(),
            ceph: Clusters::new(doors.ceph, connect_options(settings.ceph_timeout)),
            host: Host::new(doors.host),
            clusters,
            node,
        }
    }

    /// The figures of all calls to Ceph and to the host.
    pub(super) fn outside(&self) -> Ledger {
        self.outside.clone()
    }

    /// The controller of a driver.
    pub(super) fn controller(&self, driver: &DriverSettings) -> ControllerParts {
        let settings = ControllerSettings {
            instance: driver.instance.clone(),
            set_metadata: driver.set_metadata,
            cluster_name: driver.cluster_name.clone(),
            clone_limits: driver.clone_limits,
            ..ControllerSettings::default()
        };
        let (ceph, clusters) = (self.ceph.clone(), self.clusters.clone());
        match driver.kind {
            DriverKind::Rbd => ControllerParts::Rbd(RbdControllerParts {
                controller: RbdController::new(ceph, settings),
                clusters,
            }),
            DriverKind::Cephfs => ControllerParts::Cephfs(CephfsControllerParts {
                controller: CephfsController::new(ceph, settings),
                clusters,
            }),
        }
    }

    /// The node of a driver.
    ///
    /// # Errors
    /// When its socket's directory cannot be one for the keepers of CephFS mounts.
    pub(super) fn node(&self, driver: &DriverSettings) -> Result<NodeParts, PathRefused> {
        let (host, ceph, clusters) = (self.host.clone(), self.ceph.clone(), self.clusters.clone());
        let id = driver.node.clone();
        Ok(match driver.kind {
            DriverKind::Rbd => NodeParts::Rbd(Box::new(RbdNodeParts {
                node: RbdNode::new(host, ceph, self.node.clone()),
                clusters,
                id,
                topology: std::collections::BTreeMap::new(),
            })),
            DriverKind::Cephfs => {
                let node = CephfsNode::new(host, ceph, self.cephfs_node(driver)?);
                if let Err(error) = node.take_stock() {
                    let (code, error) = (error.code(), chain(&error));
                    tracing::warn!(%code, error, "the mounts of ceph-fuse are not looked through");
                }
                NodeParts::Cephfs(CephfsNodeParts { node, clusters, id })
            }
        })
    }

    fn cephfs_node(&self, driver: &DriverSettings) -> Result<CephfsNodeSettings, PathRefused> {
        let own = &self.node.export_program.path;
        let own_as = |word: &str| OwnProgram {
            path: own.clone(),
            arguments: vec![word.to_owned()],
        };
        // The small program needs a tenth of the memory, for each volume.
        let small = own.with_file_name(KEEPER);
        let keeper = if small.is_file() {
            OwnProgram {
                path: small,
                arguments: Vec::new(),
            }
        } else {
            own_as("keeper")
        };
        // Where ceph-csi keeps its records, too: /csi/mountinfo in its manifests.
        let beside = driver.socket.parent();
        let beside = beside.unwrap_or_else(|| Path::new("/"));
        let directory = AbsolutePath::try_from(beside.join(MOUNT_INFO).as_path())?;
        Ok(CephfsNodeSettings {
            keeper,
            ender: Some(own_as("end-session")),
            directory,
            ceph_conf: self.node.ceph_conf.clone(),
            json_log: self.node.export_log.json,
            fuse_mount_options: driver.fuse_mount_options.clone(),
            patience: FsPatience::default(),
        })
    }
}

fn connect_options(timeout: Duration) -> ConnectOptions {
    ConnectOptions {
        operation_timeout: timeout,
        monitor_timeout: timeout,
        connect_timeout: CONNECT.min(timeout),
        ceph_conf: ceph_conf(),
        ..ConnectOptions::default()
    }
}

/// The host's Ceph configuration, if it has one.
fn ceph_conf() -> Option<PathBuf> {
    let conf = Path::new(CEPH_CONF);
    conf.exists().then(|| conf.to_owned())
}

/// Exports outlive the process and log where it logs.
fn export_log(log: LogSettings) -> ExportLog {
    let libraries = log.level.min(LevelFilter::WARN);
    ExportLog {
        file: None,
        json: log.format == LogFormat::Json,
        level: format!("{libraries},cuttle={0},ceph={0}", log.level),
    }
}
