//! What is refused: with the right class and code, in words that help, and nothing is left behind.

use std::fs;
use std::path::Path;

use cuttle_door::{Doors, FaultPlan};
use cuttle_host::Host;
use cuttle_model::{
    Access, AccessMode, Class, ClusterId, ComposedHandle, Explain, FsType, Left, Mounter,
    ObjectUuid, Secret, chain,
};
use cuttle_node::rbd::{
    ExpandVolume, StageVolume, UnpublishVolume, UnstageVolume, Volume, VolumeStats,
};

use crate::field::{
    Field, POOL, filesystem, id, publish_request, unpublish_request, unstage_request,
};

/// The code, class and whole text of a refusal.
pub(crate) fn told(error: &dyn Explain) -> (u16, Class, String) {
    let remedy = error.remedy().unwrap_or_default();
    let text = format!("{}; {remedy}", chain(error));
    (error.code().number(), error.class(), text)
}

/// Fails unless the stage is refused so, naming `words`; then nothing may be left.
pub(crate) fn refused(field: &Field, stage: &StageVolume, code: u16, class: Class, words: &[&str]) {
    let error = field.node().stage(stage).unwrap_err();
    let (found, found_class, text) = told(&error);
    assert_eq!((found, found_class), (code, class), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text:?}");
    }
    assert!(error.undo_error().is_none(), "{text}");
    assert_ne!(error.left(), Left::MaybeRunning, "{text}");
}

pub(crate) fn disk() -> (Field, StageVolume) {
    let field = Field::new();
    field.image("disk", 32);
    let staging = field.staging("one");
    let stage = field.stage_request("disk", &staging, filesystem("ext4"));
    (field, stage)
}

pub(crate) fn host() -> Host {
    Host::new(Doors::new(FaultPlan::none()).host)
}

/// Mounts a tmpfs, as somebody else would.
pub(crate) fn mount_tmpfs(path: &Path) {
    rustix::mount::mount(
        "stranger",
        path,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        None,
    )
    .unwrap();
}

pub(crate) fn unmount(path: &Path) {
    rustix::mount::unmount(path, rustix::mount::UnmountFlags::empty()).unwrap();
}

#[test]
fn uses_that_would_destroy_data() {
    let (field, mut stage) = disk();
    stage.capability.mode = AccessMode::MultiNodeMultiWriter;
    refused(
        &field,
        &stage,
        1570,
        Class::Invalid,
        &["MULTI_NODE_MULTI_WRITER", "CephFS"],
    );
    stage.capability.mode = AccessMode::SingleNodeWriter;
    stage.capability.access = Access::Filesystem {
        fs_type: Some(FsType::new("btrfs").unwrap()),
        mount_flags: Vec::new(),
    };
    refused(
        &field,
        &stage,
        1551,
        Class::Invalid,
        &["btrfs", "ext4 or xfs"],
    );
    field.assert_empty(&stage.staging_path);
}

#[test]
fn staging_paths_that_cannot_be() {
    let (field, stage) = disk();
    for (path, code, word) in [
        ("relative/path", 1560, "absolute"),
        ("/var/../etc", 1560, ".."),
        ("/nonexistent/globalmount", 1561, "does not exist"),
        ("/etc/hostname", 1562, "a directory"),
    ] {
        let mut stage = stage.clone();
        stage.staging_path = path.into();
        let error = field.node().stage(&stage).unwrap_err();
        let (found, _, text) = told(&error);
        assert_eq!(found, code, "{path}: {text}");
        assert!(text.contains(word), "{path}: {text}");
    }
    field.assert_unwatched("disk");
}

#[test]
fn places_that_belong_to_somebody_else() {
    let (field, stage) = disk();
    let staging = &stage.staging_path;
    mount_tmpfs(staging);
    refused(&field, &stage, 1563, Class::Unmet, &["tmpfs", "stranger"]);
    unmount(staging);

    let place = staging.join("disk");
    fs::create_dir(&place).unwrap();
    mount_tmpfs(&place);
    refused(&field, &stage, 1563, Class::Unmet, &["tmpfs", "stranger"]);
    let error = field.node().unstage(&unstage_request(&stage)).unwrap_err();
    assert_eq!(error.code().number(), 1541, "{}", chain(&error));
    unmount(&place);
    // An empty directory, as a crash may leave it, is no obstacle.
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(staging);

    field.node().stage(&stage).unwrap();
    unmount(&place);
    mount_tmpfs(&place);
    let error = field.node().unstage(&unstage_request(&stage)).unwrap_err();
    assert_eq!(error.code().number(), 1541, "{}", chain(&error));
    let error = field
        .node()
        .publish(&publish_request(&stage, &field.target("pod")))
        .unwrap_err();
    assert_eq!(error.code().number(), 1580, "{}", chain(&error));
    unmount(&place);
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(staging);
    field.assert_clean_host();
}

#[test]
fn a_directory_with_content_is_never_removed() {
    let (field, stage) = disk();
    let place = stage.staging_path.join("disk");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("precious"), "data").unwrap();
    let error = field.node().unstage(&unstage_request(&stage)).unwrap_err();
    assert!(chain(&error).contains("ENOTEMPTY"), "{}", chain(&error));
    let target = field.target("pod");
    fs::create_dir_all(&target).unwrap();
    fs::write(target.join("precious"), "data").unwrap();
    let error = field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap_err();
    assert!(chain(&error).contains("ENOTEMPTY"), "{}", chain(&error));
    assert_eq!(fs::read_to_string(place.join("precious")).unwrap(), "data");
    assert_eq!(fs::read_to_string(target.join("precious")).unwrap(), "data");
}

#[test]
fn images_that_are_not_there() {
    let (field, mut stage) = disk();
    let Volume::Static(place) = &mut stage.volume else {
        unreachable!("static volumes are asked for");
    };
    place.image = cuttle_model::ImageName::new("gone").unwrap();
    refused(&field, &stage, 1530, Class::Absent, &["gone"]);
    let Volume::Static(place) = &mut stage.volume else {
        unreachable!("static volumes are asked for");
    };
    place.pool = cuttle_model::PoolName::new("no-such-pool").unwrap();
    refused(&field, &stage, 1531, Class::Unmet, &["no-such-pool"]);
    let uuid = ObjectUuid::random();
    let pools = field.cluster.json(&["osd", "lspools"]).unwrap();
    let pools = pools.as_array().unwrap();
    let pool = pools.iter().find(|pool| pool["poolname"] == POOL).unwrap();
    let handle = ComposedHandle {
        cluster: ClusterId::new("test").unwrap(),
        location: pool["poolnum"].as_i64().unwrap(),
        uuid: uuid.clone(),
    };
    stage.volume = Volume::Provisioned(handle);
    let name = format!("csi-vol-{uuid}");
    refused(&field, &stage, 1530, Class::Absent, &[&name]);
    // With its image there, a volume is found by its handle.
    field.image(&name, 16);
    field.node().stage(&stage).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&stage.staging_path);
}

#[test]
fn a_wrong_key_is_told_without_being_shown() {
    let (field, mut stage) = disk();
    let marker = "QVFEbWFya2VybWFya2VybWFya2VybWFya2VybWFya2Vy";
    stage.credentials.key = Secret::new(marker.to_owned());
    let error = field.node().stage(&stage).unwrap_err();
    let (code, _, text) = told(&error);
    assert!((1200..1300).contains(&code), "{text}");
    assert!(
        !text.contains(marker) && !format!("{error:?}").contains(marker),
        "{text}"
    );
    field.assert_empty(&stage.staging_path);
}

#[test]
fn ways_that_this_machine_or_release_lacks() {
    let (field, mut stage) = disk();
    stage.parameters.mounter = Mounter::Nbd;
    refused(
        &field,
        &stage,
        1511,
        Class::Unsupported,
        &["rbd-nbd", "not supported yet", "fuse"],
    );
    if !Path::new("/sys/module/rbd").exists() {
        stage.parameters.mounter = Mounter::Krbd;
        refused(
            &field,
            &stage,
            1510,
            Class::Unmet,
            &["rbd module", "modprobe", "`mounter: fuse`"],
        );
    }
    field.assert_empty(&stage.staging_path);
}

#[test]
fn an_image_in_use_elsewhere() {
    let (field, stage) = disk();
    field.node().stage(&stage).unwrap();
    let mut other = stage.clone();
    other.staging_path = field.staging("two");
    refused(
        &field,
        &other,
        1532,
        Class::Unmet,
        &["in use by 127.0.0.1", "blocklist"],
    );
    field.assert_empty(&other.staging_path);
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn a_staging_directory_of_another_image() {
    let (field, stage) = disk();
    field.image("other", 32);
    let mut other = field.stage_request("other", &stage.staging_path, filesystem("ext4"));
    field.node().stage(&stage).unwrap();
    refused(&field, &other, 1571, Class::Unmet, &["disk", "other"]);
    other.id = stage.id.clone();
    refused(&field, &other, 1571, Class::Unmet, &["disk", "other"]);
    let block = field.stage_request("disk", &stage.staging_path, Access::Block);
    refused(
        &field,
        &block,
        1572,
        Class::Unmet,
        &["filesystem", "block device"],
    );
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn what_is_on_the_device_is_never_overwritten() {
    let (field, stage) = disk();
    let target = field.target("pod");
    let block = field.stage_request("disk", &stage.staging_path, Access::Block);
    field.node().stage(&block).unwrap();
    field
        .node()
        .publish(&publish_request(&block, &target))
        .unwrap();
    fs::write(&target, "an application's own format").unwrap();
    field
        .node()
        .unpublish(&unpublish_request(&block, &target))
        .unwrap();
    field.node().unstage(&unstage_request(&block)).unwrap();
    refused(
        &field,
        &stage,
        1553,
        Class::Unmet,
        &["volumeMode: Block", "wipefs"],
    );
    field.assert_empty(&stage.staging_path);
    field.node().stage(&block).unwrap();
    let start = fs::read(stage.staging_path.join("disk")).unwrap();
    assert!(start.starts_with(b"an application's own format"));
    field.node().unstage(&unstage_request(&block)).unwrap();

    let mut reader = field.stage_request("empty", &stage.staging_path, filesystem("xfs"));
    reader.capability.mode = AccessMode::MultiNodeReaderOnly;
    field.image("empty", 32);
    refused(&field, &reader, 1552, Class::Unmet, &["empty"]);
    field.assert_empty(&stage.staging_path);
    field.assert_clean_host();
}

#[test]
fn targets_that_cannot_be() {
    let (field, stage) = disk();
    let target = field.target("pod");
    let publish = publish_request(&stage, &target);
    let error = field.node().publish(&publish).unwrap_err();
    assert_eq!(told(&error).0, 1580, "{}", chain(&error));
    field.node().stage(&stage).unwrap();

    let mut block = publish.clone();
    block.capability.access = Access::Block;
    let error = field.node().publish(&block).unwrap_err();
    assert_eq!(told(&error).0, 1582, "{}", chain(&error));
    let mut flags = publish.clone();
    flags.capability.access = Access::Filesystem {
        fs_type: None,
        mount_flags: vec!["remount".to_owned()],
    };
    let error = field.node().publish(&flags).unwrap_err();
    assert_eq!(
        (told(&error).0, error.class()),
        (1584, Class::Invalid),
        "{}",
        chain(&error)
    );
    let mut relative = publish.clone();
    relative.target_path = "pods/one".into();
    let error = field.node().publish(&relative).unwrap_err();
    assert_eq!(
        (told(&error).0, error.class()),
        (1560, Class::Invalid),
        "{}",
        chain(&error)
    );

    fs::create_dir_all(&target).unwrap();
    mount_tmpfs(&target);
    let error = field.node().publish(&publish).unwrap_err();
    assert_eq!(told(&error).0, 1563, "{}", chain(&error));
    unmount(&target);
    fs::remove_dir(&target).unwrap();
    fs::write(&target, "").unwrap();
    let error = field.node().publish(&publish).unwrap_err();
    assert_eq!(told(&error).0, 1562, "{}", chain(&error));
    fs::remove_file(&target).unwrap();
    std::os::unix::fs::symlink("/etc", &target).unwrap();
    let error = field.node().publish(&publish).unwrap_err();
    assert_eq!(told(&error).0, 1562, "{}", chain(&error));
    let error = field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap_err();
    assert_eq!(told(&error).0, 1562, "{}", chain(&error));
    fs::remove_file(&target).unwrap();
    field.node().publish(&publish).unwrap();
    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn volumes_that_are_not_there_are_said_to_be_absent() {
    let (field, stage) = disk();
    let gone = field.target("gone");
    let stats = |path: &Path| {
        let volume_path = path.to_owned();
        field.node().stats(&VolumeStats {
            id: id("disk"),
            volume_path,
        })
    };
    assert_eq!(stats(&gone).unwrap_err().class(), Class::Absent);
    // A directory on which nothing is mounted would show the node's own disk.
    let error = stats(&stage.staging_path).unwrap_err();
    assert_eq!((told(&error).0, error.class()), (1595, Class::Absent));
    let expand = |path: &Path| {
        let volume_path = path.to_owned();
        let (id, staging_path, required) = (id("disk"), None, None);
        field.node().expand(&ExpandVolume {
            id,
            volume_path,
            staging_path,
            required,
        })
    };
    assert_eq!(expand(&gone).unwrap_err().class(), Class::Absent);
    assert_eq!(
        expand(&stage.staging_path).unwrap_err().class(),
        Class::Unmet
    );
    let unpublish = UnpublishVolume {
        id: id("disk"),
        target_path: gone.join("deeper"),
    };
    field.node().unpublish(&unpublish).unwrap();
    let unstage = UnstageVolume {
        id: id("disk"),
        staging_path: gone.join("globalmount"),
    };
    field.node().unstage(&unstage).unwrap();
}

#[test]
fn a_stash_that_cannot_be_read_is_not_guessed_at() {
    let (field, stage) = disk();
    fs::write(stage.staging_path.join("image-meta.json"), "{").unwrap();
    let error = field.node().stage(&stage).unwrap_err();
    assert_eq!(told(&error).0, 1502, "{}", chain(&error));
    // What was never finished stands for nothing; what is finished, and strange, may stand for
    // something.
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&stage.staging_path);
    let stash = stage.staging_path.join("image-meta.json");
    fs::write(&stash, "{}").unwrap();
    let error = field.node().unstage(&unstage_request(&stage)).unwrap_err();
    assert_eq!(told(&error).0, 1502, "{}", chain(&error));
    fs::remove_file(&stash).unwrap();
    field.node().stage(&stage).unwrap();
    let whole = fs::read(&stash).unwrap();
    fs::write(&stash, "").unwrap();
    let error = field.node().unstage(&unstage_request(&stage)).unwrap_err();
    assert_eq!(told(&error).0, 1502, "{}", chain(&error));
    fs::write(&stash, whole).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.node().stage(&stage).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

/// ceph-csi's stash of a volume that is not attached any more, as after a restart of the node.
#[test]
fn what_ceph_csi_left_in_its_record_is_taken_down() {
    let (field, stage) = disk();
    let stash = stage.staging_path.join("image-meta.json");
    for text in [
        r#"{"Version":3,"pool":"rbd","radosNamespace":"","image":"disk","accessType":false}"#,
        r#"{"Version":3,"pool":"rbd","image":"disk","accessType":true,"device":"/dev/nbd77"}"#,
        r#"{"Version":3,"pool":"rbd","image":"disk","accessType":false,"encrypted":true}"#,
    ] {
        fs::write(&stash, text).unwrap();
        fs::create_dir(stage.staging_path.join("disk")).unwrap();
        field.node().unstage(&unstage_request(&stage)).unwrap();
        field.assert_empty(&stage.staging_path);
    }
}
