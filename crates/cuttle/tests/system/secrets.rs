//! The keys of volumes' users are nowhere but in memory: not in logs, errors, arguments,
//! environments or files.

use std::path::{Path, PathBuf};

use cuttle_csi::v1;
use tonic::Status;

use crate::calls::{MIB, mount_capability, publish_request, unpublish_request, unstage_request};
use crate::family::FamilyWatch;
use crate::world::{Running, World};

/// A key of the right form that opens nothing; it must not show up in a refusal.
/// Put together here, so that this file does not hold it.
pub(crate) const WRONG: &str = concat!("AQCMARKERwrongKEYmarker", "MARKERwrongKEYm==");

/// What is no key at all, as of a Secret that was encoded twice.
const NONE: &str = concat!("MARKER no key ", "at all MARKER");

/// Where a driver might leave a key: the world's own directory with its socket, its log and its run
/// directory, the usual ones, and the one it works in.
pub(crate) fn places(world: &World, driver: &Running) -> Vec<PathBuf> {
    let places = [
        "/tmp/csi",
        "/run/cuttle",
        "/etc/ceph",
        "/dev/shm",
        "/var/lib/ceph",
        "/var/crash",
    ];
    let mut places: Vec<PathBuf> = places.map(PathBuf::from).to_vec();
    let pid = driver.driver.pid();
    places.push(world.root().to_owned());
    places.extend(std::fs::read_link(format!("/proc/{pid}/cwd")));
    places
}

/// The files in the directory for temporary ones, without the directories of other tests.
fn temporary_files() -> Vec<PathBuf> {
    const LARGEST: u64 = 16 << 20;
    let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
    let is_small = |entry: &std::fs::DirEntry| {
        let metadata = entry.metadata();
        metadata.is_ok_and(|found| found.is_file() && found.len() <= LARGEST)
    };
    entries.filter(is_small).map(|entry| entry.path()).collect()
}

/// Every call that carries secrets, with those of somebody whom the cluster refuses.
fn refusals(world: &World, driver: &Running, volume: &v1::Volume, key: &str) -> Vec<Status> {
    let client = &driver.client;
    let handle = &volume.volume_id;
    let with_key = |secrets: &mut std::collections::BTreeMap<String, String>| {
        secrets.insert("userKey".to_owned(), key.to_owned());
    };
    let mut create = world.create_request("pvc-wrong-key", 64 * MIB);
    with_key(&mut create.secrets);
    let mut delete = world.delete_request(handle);
    with_key(&mut delete.secrets);
    let mut expand = world.expand_request(handle, 128 * MIB);
    with_key(&mut expand.secrets);
    let mut validate = v1::ValidateVolumeCapabilitiesRequest {
        volume_id: handle.clone(),
        volume_capabilities: vec![mount_capability("ext4")],
        secrets: delete.secrets.clone(),
        ..Default::default()
    };
    with_key(&mut validate.secrets);
    let snapshot = v1::CreateSnapshotRequest {
        source_volume_id: handle.clone(),
        name: "snapshot-wrong-key".to_owned(),
        secrets: delete.secrets.clone(),
        parameters: [("clusterID".to_owned(), world.cluster_id.clone())].into(),
    };
    let elsewhere = world.make_dir("elsewhere");
    let mut stage = world.stage_request(volume, &elsewhere, mount_capability("ext4"));
    with_key(&mut stage.secrets);
    vec![
        client.create(create).expect_err("CreateVolume"),
        client.delete_volume(delete).expect_err("DeleteVolume"),
        client
            .controller_expand_volume(expand)
            .expect_err("ControllerExpandVolume"),
        client
            .validate_volume_capabilities(validate)
            .expect_err("ValidateVolumeCapabilities"),
        client
            .create_snapshot(snapshot)
            .expect_err("CreateSnapshot"),
        client
            .node_stage_volume(stage)
            .expect_err("NodeStageVolume"),
    ]
}

/// Requests that are wrong in themselves, with the right key.
fn mistakes(world: &World, driver: &Running) -> Vec<Status> {
    let good = || world.create_request("pvc-mistaken", 64 * MIB);
    let mut no_user = good();
    no_user.secrets.remove("userID");
    let mut unknown = good();
    unknown
        .parameters
        .insert("nonsense".to_owned(), "1".to_owned());
    // The key where it does not belong.
    let mut misplaced = good();
    misplaced
        .parameters
        .insert("userKey".to_owned(), world.key.clone());
    let mut elsewhere = good();
    elsewhere
        .parameters
        .insert("pool".to_owned(), "no-such-pool".to_owned());
    let requests = [no_user, unknown, misplaced, elsewhere];
    requests
        .map(|request| driver.client.create(request).expect_err("a mistake"))
        .to_vec()
}

/// A volume's life, with everything that fails on the way.
fn live(world: &World, driver: &Running) -> Vec<Status> {
    let client = &driver.client;
    let capability = mount_capability("ext4");
    let request = world.create_request("pvc-secret", 64 * MIB);
    let volume = client.create(request).expect("a volume");
    let staging = world.make_dir("staging");
    let target = world.path("target");
    let stage = world.stage_request(&volume, &staging, capability.clone());
    client.node_stage_volume(stage).expect("a staging");
    let publish = publish_request(&volume, &staging, &target, capability);
    client.node_publish_volume(publish).expect("a publication");
    let residue = world.residue(&[]);
    assert!(
        residue.key_files.is_empty(),
        "while staged: {:?}",
        residue.key_files
    );
    // The export is a process of its own, to which the key was handed.
    assert!(residue.processes.len() > 1, "{residue}");

    let mut errors = mistakes(world, driver);
    for key in [WRONG, NONE] {
        errors.extend(refusals(world, driver, &volume, key));
    }

    let unpublish = unpublish_request(&volume.volume_id, &target);
    client
        .node_unpublish_volume(unpublish)
        .expect("an end of the publication");
    let unstage = unstage_request(&volume.volume_id, &staging);
    client
        .node_unstage_volume(unstage)
        .expect("an end of the staging");
    let delete = world.delete_request(&volume.volume_id);
    client.delete_volume(delete).expect("a deletion");
    errors
}

/// With the most that a log can tell, in one of its two forms.
fn keys_stay_in_memory(form: &str) {
    let world = World::new();
    let secrets = [world.key.as_str(), WRONG, NONE];
    let driver = world.start(&["--v=10", &format!("--log-format={form}")]);
    let places = places(&world, &driver);
    let watch = FamilyWatch::begin(driver.driver.pid(), &secrets);
    let errors = live(&world, &driver);
    let sighting = watch.end();
    assert!(
        sighting.leaks.is_empty(),
        "keys in processes: {:?}",
        sighting.leaks
    );
    // The driver, its export and the programs that it runs: else nothing was watched.
    assert!(sighting.programs.len() > 1, "{:?}", sighting.programs);

    let log = driver.driver.log_text();
    assert!(log.contains("DEBUG"), "the log does not tell the most");
    assert_eq!(log.starts_with('{'), form == "json");
    for secret in secrets {
        for error in &errors {
            let told = format!("{error:?} {error} {:?}", error.metadata());
            assert!(!told.contains(secret), "a key in an error: {told}");
        }
        assert!(!log.contains(secret), "a key in the log");
    }
    let dirs: Vec<&Path> = places.iter().map(PathBuf::as_path).collect();
    let left = cuttle_testbed::host_residue(&dirs, &secrets).key_files;
    assert!(left.is_empty(), "keys in files: {left:?}");
    for file in temporary_files() {
        let bytes = std::fs::read(&file).unwrap_or_default();
        for secret in secrets {
            let holds = crate::family::contains(&bytes, secret);
            assert!(!holds, "a key in {}", file.display());
        }
    }
    world.assert_ceph_empty("after the search for keys");
    world.assert_host_clean(&[&driver], "after the search for keys");
}

#[test]
fn keys_stay_in_memory_through_a_volumes_life_and_failures_logged_as_json() {
    keys_stay_in_memory("json");
}

#[test]
fn keys_stay_in_memory_through_a_volumes_life_and_failures_logged_as_text() {
    keys_stay_in_memory("text");
}
