//! What others hold, or have published, is not taken from them, and two never get one volume.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use cuttle_host::{AbsolutePath, AttachLoop};
use cuttle_model::{Access, AccessMode, Class, chain};
use cuttle_node::rbd::{Condition, StageVolume, VolumeStats};

use crate::field::{Field, filesystem, id, publish_request, unpublish_request, unstage_request};
use crate::refusals::{disk, host, told, unmount};

#[test]
fn a_loop_device_of_somebody_else_is_left_alone() {
    let (field, stage) = disk();
    let file = field.target("stranger");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::File::create(&file).unwrap().set_len(1 << 20).unwrap();
    let path = AbsolutePath::try_from(file.as_path()).unwrap();
    let stranger = AttachLoop {
        file: &path,
        direct_io: false,
        read_only: false,
    };
    let stranger = host().attach_loop(&stranger).unwrap();
    field.node().stage(&stage).unwrap();
    let volume_path = stage.staging_path.join("disk");
    let measured = field
        .node()
        .stats(&VolumeStats {
            id: id("disk"),
            volume_path,
        })
        .unwrap();
    let Condition { abnormal, message } = measured.condition;
    assert!(!abnormal, "{message}");
    field.node().unstage(&unstage_request(&stage)).unwrap();
    assert_eq!(
        host().loop_device(&stranger.path).unwrap().as_ref(),
        Some(&stranger)
    );
    host().detach_loop(&stranger).unwrap();
    field.assert_clean_host();
}

#[test]
fn a_published_block_device_is_not_taken_away() {
    let (field, stage) = disk();
    let stage = field.stage_request("disk", &stage.staging_path, Access::Block);
    let target = field.target("pod");
    field.node().stage(&stage).unwrap();
    field
        .node()
        .publish(&publish_request(&stage, &target))
        .unwrap();
    let still_published = || {
        let error = field.node().unstage(&unstage_request(&stage)).unwrap_err();
        let (code, class, text) = told(&error);
        assert_eq!((code, class), (1540, Class::Unmet), "{text}");
        assert!(text.contains("targets/pod"), "{text}");
    };
    still_published();
    // Also when the staging place shows nothing any more.
    unmount(&stage.staging_path.join("disk"));
    still_published();
    fs::write(&target, "still its own device").unwrap();
    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&stage.staging_path);
    field.assert_clean_host();
}

#[test]
fn a_device_that_somebody_holds_open_keeps_its_image() {
    let (field, stage) = disk();
    let stage = field.stage_request("disk", &stage.staging_path, Access::Block);
    field.node().stage(&stage).unwrap();
    let device = || {
        let export = stage.staging_path.join("image-export.fuse");
        let export = AbsolutePath::try_from(export.as_path()).unwrap();
        host().find_loops(&export).unwrap()
    };
    let before = device();
    let user = fs::File::open(before[0].path.as_path()).unwrap();
    let error = field.node().unstage(&unstage_request(&stage)).unwrap_err();
    assert_eq!(told(&error).0, 1620, "{}", chain(&error));
    assert_eq!(device(), before);
    // Marked by somebody else, it is neither bound nor published, but refused.
    let losetup = cuttle_host::Program::new("losetup")
        .arg("-d")
        .arg(before[0].path.as_path());
    let marked = host().run("host.test", &losetup).unwrap();
    assert!(marked.exit.is_success());
    assert!(device()[0].autoclear);
    let error = field.node().stage(&stage).unwrap_err();
    assert_eq!(told(&error).0, 1620, "{}", chain(&error));
    // That has taken the mark back; the number cannot go to another file under the user's eyes.
    assert_eq!(device(), before);
    field.node().stage(&stage).unwrap();
    drop(user);
    assert_eq!(device(), before);
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&stage.staging_path);
    field.assert_clean_host();
}

#[test]
fn of_two_nodes_that_stage_at_once_the_one_with_the_lock_wins() {
    one_of_two_wins("layering,exclusive-lock");
}

#[test]
fn of_two_nodes_that_stage_at_once_one_wins_without_a_lock() {
    one_of_two_wins("layering");
}

fn one_of_two_wins(features: &str) {
    let field = Field::new();
    field.image_with("disk", features);
    let first = field.stage_request("disk", &field.staging("one"), filesystem("ext4"));
    let mut second = first.clone();
    second.staging_path = field.staging("two");
    for round in 0..4 {
        let start = std::sync::Barrier::new(2);
        let outcome = |stage: &StageVolume| {
            let node = field.patient_node(Duration::from_secs(20));
            start.wait();
            node.stage(stage)
        };
        let (one, two) = std::thread::scope(|scope| {
            let two = scope.spawn(|| outcome(&second));
            (outcome(&first), two.join().unwrap())
        });
        let (winner, loser, error) = match (one, two) {
            (Ok(()), Err(error)) => (&first, &second, error),
            (Err(error), Ok(())) => (&second, &first, error),
            (Ok(()), Ok(())) => panic!("both have staged the image"),
            (Err(one), Err(two)) => panic!("neither: {}; {}", chain(&one), chain(&two)),
        };
        assert_eq!(told(&error).0, 1532, "{}", chain(&error));
        field.assert_empty(&loser.staging_path);
        let place = winner.staging_path.join("disk");
        if round > 0 {
            let before = fs::read_to_string(place.join("round")).unwrap();
            assert_eq!(before, format!("{}", round - 1));
        }
        fs::write(place.join("round"), format!("{round}")).unwrap();
        field.node().unstage(&unstage_request(winner)).unwrap();
    }
    field.assert_clean_host();
}

#[test]
fn one_writer_keeps_the_lock_and_many_pass_it_on() {
    let field = Field::new();
    field.image_with("disk", "layering,exclusive-lock");
    let locks = || field.cluster.rbd(&["lock", "ls", &field.spec("disk")]);
    let one = field.stage_request("disk", &field.staging("one"), Access::Block);
    field.node().stage(&one).unwrap();
    // Before anything is written.
    assert!(locks().unwrap().contains("client."));
    field.node().unstage(&unstage_request(&one)).unwrap();
    assert_eq!(locks().unwrap(), "");

    let mut many = one.clone();
    many.capability.mode = AccessMode::MultiNodeMultiWriter;
    let mut others = many.clone();
    others.staging_path = field.staging("two");
    field.node().stage(&many).unwrap();
    field.node().stage(&others).unwrap();
    for round in 0..3_u64 {
        for (number, stage) in (0_u64..).zip([&many, &others]) {
            let device = fs::File::options()
                .write(true)
                .open(stage.staging_path.join("disk"))
                .unwrap();
            let at = (round * 2 + number) * 4096;
            device.write_all_at(&[b'a'; 4096], at).unwrap();
            device.sync_all().unwrap();
        }
    }
    field.node().unstage(&unstage_request(&many)).unwrap();
    field.node().unstage(&unstage_request(&others)).unwrap();
    field.node().stage(&one).unwrap();
    let device = fs::File::open(one.staging_path.join("disk")).unwrap();
    let mut written = vec![0; 6 * 4096];
    device.read_exact_at(&mut written, 0).unwrap();
    drop(device);
    assert_eq!(written, vec![b'a'; 6 * 4096]);
    field.node().unstage(&unstage_request(&one)).unwrap();
    field.assert_clean_host();
}

#[test]
fn a_writable_block_device_is_not_called_read_only() {
    let (field, stage) = disk();
    let mut stage = field.stage_request("disk", &stage.staging_path, Access::Block);
    let target = field.target("pod");
    let mut publish = publish_request(&stage, &target);
    publish.read_only = true;
    field.node().stage(&stage).unwrap();
    let error = field.node().publish(&publish).unwrap_err();
    let (code, class, text) = told(&error);
    assert_eq!((code, class), (1585, Class::Unmet), "{text}");
    assert!(text.contains("ReadOnlyMany"), "{text}");
    assert!(!target.exists());
    field.node().unstage(&unstage_request(&stage)).unwrap();

    stage.capability.mode = AccessMode::MultiNodeReaderOnly;
    publish.capability = stage.capability.clone();
    field.node().stage(&stage).unwrap();
    field.node().publish(&publish).unwrap();
    let written = fs::File::options()
        .write(true)
        .open(&target)
        .and_then(|mut device| {
            std::io::Write::write_all(&mut device, b"x").and_then(|()| device.sync_all())
        });
    written.unwrap_err();
    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn what_no_publish_has_made_is_not_unpublished() {
    let (field, stage) = disk();
    field.node().stage(&stage).unwrap();
    let refused = |target: &Path, word: &str| {
        let request = unpublish_request(&stage, target);
        let error = field.node().unpublish(&request).unwrap_err();
        let (code, _, text) = told(&error);
        assert_eq!(code, 1562, "{text}");
        assert!(text.contains(word), "{text}");
    };
    let place = stage.staging_path.join("disk");
    refused(&place, "staging directory");
    assert!(place.join("lost+found").exists());
    let file = field.target("file");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "precious").unwrap();
    refused(&file, "content");
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn a_publish_that_fails_takes_its_directories_away() {
    let (field, stage) = disk();
    field.node().stage(&stage).unwrap();
    let target = field.target("pod/volumes/mount");
    let (node, _doors) = field.node_with("fail@1:host.bind=EIO");
    let error = node.publish(&publish_request(&stage, &target)).unwrap_err();
    assert!(chain(&error).contains("EIO"), "{}", chain(&error));
    assert!(!field.target("pod").exists());
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}
