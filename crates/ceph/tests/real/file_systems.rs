//! Directories of a file system, with the manager's own view of them as witness.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ceph::{DirectoryEntry, FileSystem};

use crate::setup::{Setup, credentials, monitors, random_name, setup, until, with_faults};

/// A group of subvolumes, which the manager sees as a directory of `/volumes`.
fn group() -> (String, PathBuf) {
    let name = random_name("g");
    let path = Path::new("/volumes").join(&name);
    (name, path)
}

fn groups(setup: &Setup) -> Vec<String> {
    let listed = setup
        .witness
        .json(&["fs", "subvolumegroup", "ls", "cephfs"])
        .unwrap();
    let names = listed.as_array().unwrap().iter();
    names
        .map(|entry| entry["name"].as_str().unwrap().to_owned())
        .collect()
}

fn mount(setup: &Setup) -> FileSystem {
    let name = setup.cluster.default_file_system().unwrap().unwrap();
    assert_eq!(name, "cephfs");
    setup.cluster.mount_file_system(&name).unwrap()
}

#[test]
fn directories_are_made_found_and_removed() {
    let setup = setup();
    let system = mount(&setup);
    let absent = setup.cluster.mount_file_system("no-such").unwrap_err();
    assert!(absent.is_absent(), "{absent}");
    let (name, path) = group();
    assert_eq!(system.find_entries(&path, 10).unwrap(), None);
    let inner = path.join("a-b/c_d");
    system.ensure_directory(&inner).unwrap();
    system.ensure_directory(&inner).unwrap();
    assert!(groups(&setup).contains(&name));
    system.ensure_file(&path.join("file")).unwrap();
    system.ensure_file(&path.join("file")).unwrap();
    let mut entries = system.find_entries(&path, 10).unwrap().unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let entry = |name: &str, is_directory| DirectoryEntry {
        name: name.into(),
        is_directory,
    };
    assert_eq!(entries, [entry("a-b", true), entry("file", false)]);
    assert_eq!(system.find_entries(&path, 1).unwrap().unwrap().len(), 1);

    assert!(system.remove_directory(&path).unwrap_err().is_not_empty());
    assert!(system.move_directory(&inner, &path.join("moved")).unwrap());
    assert!(!system.move_directory(&inner, &path.join("moved")).unwrap());
    for (name, is_directory) in [("moved", true), ("a-b", true), ("file", false)] {
        let inner = path.join(name);
        let remove = || {
            if is_directory {
                system.remove_directory(&inner)
            } else {
                system.remove_file(&inner)
            }
        };
        assert!(remove().unwrap());
        assert!(!remove().unwrap());
    }
    assert!(system.remove_directory(&path).unwrap());
    assert!(!groups(&setup).contains(&name));
}

#[test]
fn attributes_are_those_that_the_manager_sets_and_sees() {
    let setup = setup();
    let system = mount(&setup);
    let (group, _path) = group();
    let witness = |words: &[&str]| {
        let mut all = vec!["fs"];
        all.extend(words);
        setup.witness.json(&all).unwrap()
    };
    witness(&["subvolumegroup", "create", "cephfs", &group]);
    witness(&[
        "subvolume",
        "create",
        "cephfs",
        "v",
        "--size",
        "8388608",
        "--group_name",
        &group,
    ]);
    let path = witness(&["subvolume", "info", "cephfs", "v", "--group_name", &group])["path"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = Path::new(&path);
    let quota = c"ceph.quota.max_bytes";
    let found = system.find_attribute(path, quota).unwrap();
    assert_eq!(found.as_deref(), Some("8388608"));
    system.set_attribute(path, quota, "4194304").unwrap();
    let info = witness(&["subvolume", "info", "cephfs", "v", "--group_name", &group]);
    assert_eq!(info["bytes_quota"], 4_194_304);

    let inner = path.join("inner");
    system.ensure_directory(&inner).unwrap();
    assert_eq!(system.find_attribute(&inner, quota).unwrap(), None);
    let absent = system
        .find_attribute(&path.join("absent"), quota)
        .unwrap_err();
    assert!(absent.is_absent(), "{absent}");
    let refused = system.set_attribute(&inner, quota, "much").unwrap_err();
    assert_eq!(refused.errno().name(), "EINVAL");
    witness(&["subvolume", "rm", "cephfs", "v", "--group_name", &group]);
    until(Duration::from_secs(60), || {
        let removed = ["fs", "subvolumegroup", "rm", "cephfs", &group];
        setup.witness.json(&removed).is_ok()
    });
}

#[test]
fn who_may_not_enter_is_refused() {
    let setup = setup();
    let user = random_name("u");
    let caps = [("mon", "allow r"), ("mds", "allow r path=/volumes")];
    let key = setup.witness.user(&user, &caps).unwrap();
    let stranger = setup
        .clusters
        .connect(&monitors(&setup.witness), &credentials(&user, &key))
        .unwrap();
    let error = stranger.mount_file_system("cephfs").unwrap_err();
    assert!(error.is_denied(), "{error}");
    let removed = ["auth", "rm", &format!("client.{user}")];
    setup.witness.json(&removed).unwrap();
}

#[test]
fn its_calls_pass_the_door() {
    let setup = with_faults("fail@1:cephfs.mkdirs=EDQUOT");
    let system = mount(&setup);
    let (name, path) = group();
    let error = system.ensure_directory(&path).unwrap_err();
    assert!(error.is_full() && error.target() == path.to_str().unwrap());
    assert!(!groups(&setup).contains(&name));
    assert_eq!(setup.count("cephfs.mount"), 1);
}

#[test]
fn a_session_that_is_not_there_is_an_answer() {
    let setup = setup();
    for fs in [Some("cephfs"), None] {
        let ended = setup
            .cluster
            .end_file_system_session(fs, &random_name("nobody"));
        assert!(!ended.unwrap());
    }
    let absent = setup.cluster.end_file_system_session(Some("no-such"), "x");
    assert!(absent.is_err() || !absent.unwrap());
}
