//! Work that hangs on one cluster does not keep static volumes of another, whose handles tell
//! no cluster.

use std::path::PathBuf;
use std::time::Duration;

use tonic::Code;

use crate::calls::{Client, unstage_request};
use crate::world::World;

/// How many unstagings of one cluster run at a time.
const LANE: usize = 8;

/// A staging directory as a crash leaves it, with the record and nothing attached.
fn staged_of(world: &World, cluster: &str, volume: &str) -> PathBuf {
    let staging = world.make_dir(volume);
    let record = serde_json::json!({
        "Version": 3, "pool": "rbd", "radosNamespace": world.namespace, "image": volume,
        "accessType": false,
        "cuttle": {
            "mounter": "fuse", "clusterId": cluster, "monitors": [world.cluster.monitors()],
        },
    });
    std::fs::write(staging.join("image-meta.json"), record.to_string()).unwrap();
    staging
}

#[test]
fn a_static_volume_is_unstaged_in_the_lane_of_its_own_cluster() {
    let world = World::new();
    let mut other = world.config_entry();
    other["clusterID"] = "the-other".into();
    world.write_config(&[world.config_entry(), other]);
    let hanging: Vec<_> = (0..LANE)
        .map(|n| {
            let volume = format!("hanging-{n}");
            let staging = staged_of(&world, &world.cluster_id, &volume);
            (volume, staging)
        })
        .collect();
    let free = staged_of(&world, "the-other", "free");

    // The removal of the record is an unstaging's last step.
    let faults: Vec<_> = (1..=LANE)
        .map(|n| format!("hang@{n}:host.unlink"))
        .collect();
    let driver = world.start(&[&format!("--inject-fault={}", faults.join(","))]);
    let socket = driver.driver.socket().unwrap();
    std::thread::scope(|scope| {
        for (volume, staging) in &hanging {
            scope.spawn(move || {
                let late = Client::connect(socket)
                    .unstage_within(unstage_request(volume, staging), Duration::from_secs(3))
                    .expect_err("it hangs");
                assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
                assert!(late.message().contains("host.unlink"), "{late}");
            });
        }
    });
    let unstaged = driver
        .client
        .node_unstage_volume(unstage_request("free", &free));
    unstaged.expect("an end of the staging beside those that hang");
    drop(driver);

    let fresh = world.start_named("fresh", &[]);
    for (volume, staging) in &hanging {
        let unstaged = fresh
            .client
            .node_unstage_volume(unstage_request(volume, staging));
        unstaged.expect("the repeat in a new process");
        assert!(std::fs::read_dir(staging).unwrap().next().is_none());
    }
    world.assert_host_clean(&[&fresh], "after the stagings");
}
