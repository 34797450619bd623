//! A double of kubelet's plugin watcher: it looks for sockets in its directory and speaks the
//! registration protocol with what it finds, as kubelet does.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cuttle_csi::pluginregistration::registration_client::RegistrationClient;
use cuttle_csi::pluginregistration::{InfoRequest, PluginInfo, RegistrationStatus};
use cuttle_csi::v1::node_client::NodeClient;
use cuttle_csi::v1::{NodeGetInfoRequest, NodeGetInfoResponse};
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};

use crate::program::{runtime, wait};

/// What kubelet makes of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    Refuse,
}

/// A registration that has been gone through.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) info: PluginInfo,
    /// What the driver itself says of its node; only of one that was taken.
    pub(crate) node: Option<NodeGetInfoResponse>,
}

/// What kubelet remembers of the sockets in its directory.
pub(crate) struct Kubelet {
    directory: PathBuf,
    runtime: Runtime,
    /// Each socket that was dealt with, with the time of its making: a socket that was made again
    /// is another one.
    known: BTreeMap<PathBuf, (u64, SystemTime)>,
}

impl Kubelet {
    pub(crate) fn new(directory: PathBuf) -> Self {
        std::fs::create_dir(&directory).unwrap();
        Self {
            directory,
            runtime: runtime(),
            known: BTreeMap::new(),
        }
    }

    /// Forgets everything, as a restart does: all sockets are new.
    pub(crate) fn restart(&mut self) {
        self.known.clear();
    }

    /// Makes the directory anew, as some installers do.
    pub(crate) fn make_the_directory_again(&mut self) {
        cuttle_testbed::remove_tree(&self.directory).unwrap();
        std::fs::create_dir(&self.directory).unwrap();
    }

    /// Waits for a new socket and registers the plugin behind it.
    pub(crate) fn register(&mut self, verdict: Verdict) -> Registered {
        let socket = wait("a new socket appears", || {
            self.new_socket().ok_or_else(|| "none".to_owned())
        });
        self.runtime.block_on(converse(&socket, verdict))
    }

    /// Whether a new socket appears within this time.
    pub(crate) fn sees_a_new_socket_within(&mut self, time: Duration) -> bool {
        let seen = || self.new_socket().map(drop).ok_or_else(|| "none".to_owned());
        cuttle_testbed::until("a new socket", time, seen).is_ok()
    }

    fn new_socket(&mut self) -> Option<PathBuf> {
        for entry in std::fs::read_dir(&self.directory).unwrap() {
            let path = entry.unwrap().path();
            let Ok(found) = std::fs::symlink_metadata(&path) else {
                continue;
            };
            let version = (found.ino(), found.modified().unwrap());
            if found.file_type().is_socket() && self.known.get(&path) != Some(&version) {
                self.known.insert(path.clone(), version);
                return Some(path);
            }
        }
        None
    }
}

async fn channel(socket: &Path) -> Channel {
    let endpoint = Endpoint::try_from(format!("unix://{}", socket.display())).unwrap();
    endpoint.connect().await.unwrap()
}

async fn converse(socket: &Path, verdict: Verdict) -> Registered {
    let mut client = RegistrationClient::new(channel(socket).await);
    let info = client.get_info(InfoRequest {}).await.unwrap().into_inner();
    let taken = verdict == Verdict::Take;
    let node = if taken {
        let mut driver = NodeClient::new(channel(Path::new(&info.endpoint)).await);
        let asked = driver.node_get_info(NodeGetInfoRequest::default()).await;
        Some(asked.unwrap().into_inner())
    } else {
        None
    };
    let status = RegistrationStatus {
        plugin_registered: taken,
        error: if taken { "" } else { "not on this node" }.to_owned(),
    };
    client.notify_registration_status(status).await.unwrap();
    Registered { info, node }
}
