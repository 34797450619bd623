//! A test's own corner of a cluster and of the host: namespace, user, directories, drivers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cuttle_testbed::{
    Cluster, Contents, Driver, DriverOptions, Residue, host_residue, shared_cluster, until,
};
use tempfile::TempDir;

use crate::calls::Client;

/// The pool that every test cluster has.
pub(crate) const POOL: &str = "rbd";

/// How long the manager may take to empty the trash.
const TRASH_PATIENCE: Duration = Duration::from_secs(60);

/// How long a process that lost its starter may take to end.
const HOST_PATIENCE: Duration = Duration::from_secs(10);

/// A namespace, a user and directories of one test, on a cluster.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
    pub(crate) cluster_id: String,
    pub(crate) user: String,
    pub(crate) key: String,
    dir: TempDir,
}

impl World {
    /// A corner of the cluster that all tests share.
    pub(crate) fn new() -> Self {
        Self::on(shared_cluster())
    }

    /// A corner of the given cluster.
    pub(crate) fn on(cluster: Cluster) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("cuttle-")
            .tempdir()
            .expect("a directory");
        let name = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        let namespace = name.to_lowercase();
        cluster.namespace(POOL, &namespace).expect("a namespace");
        let user = format!("test-{name}");
        let here = format!("profile rbd pool={POOL} namespace={namespace}");
        let key = cluster
            .user(
                &user,
                &[("mon", "profile rbd"), ("mgr", &here), ("osd", &here)],
            )
            .expect("a user");
        let cluster_id = format!("id-{namespace}");
        let world = Self {
            cluster,
            namespace,
            cluster_id,
            user,
            key,
            dir,
        };
        world.write_config(&[world.config_entry()]);
        world
    }

    /// This world's entry of `config.json`.
    pub(crate) fn config_entry(&self) -> serde_json::Value {
        serde_json::json!({
            "clusterID": self.cluster_id,
            "monitors": [self.cluster.monitors()],
            "rbd": { "radosNamespace": self.namespace },
        })
    }

    /// Replaces `config.json`.
    pub(crate) fn write_config(&self, entries: &[serde_json::Value]) {
        let text = serde_json::to_vec_pretty(entries).unwrap();
        std::fs::write(self.config_path(), text).expect("config.json");
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.path("config.json")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A fresh staging or target directory, as kubelet would have made it.
    pub(crate) fn make_dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).expect("a directory");
        path
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a driver that serves controller and node.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_named("driver", arguments)
    }

    /// Starts a driver whose log, socket and run directory bear `name`.
    pub(crate) fn start_named(&self, name: &str, arguments: &[&str]) -> Running {
        let socket = self.path(&format!("{name}.sock"));
        let mut options = DriverOptions::new(
            env!("CARGO_BIN_EXE_cuttle"),
            self.path(&format!("of-{name}")),
        )
        .name(name)
        .socket(&socket)
        .arg("serve")
        .arg("--type=rbd")
        .arg("--drivername=rbd.csi.ceph.com")
        .arg("--nodeid=node-1")
        .arg("--controllerserver=true")
        .arg("--nodeserver=true")
        .arg(format!("--endpoint=unix://{}", socket.display()))
        .arg(format!("--config={}", self.config_path().display()))
        .arg(format!("--rundir={}", self.path("run").display()))
        .arg("--setmetadata=true")
        .arg("--clustername=test")
        .arg("--log-format=json")
        .arg("--v=5");
        for argument in arguments {
            options = options.arg(*argument);
        }
        let driver = Driver::start(&options).expect("a driver");
        let client = Client::connect(&socket);
        Running { driver, client }
    }

    /// Starts a driver that dies at its n-th outside call.
    pub(crate) fn start_doomed(&self, call: u32) -> Running {
        self.start_named("doomed", &[&format!("--inject-fault=kill@{call}")])
    }

    /// What is in the namespace now, as Ceph's own programs see it.
    pub(crate) fn contents(&self) -> Contents {
        self.cluster
            .rbd_namespace_contents(POOL, &self.namespace)
            .expect("a listing")
    }

    /// Waits until the manager has emptied the trash, then demands that Ceph holds nothing.
    pub(crate) fn assert_ceph_empty(&self, when: &str) {
        until(
            format!("nothing left in Ceph {when}"),
            TRASH_PATIENCE,
            || match self.contents().leftovers() {
                left if left.is_empty() => Ok(()),
                left => Err(format!("{left:?}")),
            },
        )
        .unwrap();
    }

    /// What is on the host of this world: mounts, loop devices, files with the key, and processes
    /// other than the given drivers.
    pub(crate) fn residue(&self, alive: &[&Running]) -> Residue {
        let mut residue = host_residue(&[self.root()], &[&self.key]);
        residue
            .processes
            .retain(|process| alive.iter().all(|one| one.driver.pid() != process.pid));
        residue
    }

    /// Demands that nothing is left on the host. An export process whose driver was killed before
    /// it was ready notices that by itself, a moment later.
    pub(crate) fn assert_host_clean(&self, alive: &[&Running], when: &str) {
        let run = self.path("run");
        until(
            format!("nothing left on the host {when}"),
            HOST_PATIENCE,
            || {
                let residue = self.residue(alive);
                let files = files_below(&run);
                if residue.is_empty() && files.is_empty() {
                    Ok(())
                } else {
                    Err(format!("{residue}files in {}: {files:?}", run.display()))
                }
            },
        )
        .unwrap();
    }

    /// The UUID that the journal holds for a request name, read by Ceph's own program.
    pub(crate) fn journal_uuid(&self, name: &str) -> Option<String> {
        let contents = self.contents();
        let keys = contents.omap_keys.get("csi.volumes.default")?;
        let key = format!("csi.volume.{name}");
        if !keys.contains(&key) {
            return None;
        }
        let file = self.path("omap-value");
        self.cluster
            .rados(&[
                "-p",
                POOL,
                "-N",
                &self.namespace,
                "getomapval",
                "csi.volumes.default",
                &key,
                file.to_str().unwrap(),
            ])
            .expect("the key's value");
        Some(std::fs::read_to_string(&file).expect("the value"))
    }

    /// The handle of the volume with this UUID, as ceph-csi writes it.
    pub(crate) fn handle_of(&self, uuid: &str) -> String {
        let pools = self.cluster.json(&["osd", "pool", "ls", "detail"]).unwrap();
        let pool = pools
            .as_array()
            .unwrap()
            .iter()
            .find(|pool| pool["pool_name"] == POOL)
            .expect("the pool");
        let number = pool["pool_id"]
            .as_u64()
            .or_else(|| pool["pool"].as_u64())
            .expect("its number");
        let id = &self.cluster_id;
        format!("0001-{:04x}-{id}-{number:016x}-{uuid}", id.len())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whatever a failing test left is taken down, innermost mounts first, so that the
        // directory can go and the machine's loop devices do not run out.
        for process in host_residue(&[self.root()], &[]).processes {
            if let Some(pid) = rustix::process::Pid::from_raw(process.pid) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
        let mut mounts = host_residue(&[self.root()], &[]).mounts;
        mounts.reverse();
        for mount in mounts {
            rustix::mount::unmount(&mount.target, rustix::mount::UnmountFlags::DETACH).ok();
        }
        for device in host_residue(&[self.root()], &[]).loop_devices {
            drop(
                cuttle_testbed::Program::new("losetup")
                    .arg("-d")
                    .arg(device)
                    .run(),
            );
        }
        let entity = format!("client.{}", self.user);
        drop(self.cluster.json(&["auth", "rm", &entity]));
    }
}

/// A driver and a connection to it.
pub(crate) struct Running {
    pub(crate) driver: Driver,
    pub(crate) client: Client,
}

impl Running {
    /// Whether the planned kill struck while the request was worked on; one that was not struck
    /// must have succeeded.
    pub(crate) fn was_killed<T>(&mut self, first: &Result<T, tonic::Status>) -> bool {
        match first {
            Ok(_) => false,
            Err(_) if self.is_dead() => true,
            Err(status) => panic!("answered without being killed: {status}"),
        }
    }

    /// Whether the planned kill has struck.
    pub(crate) fn is_dead(&mut self) -> bool {
        // The connection breaks a moment before the process can be waited for.
        self.client.is_broken() && self.driver.wait(Duration::from_secs(10)).is_ok()
    }
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}
