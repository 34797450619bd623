//! The key of a volume's user is nowhere but in memory: not in logs, errors, arguments or files.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::calls::{MIB, mount_capability, publish_request, unpublish_request, unstage_request};
use crate::world::World;

/// Looks through the arguments and environments of all processes until told to stop; gives back
/// those in which one of the secrets stood.
fn watch_processes(secrets: &[&str], stop: &AtomicBool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let numeric = process.file_name().to_string_lossy().parse::<i32>().is_ok();
            if !numeric {
                continue;
            }
            for file in ["cmdline", "environ"] {
                let bytes = std::fs::read(process.path().join(file)).unwrap_or_default();
                if secrets.iter().any(|secret| contains(&bytes, secret)) {
                    found.insert(String::from_utf8_lossy(&bytes).replace('\0', " "));
                }
            }
        }
    }
    found
}

fn contains(bytes: &[u8], secret: &str) -> bool {
    bytes
        .windows(secret.len())
        .any(|part| part == secret.as_bytes())
}

/// Files outside the world's own directory in which a driver might have left a key.
fn places() -> [&'static Path; 4] {
    [
        Path::new("/tmp/csi"),
        Path::new("/run/cuttle"),
        Path::new("/etc/ceph"),
        Path::new("/dev/shm"),
    ]
}

#[test]
fn keys_stay_in_memory_through_a_volumes_life_and_through_failures() {
    let world = World::new();
    // A key of the right form that opens nothing; it must not show up in the refusal.
    let wrong = "AQCMARKERwrongKEYmarkerMARKERwrongKEYm==";
    let driver = world.start(&["--v=10"]);
    let stop = AtomicBool::new(false);
    let mut errors = Vec::new();
    let found = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch_processes(&[&world.key, wrong], &stop));
        let capability = mount_capability("ext4");
        let volume = driver
            .client
            .create(world.create_request("pvc-secret", 64 * MIB))
            .expect("a volume");
        let staging = world.make_dir("staging");
        let target = world.path("target");
        driver
            .client
            .node_stage_volume(world.stage_request(&volume, &staging, capability.clone()))
            .expect("a staging");
        driver
            .client
            .node_publish_volume(publish_request(
                &volume,
                &staging,
                &target,
                capability.clone(),
            ))
            .expect("a publication");
        let residue = world.residue(&[]);
        assert!(
            residue.key_files.is_empty(),
            "while staged: {:?}",
            residue.key_files
        );

        let mut bad = world.create_request("pvc-wrong-key", 64 * MIB);
        bad.secrets.insert("userKey".to_owned(), wrong.to_owned());
        errors.push(driver.client.create(bad).expect_err("a wrong key"));
        let mut bad = world.create_request("pvc-odd-secrets", 64 * MIB);
        bad.secrets.remove("userID");
        errors.push(driver.client.create(bad).expect_err("no user"));
        let mut bad = world.create_request("pvc-unknown", 64 * MIB);
        bad.parameters.insert("nonsense".to_owned(), "1".to_owned());
        errors.push(driver.client.create(bad).expect_err("an unknown parameter"));
        let elsewhere = world.make_dir("elsewhere");
        let mut bad = world.stage_request(&volume, &elsewhere, capability);
        bad.secrets.insert("userKey".to_owned(), wrong.to_owned());
        errors.push(
            driver
                .client
                .node_stage_volume(bad)
                .expect_err("a wrong key"),
        );

        driver
            .client
            .node_unpublish_volume(unpublish_request(&volume.volume_id, &target))
            .expect("an end of the publication");
        driver
            .client
            .node_unstage_volume(unstage_request(&volume.volume_id, &staging))
            .expect("an end of the staging");
        driver
            .client
            .delete_volume(world.delete_request(&volume.volume_id))
            .expect("a deletion");
        stop.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert!(found.is_empty(), "keys in processes: {found:?}");
    for secret in [world.key.as_str(), wrong] {
        for error in &errors {
            let told = format!("{error:?} {error}");
            assert!(!told.contains(secret), "a key in an error: {told}");
        }
        assert!(
            !driver.driver.log_text().contains(secret),
            "a key in the log"
        );
        let left = cuttle_testbed::host_residue(&places(), &[secret]).key_files;
        assert!(left.is_empty(), "keys in files: {left:?}");
    }
    assert!(
        driver.driver.log_text().len() > 1_000,
        "a log that says nothing proves nothing"
    );
    world.assert_ceph_empty("after the search for keys");
    world.assert_host_clean(&[&driver], "after the search for keys");
}
