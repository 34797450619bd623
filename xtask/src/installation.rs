//! A driver installed on a test cluster, as a Kubernetes cluster would have it: one controller
//! process, two node processes, users with the documented capabilities, and a `config.json`.
//!
//! ```text
//! <dir>/cluster/            Ceph (see cuttle-testbed)
//! <dir>/listing/            the Secret with which the driver lists volumes and asks for capacity
//! <dir>/work/config.json    the driver's list of clusters
//! <dir>/work/*.sock         a socket for each process
//! <dir>/work/*.log          a log for each process
//! <dir>/work/kubelet/       staging and target paths
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use cuttle_testbed::{Cluster, Driver, DriverOptions, StartOptions};
use serde_json::json;

use crate::Failure;
use crate::workload::{Secrets, Workload};

/// The name that the driver goes by.
pub(crate) const DRIVER_NAME: &str = "rbd.csi.ceph.com";

/// The name that the driver for CephFS goes by.
pub(crate) const CEPHFS_DRIVER_NAME: &str = "cephfs.csi.ceph.com";

/// The name of the Ceph user for CephFS volumes.
const CEPHFS_USER: &str = "csi-cephfs";

/// What a process of the driver serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The Controller service, as beside the sidecars.
    Controller,
    /// The Node service of the first node.
    NodeA,
    /// The Node service of the second node.
    NodeB,
}

impl Role {
    /// All roles, in the order they are started.
    pub(crate) const ALL: [Self; 3] = [Self::Controller, Self::NodeA, Self::NodeB];

    /// The name of its socket, log and node.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::NodeA => "node-a",
            Self::NodeB => "node-b",
        }
    }
}

/// Where an installation's files are.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The directory of everything.
    pub(crate) dir: PathBuf,
}

impl Places {
    /// Ceph's directory.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.dir.join("cluster")
    }

    /// The driver's directory: everything that it may write.
    pub(crate) fn work(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// The Secret for calls that carry none. Apart from what the driver may write, where no key
    /// may ever be found.
    pub(crate) fn listing(&self) -> PathBuf {
        self.dir.join("listing")
    }

    /// The socket of a process.
    pub(crate) fn socket(&self, role: Role) -> PathBuf {
        self.work().join(format!("{}.sock", role.name()))
    }

    /// The socket on which a process serves CephFS.
    pub(crate) fn cephfs_socket(&self, role: Role) -> PathBuf {
        self.work().join(format!("{}-cephfs/csi.sock", role.name()))
    }

    /// The log of a process.
    pub(crate) fn log(&self, role: Role) -> PathBuf {
        self.work().join(format!("{}.log", role.name()))
    }

    /// Where kubelet stages volumes on a node.
    pub(crate) fn staging(&self, role: Role) -> PathBuf {
        self.work()
            .join(format!("kubelet/{}/globalmount", role.name()))
    }

    /// Where kubelet wants a volume for a pod of a node.
    pub(crate) fn target(&self, role: Role) -> PathBuf {
        self.work()
            .join(format!("kubelet/{}/pod/mount", role.name()))
    }
}

/// A cluster with users, made ready for a driver.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) places: Places,
    pub(crate) cluster: Cluster,
    pub(crate) provisioner: Secrets,
    pub(crate) node: Secrets,
    pub(crate) cephfs: Secrets,
}

impl Installation {
    /// Starts a cluster below `dir`, makes the users and writes `config.json`.
    pub(crate) fn make(dir: &Path, detached: bool) -> Result<Self, Failure> {
        let places = Places {
            dir: dir.to_owned(),
        };
        let options = StartOptions {
            dir: Some(places.cluster()),
            detached,
            ..StartOptions::default()
        };
        let installation = Self::on(places, Cluster::start(&options)?)?;
        installation.write_config()?;
        Ok(installation)
    }

    /// Finds the installation below `dir`, whose cluster must run.
    pub(crate) fn find(dir: &Path) -> Result<Self, Failure> {
        let places = Places {
            dir: dir.to_owned(),
        };
        let cluster = Cluster::find(&places.cluster())?;
        Self::on(places, cluster)
    }

    fn on(places: Places, cluster: Cluster) -> Result<Self, Failure> {
        let user = |name: &str, caps: &[(&str, &str)]| -> Result<Secrets, Failure> {
            Ok(Secrets {
                user: name.to_owned(),
                key: cluster.user(name, caps)?,
            })
        };
        // As ceph-csi documents them; nothing is done as administrator.
        let rbd = "profile rbd";
        let provisioner = user(
            "csi-rbd-provisioner",
            &[("mon", rbd), ("mgr", "allow rw"), ("osd", rbd)],
        )?;
        let node = user(
            "csi-rbd-node",
            &[("mon", rbd), ("mgr", "allow rw"), ("osd", rbd)],
        )?;
        let cephfs = user(
            CEPHFS_USER,
            &[
                ("mon", "allow r fsname=cephfs"),
                ("mgr", "allow rw"),
                (
                    "osd",
                    "allow rw tag cephfs metadata=cephfs, allow rw tag cephfs data=cephfs",
                ),
                (
                    "mds",
                    "allow r fsname=cephfs path=/volumes, allow rws fsname=cephfs path=/volumes/csi",
                ),
            ],
        )?;
        Ok(Self {
            places,
            cluster,
            provisioner,
            node,
            cephfs,
        })
    }

    fn write_config(&self) -> Result<(), Failure> {
        let listing = self.places.listing();
        let key = self.cluster.user(
            "csi-rbd-listing",
            &[("mon", "profile rbd"), ("osd", "profile rbd-read-only")],
        )?;
        let config = json!([{
            "clusterID": self.cluster.fsid(),
            "monitors": [self.cluster.monitors()],
            "rbd": { "listing": { "credentialsDirectory": listing, "pools": ["rbd"] } },
            "cephFS": { "createSubvolumeGroup": true },
        }]);
        for (dir, name, content) in [
            (&listing, "userID", "csi-rbd-listing"),
            (&listing, "userKey", key.as_str()),
            (
                &self.places.work(),
                "config.json",
                config.to_string().as_str(),
            ),
        ] {
            write_private(dir, name, content)?;
        }
        Ok(())
    }

    /// How to start one process of the driver.
    pub(crate) fn options(&self, role: Role, program: &Path) -> DriverOptions {
        let work = self.places.work();
        let mut options = DriverOptions::new(program, &work)
            .name(role.name())
            .socket(self.places.socket(role))
            .arg("serve")
            .arg("--type=rbd")
            .arg(format!("--drivername={DRIVER_NAME}"))
            .arg(format!("--nodeid={}", role.name()))
            .arg(format!(
                "--endpoint=unix://{}",
                self.places.socket(role).display()
            ))
            .arg(format!("--config={}", work.join("config.json").display()))
            .arg(format!(
                "--rundir={}",
                work.join("run").join(role.name()).display()
            ));
        options = match role {
            Role::Controller => options
                .arg("--controllerserver=true")
                .arg("--setmetadata=true"),
            Role::NodeA | Role::NodeB => options.arg("--nodeserver=true"),
        };
        options.patience = Duration::from_secs(20);
        options
    }

    /// Starts one process with both drivers and waits until it serves.
    pub(crate) fn start(
        &self,
        role: Role,
        program: &Path,
        detached: bool,
    ) -> Result<Driver, Failure> {
        let (rbd, cephfs) = (self.places.socket(role), self.places.cephfs_socket(role));
        if let Some(dir) = cephfs.parent() {
            std::fs::create_dir_all(dir).map_err(|error| {
                Failure::because(format!("cannot make {}", dir.display()), &error)
            })?;
        }
        let mut options = self
            .options(role, program)
            .arg("--v=5")
            .arg("--type=rbd,cephfs")
            .arg(format!("--drivername={DRIVER_NAME},{CEPHFS_DRIVER_NAME}"))
            .arg(format!(
                "--endpoint=unix://{},unix://{}",
                rbd.display(),
                cephfs.display()
            ));
        options.detached = detached;
        Ok(Driver::start(&options)?)
    }

    /// What a StorageClass for CephFS and its secrets would give to the driver.
    pub(crate) fn cephfs_workload(&self) -> Workload {
        let mut workload = Workload::new(self.cluster.fsid(), "", self.cephfs.clone());
        let parameters = [("clusterID", self.cluster.fsid()), ("fsName", "cephfs")];
        workload.parameters = parameters
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        workload.fs_type = String::new();
        workload
    }

    /// What a StorageClass and its secrets would give to the driver.
    pub(crate) fn workload(&self) -> Workload {
        let mut workload = Workload::new(self.cluster.fsid(), "rbd", self.provisioner.clone());
        workload.node = self.node.clone();
        workload
    }
}

fn write_private(dir: &Path, name: &str, content: &str) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = dir.join(name);
    std::fs::create_dir_all(dir)
        .and_then(|()| {
            std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)
        })
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .map_err(|error| Failure::because(format!("cannot write {}", path.display()), &error))
}
