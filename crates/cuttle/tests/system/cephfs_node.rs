//! CephFS volumes on a node through the real binary, mounted by ceph-fuse.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cuttle_csi::v1;
use cuttle_testbed::{host_residue, until};
use tonic::Code;

use crate::calls::{
    Client, MIB, block_capability, mount_capability, publish_request, stats_request, text,
    unpublish_request, unstage_request,
};
use crate::cephfs::FsWorld;
use crate::world::Running;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// More calls than any operation on a node makes.
const CALLS_BOUND: u32 = 80;

/// A driver on a node, a volume, and where it is staged.
struct NodeWorld {
    fs: FsWorld,
    on: Running,
    volume: v1::Volume,
    staging: PathBuf,
}

impl NodeWorld {
    fn new(bytes: i64) -> Self {
        Self::of(FsWorld::new(), bytes)
    }

    fn of(fs: FsWorld, bytes: i64) -> Self {
        let on = fs.start_node("driver", &[]);
        let volume = on.client.create(fs.create_request("pvc-1", bytes)).unwrap();
        let staging = fs.world.make_dir("staging");
        Self {
            fs,
            on,
            volume,
            staging,
        }
    }

    fn stage_request(&self) -> v1::NodeStageVolumeRequest {
        v1::NodeStageVolumeRequest {
            secrets: self.fs.secrets(),
            ..self
                .fs
                .world
                .stage_request(&self.volume, &self.staging, mount_capability(""))
        }
    }

    fn stage(&self) {
        self.on
            .client
            .node_stage_volume(self.stage_request())
            .unwrap();
    }

    fn publish_request(&self, name: &str) -> v1::NodePublishVolumeRequest {
        let target = self.fs.world.path(name);
        publish_request(&self.volume, &self.staging, &target, mount_capability(""))
    }

    fn publish(&self, name: &str) -> PathBuf {
        let request = self.publish_request(name);
        self.on.client.node_publish_volume(request).unwrap();
        self.fs.world.path(name)
    }

    fn stats(&self, path: &Path) -> v1::NodeGetVolumeStatsResponse {
        let request = stats_request(&self.volume.volume_id, path, &self.staging);
        self.on.client.node_get_volume_stats(request).unwrap()
    }

    fn is_abnormal(&self, path: &Path) -> Option<String> {
        let condition = self.stats(path).volume_condition.unwrap();
        condition.abnormal.then_some(condition.message)
    }

    /// What the one keeper tells in its file.
    fn status(&self) -> serde_json::Value {
        let dir = self.fs.world.path("mountinfo");
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "json") {
                found.push(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
            }
        }
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    fn client_pid(&self) -> rustix::process::Pid {
        let pid = self.status()["client"]["pid"].as_i64().unwrap();
        rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
    }

    /// The number of the MDS's session with ceph-fuse.
    fn session(&self) -> i64 {
        let pid = self.client_pid().as_raw_nonzero().to_string();
        let cluster = &self.fs.world.cluster;
        let list = ["tell", "mds.0", "client", "ls"];
        let sessions = cluster.json(&list).unwrap();
        let of_pid = |session: &&serde_json::Value| session["client_metadata"]["pid"] == *pid;
        let found = sessions.as_array().unwrap().iter().find(of_pid);
        found.expect("a session of ceph-fuse")["id"]
            .as_i64()
            .unwrap()
    }

    fn unpublish_by(&self, client: &Client, target: &Path) {
        let request = unpublish_request(&self.volume.volume_id, target);
        client.node_unpublish_volume(request).unwrap();
        assert!(!target.exists(), "{}", target.display());
    }

    fn unstage_by(&self, client: &Client) {
        let request = unstage_request(&self.volume.volume_id, &self.staging);
        client.node_unstage_volume(request).unwrap();
    }

    /// Nothing but these drivers is on the host, and the key is nowhere.
    fn assert_host_clean(&self, alive: &[&Running], when: &str) {
        let posts = self.fs.world.path("mountinfo");
        until(format!("nothing left on the host {when}"), PATIENCE, || {
            let mut residue = host_residue(&[self.fs.world.root()], &[&self.fs.key]);
            residue
                .processes
                .retain(|process| alive.iter().all(|one| one.driver.pid() != process.pid));
            let files = std::fs::read_dir(&posts).map_or(0, Iterator::count);
            if residue.is_empty() && files == 0 {
                Ok(())
            } else {
                Err(format!("{residue}{files} files of keepers"))
            }
        })
        .unwrap();
    }

    fn finish(self) {
        self.fs.delete(&self.on.client, &self.volume.volume_id);
        self.fs.assert_exactly("at the end", &[]);
        self.assert_host_clean(&[&self.on], "at the end");
        let log = std::fs::read_to_string(self.on.driver.log_path()).unwrap();
        assert!(!log.contains(&self.fs.key), "the log has the key");
    }
}

/// Writes a megabyte at a time until it is refused; answers the errno and how much was written.
fn write_until_refused(file: &mut File, most: i64) -> (Option<i32>, i64) {
    let chunk = vec![b'x'; 1 << 20];
    let mut written = 0;
    while written < most {
        match file.write_all(&chunk).and_then(|()| file.sync_data()) {
            Ok(()) => written += MIB,
            Err(error) => return (error.raw_os_error(), written),
        }
    }
    (None, written)
}

const EDQUOT: i32 = 122;

#[test]
fn a_volume_s_life_on_a_node_and_its_quota() {
    let node = NodeWorld::new(20 * MIB);
    node.stage();
    node.stage();
    let target = node.publish("target");
    node.publish("target");
    let reader = node.fs.world.path("reader");
    let read_only = v1::NodePublishVolumeRequest {
        readonly: true,
        ..node.publish_request("reader")
    };
    node.on.client.node_publish_volume(read_only).unwrap();

    let usage = node.stats(&target).usage;
    assert_eq!((usage.len(), usage[0].total), (1, 20 * MIB), "{usage:?}");
    let mut file = File::create(target.join("file")).unwrap();
    let (errno, written) = write_until_refused(&mut file, 64 * MIB);
    assert_eq!(errno, Some(EDQUOT), "after {written} bytes");
    assert!(written <= 20 * MIB, "{written} bytes went past the quota");

    let expand = v1::ControllerExpandVolumeRequest {
        volume_id: node.volume.volume_id.clone(),
        capacity_range: Some(v1::CapacityRange {
            required_bytes: 40 * MIB,
            limit_bytes: 0,
        }),
        secrets: node.fs.secrets(),
        volume_capability: None,
    };
    let expanded = node.on.client.controller_expand_volume(expand).unwrap();
    assert!(!expanded.node_expansion_required);
    until("the client knows the new quota", PATIENCE, || {
        let usage = node.stats(&target).usage;
        match usage[0].total == 40 * MIB {
            true => Ok(()),
            false => Err(format!("{usage:?}")),
        }
    })
    .unwrap();
    let (errno, more) = write_until_refused(&mut file, 10 * MIB);
    assert_eq!((errno, more), (None, 10 * MIB));
    drop(file);

    let seen = std::fs::metadata(reader.join("file")).unwrap().len();
    assert_eq!(i64::try_from(seen).unwrap(), written + more);
    let refused = File::create(reader.join("other")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(30), "not EROFS: {refused}");

    // Nothing is taken down under a pod.
    let early = unstage_request(&node.volume.volume_id, &node.staging);
    let early = node.on.client.node_unstage_volume(early).unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "{early}");
    for path in [&target, &reader] {
        node.unpublish_by(&node.on.client, path);
        node.unpublish_by(&node.on.client, path);
    }
    node.unstage_by(&node.on.client);
    node.unstage_by(&node.on.client);
    node.finish();
}

#[test]
fn writing_goes_on_while_the_plugin_is_killed() {
    let mut node = NodeWorld::new(64 * MIB);
    node.stage();
    let target = node.publish("target");
    let (stop, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let fresh = std::thread::scope(|scope| {
        let path = target.join("file");
        let writer = scope.spawn(|| {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            while !stop.load(Ordering::Relaxed) {
                file.write_all(b"a line of text\n")?;
                file.sync_data()?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            std::io::Result::Ok(())
        });
        let writes_more = |what: &str| {
            let before = count.load(Ordering::Relaxed);
            until(what.to_owned(), PATIENCE, || {
                match count.load(Ordering::Relaxed) > before + 5 {
                    true => Ok(()),
                    false => Err("no more lines".to_owned()),
                }
            })
        };
        writes_more("lines are written").unwrap();
        node.on.driver.kill().unwrap();
        let without = writes_more("lines are written without the plugin");
        let fresh = node.fs.start_node("fresh", &[]);
        let with = writes_more("lines are written beside the new plugin");
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap().unwrap();
        without.and(with).unwrap();
        fresh
    });
    let text = std::fs::read_to_string(target.join("file")).unwrap();
    assert_eq!(
        text.lines().count(),
        usize::try_from(count.into_inner()).unwrap()
    );
    node.on = fresh;
    // The new plugin finds what the old one has made.
    node.stage();
    assert_eq!(node.is_abnormal(&target), None);
    node.unpublish_by(&node.on.client, &target);
    node.unstage_by(&node.on.client);
    node.finish();
}

#[test]
fn a_killed_ceph_fuse_is_told_and_replaced_at_every_place() {
    let node = NodeWorld::new(64 * MIB);
    node.stage();
    let targets = [node.publish("one"), node.publish("two")];
    std::fs::write(targets[0].join("file"), "before").unwrap();
    assert_eq!(node.is_abnormal(&targets[1]), None);
    let killed = node.client_pid();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    until("ceph-fuse is mounted anew", PATIENCE, || {
        let status = node.status();
        let is_new = status["phase"] == "serving" && status["healed"] == 1;
        match is_new && status["dead"].is_null() {
            true => Ok(()),
            false => Err(status.to_string()),
        }
    })
    .unwrap();
    for path in targets.iter().chain([&node.staging]) {
        assert_eq!(node.is_abnormal(path), None, "{}", path.display());
        assert_eq!(
            std::fs::read_to_string(path.join("file")).unwrap(),
            "before"
        );
    }
    std::fs::write(targets[1].join("file"), "after").unwrap();
    assert_eq!(
        std::fs::read_to_string(targets[0].join("file")).unwrap(),
        "after"
    );
    for target in &targets {
        node.unpublish_by(&node.on.client, target);
    }
    node.unstage_by(&node.on.client);
    node.finish();
}

#[test]
fn a_dead_volume_is_abnormal_and_can_be_taken_down() {
    let node = NodeWorld::new(64 * MIB);
    node.stage();
    let target = node.publish("target");
    // Without its user nobody can mount it anew.
    let entity = format!("client.fs-{}", node.fs.group);
    node.fs
        .world
        .cluster
        .json(&["auth", "rm", &entity])
        .unwrap();
    // Nor can anybody but the administrator have its session ended, for which others would wait.
    let session = format!("id={}", node.session());
    rustix::process::kill_process(node.client_pid(), rustix::process::Signal::KILL).unwrap();
    let evict = ["tell", "mds.0", "client", "evict", &session];
    node.fs.world.cluster.json(&evict).unwrap();
    until(
        "the volume is told to be abnormal",
        PATIENCE,
        || match node.is_abnormal(&target) {
            Some(why) if why.contains("cannot be started anew") => Ok(()),
            other => Err(format!("{other:?}")),
        },
    )
    .unwrap();
    let refused = node
        .on
        .client
        .node_publish_volume(node.publish_request("other"));
    let refused = refused.unwrap_err();
    assert!(
        refused.message().contains("CUTTLE-1565") || refused.message().contains("CUTTLE-1580"),
        "{refused}"
    );
    node.unpublish_by(&node.on.client, &target);
    node.unstage_by(&node.on.client);
    node.assert_host_clean(&[&node.on], "after a dead volume was taken down");
}

#[test]
fn static_volumes_and_those_with_monitors_are_mounted_as_the_user() {
    let node = NodeWorld::new(20 * MIB);
    let root = node.volume.volume_context["subvolumePath"].clone();
    let admin = node.fs.secrets();
    let user: BTreeMap<String, String> = [("userID", "adminID"), ("userKey", "adminKey")]
        .map(|(user, key)| (user.to_owned(), admin[key].clone()))
        .into();
    let cluster = node.fs.world.cluster_id.clone();
    let monitors = node.fs.world.cluster.monitors();
    let map = |entries: &[(&str, &str)]| -> BTreeMap<String, String> {
        let text = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        entries.iter().map(text).collect()
    };
    let mut with_monitors = user.clone();
    with_monitors.insert("monitors".to_owned(), monitors);
    let fixed = map(&[
        ("staticVolume", "true"),
        ("clusterID", &cluster),
        ("fsName", "cephfs"),
        ("rootPath", &root),
    ]);
    let old = map(&[("provisionVolume", "false"), ("rootPath", &root)]);
    for (id, context, secrets) in [
        ("static/with a slash", fixed, user),
        ("with-monitors", old, with_monitors),
    ] {
        let volume = v1::Volume {
            volume_id: id.to_owned(),
            volume_context: context,
            ..v1::Volume::default()
        };
        let staging = node.fs.world.make_dir(&format!("s-{}", id.len()));
        let request = v1::NodeStageVolumeRequest {
            secrets,
            ..node
                .fs
                .world
                .stage_request(&volume, &staging, mount_capability(""))
        };
        node.on.client.node_stage_volume(request).unwrap();
        let target = node.fs.world.path(&format!("t-{}", id.len()));
        let request = publish_request(&volume, &staging, &target, mount_capability(""));
        node.on.client.node_publish_volume(request).unwrap();
        std::fs::write(target.join("file"), id).unwrap();
        let request = unpublish_request(id, &target);
        node.on.client.node_unpublish_volume(request).unwrap();
        let request = unstage_request(id, &staging);
        node.on.client.node_unstage_volume(request).unwrap();
    }
    node.finish();
}

#[test]
fn what_cannot_be_mounted_is_refused_with_the_reason() {
    let node = NodeWorld::new(20 * MIB);
    let refused = |change: &dyn Fn(&mut v1::NodeStageVolumeRequest), parts: &[&str]| {
        let mut request = node.stage_request();
        change(&mut request);
        let status = node.on.client.node_stage_volume(request).unwrap_err();
        for part in parts {
            assert!(status.message().contains(part), "{part}: {status}");
        }
        assert!(!status.message().contains("NotTheKey"), "{status}");
        status.code()
    };
    let invalid = refused(
        &|request| {
            request.secrets.clear();
            request.volume_capability = Some(block_capability());
            request.staging_target_path = "relative".to_owned();
        },
        &["adminID", "adminKey", "block", "staging_target_path"],
    );
    assert_eq!(invalid, Code::InvalidArgument);
    refused(
        &|request| {
            let key = "AQDNotTheKeyNotTheKeyNotTheKeyNotTheKey==".to_owned();
            request.secrets.insert("adminKey".to_owned(), key);
        },
        &["fs-"],
    );
    let snapshot = refused(
        &|request| {
            let context = &mut request.volume_context;
            context.insert("backingSnapshotID".to_owned(), "snap".to_owned());
        },
        &["snapshot", "CUTTLE-1539"],
    );
    assert_eq!(snapshot, Code::FailedPrecondition);
    let option = refused(
        &|request| {
            let context = &mut request.volume_context;
            context.insert("fuseMountOptions".to_owned(), "name=admin".to_owned());
        },
        &["CUTTLE-1544", "name"],
    );
    assert_eq!(option, Code::InvalidArgument);
    let absent = refused(
        &|request| {
            let end = request.volume_id.len() - 12;
            request.volume_id.replace_range(end.., "000000000000");
        },
        &["CUTTLE-1536"],
    );
    assert_eq!(absent, Code::NotFound);
    let missing = refused(
        &|request| request.staging_target_path = text(&node.fs.world.path("absent")),
        &["CUTTLE-1561"],
    );
    assert_eq!(missing, Code::InvalidArgument);
    let early = node
        .on
        .client
        .node_publish_volume(node.publish_request("target"));
    assert_eq!(early.unwrap_err().code(), Code::FailedPrecondition);
    assert!(!node.fs.world.path("target").exists());
    // What is no volume is not taken down.
    for path in ["/proc", "/dev"] {
        let request = unpublish_request(&node.volume.volume_id, Path::new(path));
        let status = node.on.client.node_unpublish_volume(request).unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{path}: {status}");
    }
    node.finish();
}

#[test]
fn a_plugin_killed_at_any_call_leaves_what_a_repeat_finishes() {
    let node = NodeWorld::new(20 * MIB);
    let mut call = 1;
    while call < CALLS_BOUND {
        let fault = format!("--inject-fault=kill@{call}");
        let mut doomed = node.fs.start_node("doomed", &[&fault]);
        let staged = doomed.client.node_stage_volume(node.stage_request());
        let published = staged.and_then(|_| {
            doomed
                .client
                .node_publish_volume(node.publish_request("target"))
        });
        let unpublished = published.and_then(|_| {
            let target = node.fs.world.path("target");
            let request = unpublish_request(&node.volume.volume_id, &target);
            doomed.client.node_unpublish_volume(request)
        });
        let unstaged = unpublished.and_then(|_| {
            let request = unstage_request(&node.volume.volume_id, &node.staging);
            doomed.client.node_unstage_volume(request)
        });
        let was_killed = doomed.was_killed(&unstaged);
        node.stage();
        let target = node.publish("target");
        std::fs::write(target.join("file"), "x").unwrap();
        node.unpublish_by(&node.on.client, &target);
        node.unstage_by(&node.on.client);
        node.assert_host_clean(&[&node.on, &doomed], &format!("killed at call {call}"));
        if !was_killed {
            assert!(call > 15, "only {call} calls could be killed");
            drop(doomed);
            node.finish();
            return;
        }
        call += 1;
    }
    panic!("still killed at call {CALLS_BOUND}");
}
