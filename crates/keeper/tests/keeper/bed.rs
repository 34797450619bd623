//! Where the tests play: a subvolume of the shared cluster, a directory for posts, staging and
//! targets, and the proof that nothing is left of either.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cuttle_door::{Doors, FaultPlan};
use cuttle_host::{AbsolutePath, BindMount, DeviceNumber, Host, MountOptions, Program};
use cuttle_keeper::{Answer, Contact, Order, Phase, Post, Question, Status};
use cuttle_model::Secret;
use cuttle_testbed::{Cluster, host_residue, shared_cluster, until};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const VOLUME: &str = "a volume/with any name";

/// One test's part of the cluster and the machine.
pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    pub(crate) host: Host,
    subvolume: String,
    root: String,
    dir: TempDir,
    program: PathBuf,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let cluster = shared_cluster();
        let subvolume = format!("keeper-{}", uuid::Uuid::new_v4().simple());
        cluster
            .json(&["fs", "subvolume", "create", "cephfs", &subvolume])
            .unwrap();
        let told = cluster.program("ceph");
        let root = told
            .args(["fs", "subvolume", "getpath", "cephfs", &subvolume])
            .ok()
            .unwrap()
            .text()
            .trim()
            .to_owned();
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for name in ["posts", "staging"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        // Below the directory, so that its processes are known for this test's.
        let program = dir.path().join("keeper");
        let built = Path::new(env!("CARGO_BIN_EXE_cuttle-keeper"));
        std::fs::hard_link(built, &program)
            .or_else(|_| std::fs::copy(built, &program).map(drop))
            .unwrap();
        Self {
            cluster,
            host: Host::new(Doors::new(FaultPlan::none()).host),
            subvolume,
            root,
            dir,
            program,
        }
    }

    pub(crate) fn path(&self, name: &str) -> AbsolutePath {
        AbsolutePath::new(self.dir.path().join(name)).unwrap()
    }

    pub(crate) fn staging(&self) -> AbsolutePath {
        self.path("staging")
    }

    pub(crate) fn post(&self) -> Post {
        Post::of(&self.path("posts"), VOLUME, &self.staging()).unwrap()
    }

    pub(crate) fn order(&self) -> Order {
        let words = [
            &self.staging().to_string(),
            "-f",
            "-m",
            &self.cluster.monitors(),
            "-c",
            "/dev/null",
            "-n",
            "client.admin",
            "--keyfile=/proc/self/fd/0",
            "-r",
            &self.root,
            "-o",
            "nonempty",
            "--client_mds_namespace=cephfs",
        ];
        Order {
            volume: VOLUME.to_owned(),
            directory: self.path("posts"),
            mountpoint: self.staging(),
            source: "a test".to_owned(),
            program: "ceph-fuse".to_owned(),
            arguments: words.iter().map(|&word| word.to_owned()).collect(),
            key: Secret::new(self.cluster.admin_key()),
            network: None,
            start_within_ms: 60_000,
            look_every_ms: 500,
            unit: self.post().unit(),
            heals: Vec::new(),
            ender: None,
            dead_session: None,
            adopted: None,
            json_log: true,
            faults: String::new(),
        }
    }

    /// Starts a keeper with this order; nobody has waited for its answer yet.
    pub(crate) fn send(&self, order: &Order) -> Contact {
        let post = self.post();
        let listener = post.listen(&self.host).unwrap();
        let mut contact = post.reach(PATIENCE).unwrap().unwrap();
        let log = self.path("log");
        self.host
            .spawn_serving(
                "test.keeper",
                &Program::new(&self.program),
                listener,
                Some(&log),
            )
            .unwrap();
        contact.send(order).unwrap();
        contact
    }

    /// Starts a keeper and waits until it serves.
    pub(crate) fn serve(&self) -> Status {
        match self.send(&self.order()).answer().unwrap() {
            Answer::Status(status) => *status,
            Answer::Refused(refused) => panic!("{refused:?}"),
        }
    }

    pub(crate) fn reach(&self) -> Option<Contact> {
        self.post().reach(PATIENCE).unwrap()
    }

    pub(crate) fn status(&self) -> Status {
        self.reach().unwrap().ask(Question::Status).unwrap()
    }

    /// Waits until the keeper says that it has mounted anew that often, and covered everything.
    pub(crate) fn until_healed(&self, times: u32) -> Status {
        let mut last = None;
        until("the mount is healed", PATIENCE, || {
            let status = self.status();
            let is_healed =
                status.healed == times && status.phase == Phase::Serving && status.dead.is_empty();
            last = Some(status.clone());
            if is_healed {
                Ok(())
            } else {
                Err(format!("{status:?}"))
            }
        })
        .unwrap();
        last.unwrap()
    }

    /// Publishes the staged mount.
    pub(crate) fn publish(&self, name: &str, flags: &[&str]) -> AbsolutePath {
        let target = self.path(name);
        std::fs::create_dir(&target).unwrap();
        self.host
            .bind(&BindMount {
                source: &self.staging(),
                seen: None,
                target: &target,
                options: &MountOptions::parse(flags).unwrap(),
            })
            .unwrap();
        target
    }

    pub(crate) fn device_at(&self, path: &AbsolutePath) -> Option<DeviceNumber> {
        let table = self.host.mount_table().unwrap();
        table.at(path).map(|mount| mount.device)
    }

    /// Unmounts everything and waits for the keeper's end.
    pub(crate) fn take_down(&self, targets: &[&AbsolutePath]) {
        let mut contact = self.reach().unwrap();
        contact.ask(Question::Hold).unwrap();
        for path in targets {
            self.host.unmount(path).unwrap();
        }
        self.host.unmount(&self.staging()).unwrap();
        assert!(contact.wait_end(PATIENCE).unwrap(), "the keeper stays");
        self.assert_clean();
    }

    /// Fails unless no mount, process, post or file with a key is left.
    pub(crate) fn assert_clean(&self) {
        let key = self.cluster.admin_key();
        until("nothing is left", PATIENCE, || {
            let residue = host_residue(&[self.dir.path()], &[&key]);
            let posts = std::fs::read_dir(self.path("posts")).unwrap().count();
            if residue.is_empty() && posts == 0 {
                Ok(())
            } else {
                Err(format!("{posts} files of posts\n{residue}"))
            }
        })
        .unwrap();
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // What a failed test has left must not outlive it.
        let deadline = Instant::now() + Duration::from_secs(10);
        for residue in host_residue(&[self.dir.path()], &[]).processes {
            if let Some(pid) = rustix::process::Pid::from_raw(residue.pid) {
                let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        while Instant::now() < deadline {
            let mounts = host_residue(&[self.dir.path()], &[]).mounts;
            let Some(mount) = mounts.last() else { break };
            let _gone = self
                .host
                .unmount_lazily(&AbsolutePath::new(&mount.target).unwrap());
        }
        let words = [
            "fs",
            "subvolume",
            "rm",
            "cephfs",
            &self.subvolume,
            "--force",
        ];
        let _removed = self.cluster.json(&words);
    }
}

impl Bed {
    /// Kills ceph-fuse, and has the MDS end its session at once, as the driver's program does.
    pub(crate) fn kill_client(&self, status: &Status) {
        let client = status.client.unwrap();
        let session = self.session(client.pid);
        self.host.kill_process(client.into()).unwrap();
        self.evict(session);
    }

    pub(crate) fn evict(&self, session: i64) {
        let id = format!("id={session}");
        self.cluster
            .json(&["tell", "mds.0", "client", "evict", &id])
            .unwrap();
    }

    /// The number of the MDS's session with the client in this process.
    pub(crate) fn session(&self, pid: u32) -> i64 {
        let pid = pid.to_string();
        let mut found = None;
        until("the MDS knows the client", PATIENCE, || {
            let sessions = self
                .cluster
                .json(&["tell", "mds.0", "client", "ls"])
                .map_err(|error| error.to_string())?;
            let list = sessions.as_array().cloned().unwrap_or_default();
            let of_pid = |session: &&serde_json::Value| {
                let told = session.pointer("/client_metadata/pid");
                told.and_then(serde_json::Value::as_str) == Some(&pid)
            };
            let session = list.iter().find(of_pid);
            found = session.and_then(|session| session["id"].as_i64());
            found
                .map(drop)
                .ok_or_else(|| format!("{} sessions", list.len()))
        })
        .unwrap();
        found.unwrap()
    }
}
