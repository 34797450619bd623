//! What is slow is not taken for dead: it is neither taken down nor mounted over.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use cuttle_door::job::{Guard, JobContext, Progress, enter};
use cuttle_host::AbsolutePath;
use cuttle_model::{Class, Explain, Left, Secret, UserId, chain};
use cuttle_node::rbd::{StageVolume, VolumeStats};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::field::{Field, Stranger, id, publish_request, unpublish_request, unstage_request};
use crate::refusals::{disk, host, told};

pub(crate) fn within(seconds: u64) -> Guard {
    enter(JobContext {
        request_id: "test".to_owned(),
        deadline: Some(Instant::now() + Duration::from_secs(seconds)),
        progress: Progress::new(),
    })
}

/// A process that is stopped until this is dropped, or for a minute and a half: a stopped export
/// would keep whatever closes its file for ever.
struct Stopped {
    process: Pid,
    _watchdog: Stranger,
}

impl Stopped {
    fn new(process: Pid) -> Self {
        let pid = process.as_raw_nonzero();
        let words = ["sh", "-c", "sleep 90; kill -CONT \"$0\"", &pid.to_string()];
        let watchdog = Stranger::start(&words);
        kill_process(process, Signal::STOP).unwrap();
        Self {
            process,
            _watchdog: watchdog,
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _sent = kill_process(self.process, Signal::CONT);
    }
}

/// The mounts of this test: ids and places.
fn mounts(field: &Field) -> Vec<(u32, std::path::PathBuf)> {
    let table = host().mount_table().unwrap();
    let below = table.below(field.path());
    below
        .map(|mount| (mount.id, mount.mount_point.clone()))
        .collect()
}

fn loops(stage: &StageVolume) -> Vec<cuttle_host::LoopDevice> {
    let export = stage.staging_path.join("image-export.fuse");
    let export = AbsolutePath::try_from(export.as_path()).unwrap();
    host().find_loops(&export).unwrap()
}

#[test]
fn an_export_that_answers_late_is_left_alone() {
    let (field, stage) = disk();
    let target = field.target("pod");
    field.node().stage(&stage).unwrap();
    field
        .node()
        .publish(&publish_request(&stage, &target))
        .unwrap();
    fs::write(target.join("file"), "kept").unwrap();
    let exporter = field.exporter(&stage.staging_path);
    let (mounts_before, loops_before) = (mounts(&field), loops(&stage));
    let stopped = Stopped::new(exporter);
    {
        let _guard = within(5);
        let error = field.node().stage(&stage).unwrap_err();
        let (class, left) = (error.class(), error.left());
        let late = (Class::Late, Left::MaybeRunning);
        assert_eq!((class, left), late, "{}", chain(&error));
    }
    {
        let _guard = within(5);
        let publish = publish_request(&stage, &field.target("second"));
        let error = field.node().publish(&publish).unwrap_err();
        assert_eq!(error.class(), Class::Late, "{}", chain(&error));
    }
    {
        let _guard = within(5);
        let volume_path = stage.staging_path.join("image-export.fuse");
        let id = id("disk");
        let measured = field.node().stats(&VolumeStats { id, volume_path });
        let condition = measured.unwrap().condition;
        assert!(condition.abnormal, "{condition:?}");
        assert!(condition.message.contains("is not known"), "{condition:?}");
    }
    assert_eq!(mounts(&field), mounts_before);
    assert_eq!(loops(&stage), loops_before);
    drop(stopped);
    field.node().stage(&stage).unwrap();
    assert_eq!(field.exporter(&stage.staging_path), exporter);
    assert_eq!(fs::read_to_string(target.join("file")).unwrap(), "kept");
    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn a_device_on_which_a_mount_is_being_made_is_not_mounted_twice() {
    let (field, stage) = disk();
    let order = json!({
        "operation": "stage", "faults": "kill@1:host.mount", "within_ms": 60_000, "image": "disk",
        "staging": stage.staging_path, "target": field.target("pod"), "fs_type": "ext4",
    });
    assert_eq!(field.in_own_process(&order), None);
    let before = loops(&stage);
    // A mount claims its device before it appears in any table.
    let claim = fs::File::options()
        .read(true)
        .custom_flags(libc::O_EXCL)
        .open(before[0].path.as_path())
        .unwrap();
    let error = field.node().stage(&stage).unwrap_err();
    let (code, class, text) = told(&error);
    assert_eq!((code, class), (1574, Class::Busy), "{text}");
    assert_eq!(error.left(), Left::MaybeRunning, "{text}");
    assert!(text.contains("has not come back yet"), "{text}");
    // Nothing was taken down under it.
    assert_eq!(loops(&stage), before);
    assert!(stage.staging_path.join("image-meta.json").exists());
    drop(claim);
    field.node().stage(&stage).unwrap();
    assert_eq!(loops(&stage), before);
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&stage.staging_path);
    field.assert_clean_host();
}

#[test]
fn an_export_that_refuses_has_ended_when_the_request_has() {
    let (field, mut stage) = disk();
    // It may look at the image, but not open it for writing.
    let name = field.namespace.clone();
    let caps = ["mon", "profile rbd", "osd", "profile rbd-read-only"];
    let entity = format!("client.{name}");
    let words = [&["auth", "get-or-create", &entity][..], &caps].concat();
    field.cluster.json(&words).unwrap();
    let key = field.cluster.json(&["auth", "get-key", &entity]).unwrap();
    stage.credentials.user = UserId::new(name).unwrap();
    stage.credentials.key = Secret::new(key["key"].as_str().unwrap().to_owned());
    let error = field.node().stage(&stage).unwrap_err();
    let residue = field.residue();
    let (code, class, text) = told(&error);
    assert_eq!((code, class), (1514, Class::Denied), "{text}");
    assert_eq!(residue, "", "{text}");
    field.assert_empty(&stage.staging_path);
    field.cluster.json(&["auth", "rm", &entity]).unwrap();
}
