//! Where the tests play: a namespace of the shared cluster, a directory for staging and targets,
//! and the proof that nothing is left of either.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ceph::{Clusters, ConnectOptions};
use cuttle_door::{Doors, FaultPlan};
use cuttle_host::Host;
use cuttle_model::{
    Access, AccessMode, AttachParameters, ClusterId, ClusterSettings, Credentials, FsType,
    ImageName, Monitors, Mounter, PoolName, RadosNamespace, Secret, StaticImage, UserId,
    VolumeCapability,
};
use cuttle_node::rbd::{
    PublishVolume, RbdNode, StageVolume, UnpublishVolume, UnstageVolume, Volume,
};
use cuttle_node::{ExportProgram, NodeSettings, Patience, VolumeId};
use cuttle_testbed::{Cluster, Program, host_residue, shared_cluster, until};
use tempfile::TempDir;

pub(crate) const POOL: &str = "rbd";

/// One test's part of the cluster and the machine.
pub(crate) struct Field {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
    dir: TempDir,
    program: PathBuf,
}

impl Field {
    /// A part of the shared cluster.
    pub(crate) fn new() -> Self {
        Self::on(shared_cluster())
    }

    /// A part of this cluster.
    pub(crate) fn on(cluster: Cluster) -> Self {
        let namespace = format!("node-{}", uuid::Uuid::new_v4().simple());
        cluster.namespace(POOL, &namespace).unwrap();
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        // Below the directory, so that its processes are known for this test's.
        let program = dir.path().join("node");
        let built = Path::new(env!("CARGO_BIN_EXE_cuttle-node-for-tests"));
        std::fs::hard_link(built, &program)
            .or_else(|_| std::fs::copy(built, &program).map(drop))
            .unwrap();
        Self {
            cluster,
            namespace,
            dir,
            program,
        }
    }

    /// Makes an image of that many MiB.
    pub(crate) fn image(&self, name: &str, mib: u64) {
        let size = format!("{mib}M");
        self.cluster
            .rbd(&["create", "--size", &size, &self.spec(name)])
            .unwrap();
    }

    /// Makes an image of 32 MiB with these features, separated by commas.
    pub(crate) fn image_with(&self, name: &str, features: &str) {
        let words = ["create", "--size", "32M", "--image-feature", features];
        let spec = self.spec(name);
        self.cluster.rbd(&[&words[..], &[&spec]].concat()).unwrap();
    }

    pub(crate) fn spec(&self, image: &str) -> String {
        format!("{POOL}/{}/{image}", self.namespace)
    }

    /// The directory of everything.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// An existing directory for staging.
    pub(crate) fn staging(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A path where nothing is yet.
    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.dir.path().join("targets").join(name)
    }

    /// A node as after a start of the plugin; it knows nothing of those before.
    pub(crate) fn node(&self) -> RbdNode {
        self.node_with("").0
    }

    /// A node whose doors have faults; the ledger tells how many calls were made.
    pub(crate) fn node_with(&self, faults: &str) -> (RbdNode, Doors) {
        self.node_of(faults, Duration::from_millis(500))
    }

    /// A node that waits this long for other users of an image.
    pub(crate) fn patient_node(&self, in_use: Duration) -> RbdNode {
        self.node_of("", in_use).0
    }

    fn node_of(&self, faults: &str, in_use: Duration) -> (RbdNode, Doors) {
        let plan = match faults {
            "" => FaultPlan::none(),
            faults => faults.parse().unwrap(),
        };
        let doors = Doors::new(plan);
        let mut settings = NodeSettings::new(ExportProgram {
            path: self.program.clone(),
            arguments: vec!["image-export".to_owned()],
        });
        settings.patience = Patience {
            in_use,
            ..Patience::default()
        };
        let options = ConnectOptions {
            operation_timeout: Duration::from_secs(8),
            ..ConnectOptions::default()
        };
        let clusters = Clusters::new(doors.ceph.clone(), options);
        (
            RbdNode::new(Host::new(doors.host.clone()), clusters, settings),
            doors,
        )
    }

    pub(crate) fn settings(&self) -> Arc<ClusterSettings> {
        let monitors = Monitors::new(vec![self.cluster.monitors()]).unwrap();
        let mut settings = ClusterSettings::new(ClusterId::new("test").unwrap(), monitors);
        settings.rbd.namespace = RadosNamespace::new(self.namespace.clone()).unwrap();
        Arc::new(settings)
    }

    pub(crate) fn stage_request(&self, image: &str, staging: &Path, access: Access) -> StageVolume {
        StageVolume {
            id: id(image),
            volume: Volume::Static(StaticImage {
                cluster: ClusterId::new("test").unwrap(),
                pool: PoolName::new(POOL).unwrap(),
                image: ImageName::new(image).unwrap(),
            }),
            cluster: self.settings(),
            credentials: Credentials {
                user: UserId::new("admin").unwrap(),
                key: Secret::new(self.cluster.admin_key()),
            },
            staging_path: staging.to_owned(),
            capability: writable(access),
            parameters: AttachParameters {
                mounter: Mounter::Fuse,
                ..AttachParameters::default()
            },
        }
    }

    /// Runs an operation in a process of its own; `None` when a fault has killed it.
    pub(crate) fn in_own_process(&self, order: &serde_json::Value) -> Option<serde_json::Value> {
        let mut order = order.clone();
        order["monitors"] = self.cluster.monitors().into();
        order["key"] = self.cluster.admin_key().into();
        order["namespace"] = self.namespace.clone().into();
        let output = Program::new(&self.program)
            .input(order.to_string())
            .limit(Duration::from_secs(60))
            .run()
            .unwrap();
        match output.text().trim() {
            "" => None,
            text => Some(serde_json::from_str(text).unwrap()),
        }
    }

    /// Fails unless the machine holds nothing of this test: no mount, loop device, process or file
    /// with a key. Processes have a moment to end.
    pub(crate) fn assert_clean_host(&self) {
        let key = self.cluster.admin_key();
        until(
            "nothing is left on the host",
            Duration::from_secs(30),
            || {
                let residue = host_residue(&[self.dir.path()], &[&key]);
                if residue.is_empty() {
                    Ok(())
                } else {
                    Err(residue.to_string())
                }
            },
        )
        .unwrap();
    }

    /// What the machine holds of this test now.
    pub(crate) fn residue(&self) -> String {
        host_residue(&[self.dir.path()], &[]).to_string()
    }

    /// The export process of what is staged there.
    pub(crate) fn exporter(&self, staging: &Path) -> rustix::process::Pid {
        let stash = std::fs::read(staging.join("image-meta.json")).unwrap();
        let stash: serde_json::Value = serde_json::from_slice(&stash).unwrap();
        let pid = stash["cuttle"]["exporter"]["pid"].as_i64().unwrap();
        rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }

    /// Fails unless the staging directory is as empty as it was.
    pub(crate) fn assert_empty(&self, staging: &Path) {
        let names: Vec<_> = std::fs::read_dir(staging)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(names.is_empty(), "{}: {names:?}", staging.display());
    }

    /// Fails unless nobody has the image open.
    pub(crate) fn assert_unwatched(&self, image: &str) {
        until("nobody watches the image", Duration::from_secs(30), || {
            let status = self.cluster.rbd(&["status", &self.spec(image)]).unwrap();
            if status.contains("Watchers: none") {
                Ok(())
            } else {
                Err(status)
            }
        })
        .unwrap();
    }
}

impl Drop for Field {
    fn drop(&mut self) {
        let names = self
            .cluster
            .rbd(&["ls", "--pool", POOL, "--namespace", &self.namespace]);
        for name in names.unwrap_or_default().lines() {
            let _removed = self.cluster.rbd(&["rm", "--no-progress", &self.spec(name)]);
        }
    }
}

/// A process that is not the driver's; killed when dropped.
pub(crate) struct Stranger(pub(crate) std::process::Child);

impl Stranger {
    #[expect(clippy::disallowed_methods, reason = "a stranger's process")]
    pub(crate) fn start(words: &[&str]) -> Self {
        let child = std::process::Command::new(words[0])
            .args(&words[1..])
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
        Self(child.unwrap())
    }

    /// Starts a shell that does this and stays.
    pub(crate) fn shell(script: &str) -> Self {
        Self::start(&["sh", "-c", &format!("{script}; exec sleep 600")])
    }

    /// The same, with a copy of all mounts of its own.
    pub(crate) fn with_own_mounts(script: &str) -> Self {
        let script = format!("{script}; exec sleep 600");
        let words = ["unshare", "--mount", "--propagation", "private"];
        Self::start(&[&words[..], &["sh", "-c", &script]].concat())
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Waits until it sleeps, having done what it was started for.
    pub(crate) fn settle(&self) {
        let comm = format!("/proc/{}/comm", self.0.id());
        until(
            "the stranger sleeps",
            Duration::from_secs(30),
            || match std::fs::read_to_string(&comm).unwrap_or_default() {
                name if name.trim() == "sleep" => Ok(()),
                name => Err(name),
            },
        )
        .unwrap();
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

pub(crate) fn id(text: &str) -> VolumeId {
    VolumeId::new(text).unwrap()
}

pub(crate) fn writable(access: Access) -> VolumeCapability {
    let mode = AccessMode::SingleNodeWriter;
    VolumeCapability { access, mode }
}

pub(crate) fn filesystem(kind: &str) -> Access {
    Access::Filesystem {
        fs_type: Some(FsType::new(kind).unwrap()),
        mount_flags: Vec::new(),
    }
}

pub(crate) fn publish_request(stage: &StageVolume, target: &Path) -> PublishVolume {
    PublishVolume {
        id: stage.id.clone(),
        staging_path: stage.staging_path.clone(),
        target_path: target.to_owned(),
        capability: stage.capability.clone(),
        read_only: false,
    }
}

pub(crate) fn unpublish_request(stage: &StageVolume, target: &Path) -> UnpublishVolume {
    UnpublishVolume {
        id: stage.id.clone(),
        target_path: target.to_owned(),
    }
}

pub(crate) fn unstage_request(stage: &StageVolume) -> UnstageVolume {
    UnstageVolume {
        id: stage.id.clone(),
        staging_path: stage.staging_path.clone(),
    }
}
