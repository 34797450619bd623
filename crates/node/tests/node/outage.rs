//! With the cluster stopped: what can be done is done, what cannot ends by its deadline, and a
//! repeat finishes it when the cluster is back.

use std::fs;
use std::time::{Duration, Instant};

use cuttle_model::{Class, Explain, Left, chain};
use cuttle_node::rbd::VolumeStats;
use cuttle_testbed::{Cluster, StartOptions, until};

use crate::field::{Field, filesystem, id, publish_request, unpublish_request, unstage_request};
use crate::slow::within;

#[test]
fn a_volume_is_unpublished_now_and_unstaged_when_the_cluster_is_back() {
    let field = Field::on(Cluster::start(&StartOptions::default()).unwrap());
    field.image("disk", 64);
    let staging = field.staging("one");
    let target = field.target("pod");
    let stage = field.stage_request("disk", &staging, filesystem("ext4"));
    field.node().stage(&stage).unwrap();
    field
        .node()
        .publish(&publish_request(&stage, &target))
        .unwrap();
    fs::write(target.join("file"), "dirty when the cluster stops").unwrap();
    field.cluster.pause_osd().unwrap();

    // The figures come from the kernel, and nothing here asks the cluster.
    let volume = VolumeStats {
        id: id("disk"),
        volume_path: target.clone(),
    };
    assert!(field.node().stats(&volume).unwrap().usage.is_some());
    field
        .node()
        .unpublish(&unpublish_request(&stage, &target))
        .unwrap();

    let begun = Instant::now();
    {
        let _guard = within(4);
        let error = field.node().unstage(&unstage_request(&stage)).unwrap_err();
        let (class, left) = (error.class(), error.left());
        assert_eq!(
            (class, left),
            (Class::Late, Left::MaybeRunning),
            "{}",
            chain(&error)
        );
    }
    {
        let mut elsewhere = stage.clone();
        elsewhere.staging_path = field.staging("two");
        let _guard = within(4);
        let error = field.node().stage(&elsewhere).unwrap_err();
        assert!(
            [Class::Late, Class::Down].contains(&error.class()),
            "{}",
            chain(&error)
        );
        field.assert_empty(&elsewhere.staging_path);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );

    field.cluster.resume_osd().unwrap();
    until("the repeat succeeds", Duration::from_secs(60), || {
        let _guard = within(30);
        field
            .node()
            .unstage(&unstage_request(&stage))
            .map_err(|error| chain(&error))
    })
    .unwrap();
    field.assert_empty(&staging);
    field.node().stage(&stage).unwrap();
    let file = fs::read_to_string(staging.join("disk/file")).unwrap();
    assert_eq!(file, "dirty when the cluster stops");
    field.node().unstage(&unstage_request(&stage)).unwrap();
    field.assert_clean_host();
}
