//! The administrator's key is nowhere but in memory: not in logs, errors, processes or files.

use cuttle_csi::v1;

use super::FsWorld;
use crate::calls::MIB;
use crate::family::FamilyWatch;
use crate::secrets::{WRONG, places};

/// A key that was put into the field of the user's name.
const MISPLACED: &str = concat!("AQCMARKERmisplacedKEY", "markerMARKERplaced==");

#[test]
fn keys_stay_in_memory_through_a_volumes_life_and_through_failures() {
    let fs = FsWorld::new();
    let secrets = [fs.key.as_str(), WRONG, MISPLACED];
    let driver = fs.start_named("driver", &["--v=10", "--setmetadata=true"]);
    let client = &driver.client;
    let places = places(&fs.world, &driver);
    let watch = FamilyWatch::begin(driver.driver.pid(), &secrets);
    let errors = {
        let mut errors = Vec::new();
        let create = || fs.create_request("pvc-secret", 20 * MIB);
        let volume = client.create(create()).expect("a volume");
        let told = format!("{volume:?}");
        assert!(!told.contains(&fs.key), "the volume context has the key");
        let expand = || fs.expand_request(&volume.volume_id, 64 * MIB);
        client.controller_expand_volume(expand()).expect("growth");
        let get = v1::ValidateVolumeCapabilitiesRequest {
            volume_id: volume.volume_id.clone(),
            volume_capabilities: create().volume_capabilities,
            secrets: fs.secrets(),
            ..Default::default()
        };
        client.validate_volume_capabilities(get).expect("a verdict");

        let with = |key: &str, value: &str| {
            let mut secrets = fs.secrets();
            secrets.insert(key.to_owned(), value.to_owned());
            secrets
        };
        for secrets in [with("adminKey", WRONG), with("adminID", MISPLACED)] {
            let bad = v1::CreateVolumeRequest {
                secrets: secrets.clone(),
                ..fs.create_request("pvc-refused", 20 * MIB)
            };
            errors.push(client.create(bad).expect_err("odd secrets"));
            let bad = v1::ControllerExpandVolumeRequest {
                secrets: secrets.clone(),
                ..expand()
            };
            errors.push(
                client
                    .controller_expand_volume(bad)
                    .expect_err("odd secrets"),
            );
            let bad = v1::DeleteVolumeRequest {
                secrets,
                ..fs.delete_request(&volume.volume_id)
            };
            errors.push(client.delete_volume(bad).expect_err("odd secrets"));
        }
        let mut bad = fs.create_request("pvc-unknown", 20 * MIB);
        bad.parameters.insert("nonsense".to_owned(), "1".to_owned());
        errors.push(client.create(bad).expect_err("an unknown parameter"));
        let mut bad = fs.create_request("pvc-no-fs", 20 * MIB);
        bad.parameters
            .insert("fsName".to_owned(), "none".to_owned());
        errors.push(client.create(bad).expect_err("no such file system"));
        fs.delete(client, &volume.volume_id);
        errors
    };
    let sighting = watch.end();
    assert!(sighting.leaks.is_empty(), "{:?}", sighting.leaks);
    assert!(!sighting.programs.is_empty(), "nothing was watched");
    let log = driver.driver.log_text();
    assert!(log.contains("DEBUG"), "the log does not tell the most");
    for secret in secrets {
        for error in &errors {
            let told = format!("{error:?} {error}");
            assert!(!told.contains(secret), "a key in an error: {told}");
        }
        assert!(!log.contains(secret), "a key in the log");
    }
    // Whatever the driver keeps: run directory, sockets, log, and the usual places.
    let dirs: Vec<_> = places.iter().map(std::path::PathBuf::as_path).collect();
    let left = cuttle_testbed::host_residue(&dirs, &secrets).key_files;
    assert!(left.is_empty(), "keys in files: {left:?}");
    fs.assert_exactly("after the search for keys", &[]);
}
