//! Arguments and environment, in the old tool's spelling and in ours.

use std::collections::BTreeMap;

use super::*;

const ENVIRONMENT: [(&str, &str); 3] = [
    ("CEPH_MON", "10.0.0.1:6789,10.0.0.2:6789"),
    ("CEPH_AUTH_ID", "admin"),
    ("CEPH_AUTH_KEY", "AQBmarker=="),
];

fn read_with(
    caller: Caller,
    arguments: &str,
    more: &[(&str, &str)],
) -> Result<ShareCommand, UsageError> {
    let all: BTreeMap<&str, &str> = ENVIRONMENT.iter().chain(more).copied().collect();
    let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
    let environment = |name: &str| all.get(name).map(|value| (*value).to_owned());
    ShareCommand::read(caller, &arguments, &environment)
}

fn action(caller: Caller, arguments: &str) -> Action {
    read_with(caller, arguments, &[]).unwrap().action
}

fn create(size: Option<u64>, isolated: bool) -> Action {
    Action::Create {
        share: ShareName::new("a-b").unwrap(),
        user: UserId::new("c_d").unwrap(),
        size: size.map(ByteSize::from_bytes),
        isolated,
    }
}

#[test]
fn both_spellings_mean_the_same() {
    for (new, old) in [
        ("create -n a-b -u c_d", "-n a-b -u c_d"),
        ("create -na-b -uc_d", "-u c_d -n a-b"),
    ] {
        assert_eq!(action(Caller::Cuttle, new), create(None, true));
        assert_eq!(action(Caller::OldTool, old), create(None, true));
    }
    let sized = "-n a-b -u c_d -s 1048576";
    assert_eq!(action(Caller::OldTool, sized), create(Some(1 << 20), true));
    let delete = Action::Delete {
        share: ShareName::new("a-b").unwrap(),
        user: UserId::new("c_d").unwrap(),
    };
    assert_eq!(action(Caller::Cuttle, "delete -n a-b -u c_d"), delete);
    assert_eq!(action(Caller::OldTool, "-r -n a-b -u c_d"), delete);
    assert_eq!(action(Caller::OldTool, "-n a-b --remove -u c_d"), delete);
    let list = |every_group| Action::List { every_group };
    assert_eq!(action(Caller::Cuttle, "list"), list(false));
    assert_eq!(action(Caller::Cuttle, "list --all-groups"), list(true));
}

#[test]
fn the_environment_says_where_and_as_whom() {
    let command = read_with(Caller::OldTool, "-n a-b -u c_d", &[]).unwrap();
    assert_eq!(command.place.root.as_str(), "/volumes");
    assert_eq!(command.place.group.as_str(), "kubernetes");
    assert_eq!(command.monitors.addresses().len(), 2);
    assert_eq!(command.credentials.key.expose(), "AQBmarker==");
    assert_eq!(command.cluster_name, "ceph");
    assert!(!format!("{command:?}").contains("marker"));
    let more = [
        ("CEPH_VOLUME_ROOT", "/volumes/kubernetes"),
        ("CEPH_VOLUME_GROUP", "namespace-1"),
        ("CEPH_CLUSTER_NAME", "site_a"),
        ("CEPH_NAMESPACE_ISOLATION_DISABLED", ""),
    ];
    let command = read_with(Caller::OldTool, "-n a-b -u c_d", &more).unwrap();
    assert_eq!(command.place.root.as_str(), "/volumes/kubernetes");
    assert_eq!(command.place.group.as_str(), "namespace-1");
    assert_eq!(command.cluster_name, "site_a");
    assert_eq!(command.action, create(None, false));
}

#[test]
fn all_mistakes_are_told_at_once_without_the_key() {
    let more = [
        ("CEPH_MON", ","),
        ("CEPH_AUTH_ID", "client.admin"),
        ("CEPH_VOLUME_ROOT", "volumes"),
        ("CEPH_VOLUME_GROUP", "_deleting"),
        ("CEPH_CLUSTER_NAME", "../x"),
    ];
    let wrong = "create -n a/b -s 1G --frob -u";
    let error = read_with(Caller::Cuttle, wrong, &more).unwrap_err();
    let told = error.to_string();
    for part in [
        "\"--frob\" is not a known argument",
        "-u needs a value",
        "-n: share name \"a/b\" must not contain '/'",
        "-u is required",
        "-s must be a number of bytes",
        "CEPH_MON: ",
        "CEPH_AUTH_ID: ",
        "CEPH_VOLUME_ROOT: ",
        "CEPH_VOLUME_GROUP: ",
        "CEPH_CLUSTER_NAME must be",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert!(!told.contains("marker"), "{told}");
    for wrong in [
        "",
        "make -n a -u b",
        "create -u b",
        "list -n a",
        "delete --all-groups -n a -u b",
    ] {
        read_with(Caller::Cuttle, wrong, &[]).unwrap_err();
    }
    for wrong in [
        "",
        "-n a",
        "create -n a -u b",
        "-n a -u b -s 0",
        "-n a -u b -s -1",
    ] {
        read_with(Caller::OldTool, wrong, &[]).unwrap_err();
    }
}

#[test]
fn a_key_file_wins_and_keeps_the_key_out_of_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, "AQBother==\n").unwrap();
    let arguments = format!("list --key-file={}", file.display());
    let command = read_with(Caller::Cuttle, &arguments, &[]).unwrap();
    assert_eq!(command.credentials.key.expose(), "AQBother==");
    let absent = format!("list --key-file={}", directory.path().join("no").display());
    let told = read_with(Caller::Cuttle, &absent, &[])
        .unwrap_err()
        .to_string();
    assert!(told.contains("--key-file: "), "{told}");
}
