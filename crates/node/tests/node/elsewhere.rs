//! A copy of a mount in another mount namespace, and open files: named, never fought, and no leak.

use std::time::{Duration, Instant};

use cuttle_model::Class;
use cuttle_node::rbd::StageVolume;

use crate::field::{Field, Stranger, publish_request, unpublish_request, unstage_request};
use crate::refusals::{disk, told};
use crate::slow::within;

/// Fails unless the unstage is refused so, naming the stranger; and is done when the stranger has
/// gone.
fn unstaged_without(
    field: &Field,
    stage: &StageVolume,
    stranger: Stranger,
    code: u16,
    holds: &str,
) {
    let begun = Instant::now();
    let error = field.node().unstage(&unstage_request(stage)).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(60), "{begun:?}");
    let (found, class, text) = told(&error);
    assert_eq!((found, class), (code, Class::Unmet), "{text}");
    let process = format!("process {} (sleep)", stranger.0.id());
    assert!(text.contains(&process) && text.contains(holds), "{text}");
    drop(stranger);
    field.node().unstage(&unstage_request(stage)).unwrap();
    field.assert_empty(&stage.staging_path);
    field.assert_unwatched("disk");
    field.assert_clean_host();
}

#[test]
fn an_idle_copy_of_the_mounts_keeps_nothing() {
    let (field, stage) = disk();
    let target = field.target("pod");
    field.node().stage(&stage).unwrap();
    field
        .node()
        .publish(&publish_request(&stage, &target))
        .unwrap();
    let mut stranger = Stranger::with_own_mounts("true");
    stranger.settle();
    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&stage.staging_path);
    field.assert_unwatched("disk");
    assert!(stranger.is_alive());
    drop(stranger);
    field.assert_clean_host();
}

#[test]
fn a_copy_that_a_container_mounts_for_itself_is_named() {
    let (field, stage) = disk();
    field.node().stage(&stage).unwrap();
    let (place, own) = (stage.staging_path.join("disk"), field.staging("own"));
    let script = format!("mount --bind {} {}", place.display(), own.display());
    let stranger = Stranger::with_own_mounts(&script);
    stranger.settle();
    let holds = format!("mounted on {} in the mount namespace", own.display());
    unstaged_without(&field, &stage, stranger, 1620, &holds);
}

#[test]
fn an_open_file_in_a_copy_is_named() {
    let (field, stage) = disk();
    field.node().stage(&stage).unwrap();
    let place = stage.staging_path.join("disk");
    let stranger = Stranger::with_own_mounts(&format!("exec 9>{}/file", place.display()));
    stranger.settle();
    unstaged_without(&field, &stage, stranger, 1620, "held open by");
}

#[test]
fn an_open_file_in_the_mount_itself_is_named() {
    let (field, stage) = disk();
    field.node().stage(&stage).unwrap();
    let place = stage.staging_path.join("disk");
    let stranger = Stranger::shell(&format!("cd {}", place.display()));
    stranger.settle();
    let holds = format!("{} is held open by", place.display());
    unstaged_without(&field, &stage, stranger, 1564, &holds);
}

#[test]
fn a_target_in_use_is_unpublished_when_its_user_has_gone() {
    let (field, stage) = disk();
    let target = field.target("pod");
    field.node().stage(&stage).unwrap();
    field
        .node()
        .publish(&publish_request(&stage, &target))
        .unwrap();
    let stranger = Stranger::shell(&format!("cd {}", target.display()));
    stranger.settle();
    let unpublish = unpublish_request(&stage, &target);
    let error = field.node().unpublish(&unpublish).unwrap_err();
    let (code, class, text) = told(&error);
    assert_eq!((code, class), (1564, Class::Unmet), "{text}");
    let process = format!("process {} (sleep)", stranger.0.id());
    assert!(text.contains(&process), "{text}");
    drop(stranger);
    field.node().unpublish(&unpublish).unwrap();
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}

#[test]
fn a_copy_of_the_export_in_use_ends_the_request_and_not_the_plugin() {
    let (field, stage) = disk();
    field.node().stage(&stage).unwrap();
    let export = stage.staging_path.join("image-export.fuse");
    let stranger = Stranger::with_own_mounts(&format!("exec 9<{}", export.display()));
    stranger.settle();
    {
        let _guard = within(8);
        let error = field.node().unstage(&unstage_request(&stage)).unwrap_err();
        let (code, class, text) = told(&error);
        assert_eq!((code, class), (1516, Class::Late), "{text}");
        let process = format!("process {} (sleep)", stranger.0.id());
        assert!(text.contains(&process), "{text}");
    }
    drop(stranger);
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_empty(&stage.staging_path);
    field.assert_unwatched("disk");
    field.assert_clean_host();
}
