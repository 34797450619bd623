//! `config.json`: the whole form, every mistake with its path, and hostile text.

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Reading {
    Reading::parse(text).unwrap()
}

fn mistakes(text: &str) -> Vec<String> {
    parse(text)
        .mistakes
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn warnings(text: &str) -> Vec<String> {
    let reading = parse(text);
    assert_eq!(reading.mistakes, []);
    reading.warnings.iter().map(ToString::to_string).collect()
}

const FULL: &str = r#"[{
    "clusterID": "a",
    "namespace": "rook-ceph",
    "monitors": ["10.0.0.1:6789", "10.0.0.2:6789"],
    "fsid": "2F0F0F60-7a2c-4a0b-9f0c-6c5d3d8a1b2e",
    "rbd": {
        "radosNamespace": "team",
        "netNamespaceFilePath": "/var/run/netns/x",
        "mirrorDaemonCount": 2,
        "listing": {"credentialsDirectory": "/etc/listing", "pools": ["rbd", "fast"]}
    },
    "cephFS": {
        "subvolumeGroup": "group",
        "radosNamespace": "ns",
        "netNamespaceFilePath": "/n",
        "kernelMountOptions": "noatime",
        "fuseMountOptions": "debug",
        "createSubvolumeGroup": true,
        "listing": {"credentialsDirectory": "/etc/fs", "fileSystems": ["cephfs"]}
    },
    "nfs": {"netNamespaceFilePath": "/m"},
    "readAffinity": {"enabled": true, "crushLocationLabels": ["x/zone"]}
}]"#;

#[test]
fn every_member_is_read() {
    let reading = parse(FULL);
    assert_eq!((&reading.mistakes, &reading.warnings), (&vec![], &vec![]));
    let cluster = reading.entries[0].settings.as_ref().unwrap();
    assert_eq!(cluster.monitors.joined(), "10.0.0.1:6789,10.0.0.2:6789");
    let fsid = cluster.fsid.unwrap().to_string();
    assert_eq!(fsid, "2f0f0f60-7a2c-4a0b-9f0c-6c5d3d8a1b2e");
    assert_eq!(cluster.rbd.namespace.as_str(), "team");
    assert_eq!(cluster.rbd.mirror_daemon_count, 2);
    let listing = cluster.rbd.listing.as_ref().unwrap();
    assert_eq!(
        listing.credentials_directory,
        std::path::Path::new("/etc/listing")
    );
    assert_eq!(listing.pools.len(), 2);
    assert_eq!(cluster.cephfs.subvolume_group.as_str(), "group");
    assert!(cluster.cephfs.create_subvolume_group);
    let listing = cluster.cephfs.listing.as_ref().unwrap();
    assert_eq!(listing.file_systems[0].as_str(), "cephfs");
    assert_eq!(cluster.cephfs.namespace.as_str(), "ns");
    assert_eq!(cluster.cephfs.kernel_mount_options, "noatime");
    assert_eq!(
        cluster.nfs.net_namespace_file.as_deref(),
        Some(std::path::Path::new("/m"))
    );
    assert!(cluster.read_affinity.enabled);
    assert_eq!(cluster.read_affinity.crush_location_labels, ["x/zone"]);
}

#[test]
fn what_is_absent_null_or_empty_has_its_default() {
    for text in [
        r#"[{"clusterID":"a","monitors":["m"]}]"#,
        r#"[{"clusterID":"a","monitors":["m"],"rbd":null,"cephFS":{},"nfs":{},"readAffinity":{}}]"#,
        r#"[{"clusterID":"a","monitors":["m"],
            "rbd":{"radosNamespace":"","netNamespaceFilePath":"","mirrorDaemonCount":0},
            "cephFS":{"subvolumeGroup":"","radosNamespace":null}}]"#,
    ] {
        let reading = parse(text);
        let found = reading.entries[0].settings.clone().unwrap();
        assert_eq!(
            found,
            ClusterSettings::new(found.id.clone(), found.monitors.clone()),
            "{text}"
        );
    }
    assert_eq!(parse("[]"), Reading::default());
    assert_eq!(parse("null"), Reading::default());
}

#[test]
fn every_mistake_is_told_with_its_path() {
    let text = r#"[
        {"clusterID":"good","monitors":["m"]},
        {"clusterID":7,"monitors":"m","fsid":"rook",
         "rbd":{"radosNamespace":"a/b","netNamespaceFilePath":"netns","mirrorDaemonCount":"x",
                "listing":{"pools":["p/q", 3]}},
         "cephFS":[], "nfs":{"netNamespaceFilePath":1},
         "readAffinity":{"enabled":"maybe","crushLocationLabels":{}}},
        {"monitors":[]},
        "c",
        {"clusterID":"b","monitors":["m",""],"rbd":{"mirrorDaemonCount":-1,"listing":{}},
         "cephFS":{"subvolumeGroup":"_x","createSubvolumeGroup":1,
                   "listing":{"credentialsDirectory":"/d"}}}
    ]"#;
    assert_eq!(
        mistakes(text),
        [
            "$[1].clusterID: must be a string, got 7",
            "$[1].monitors: must be an array of strings, got \"m\"",
            "$[1].fsid: must be a UUID with hyphens, as `ceph fsid` prints it, got \"rook\"",
            "$[1].rbd.radosNamespace: must not contain '/'",
            "$[1].rbd.netNamespaceFilePath: must be an absolute path without \"..\", got \"netns\"",
            "$[1].rbd.mirrorDaemonCount: must be a number, got \"x\"",
            "$[1].rbd.listing.credentialsDirectory: is missing: it is the directory with the \
             files userID and userKey",
            "$[1].rbd.listing.pools[1]: must be a string, got 3",
            "$[1].rbd.listing.pools[0]: must not contain '/'",
            "$[1].cephFS: must be an object, got an array",
            "$[1].nfs.netNamespaceFilePath: must be a string, got 1",
            "$[1].readAffinity.enabled: must be true or false, got \"maybe\"",
            "$[1].readAffinity.crushLocationLabels: must be an array of strings, got an object",
            "$[2].clusterID: must not be empty",
            "$[2].monitors: must name at least one monitor",
            "$[3]: must be an object, got \"c\"",
            "$[4].monitors: has \"\", which is no monitor address",
            "$[4].rbd.mirrorDaemonCount: must be a whole number from 0 to 4294967295, got -1",
            "$[4].rbd.listing.credentialsDirectory: is missing: it is the directory with the \
             files userID and userKey",
            "$[4].rbd.listing.pools: must name at least one pool",
            "$[4].cephFS.subvolumeGroup: must not begin with '_'",
            "$[4].cephFS.createSubvolumeGroup: must be true or false, got 1",
            "$[4].cephFS.listing.fileSystems: must name at least one file system",
        ]
    );
    let table = parse(text).into_table(&ClusterTable::default());
    let ids: Vec<_> = table.iter().map(|cluster| cluster.id.as_str()).collect();
    assert_eq!(ids, ["good"]);
}

#[test]
fn oddities_are_told_and_do_no_harm() {
    assert_eq!(
        warnings(
            r#"[{"clusterID":"a","Monitors":["m"],"rdb":{},"quux":1,
                 "readAffinity":{"enabled":"false"}},
                {"clusterID":"a","monitors":["n"]}]"#
        ),
        [
            "$[0].Monitors: is read as monitors",
            "$[0].quux: is not known and ignored",
            "$[0].rdb: is not known and ignored; did you mean rbd?",
            "$[0].readAffinity.enabled: is a string, read as false; write it without quotation \
             marks",
            "$[1].clusterID: repeats \"a\" of $[0], which is the one that counts",
        ]
    );
}

#[test]
fn what_is_no_list_is_refused_as_a_whole() {
    assert_eq!(
        Reading::parse("{}").unwrap_err().to_string(),
        "$: must be an array of clusters, got an object"
    );
    let syntax = Reading::parse("[{]").unwrap_err();
    assert!(syntax.to_string().contains("line 1"), "{syntax}");
    Reading::parse(&"[".repeat(100_000)).unwrap_err();
}

fn json() -> impl Strategy<Value = Value> {
    let names = [
        "clusterID",
        "monitors",
        "rbd",
        "listing",
        "pools",
        "enabled",
        "readAffinity",
        "x",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(proptest::sample::select(names.to_vec()), inner, 0..6)
                .prop_map(|map| {
                    Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
                }),
        ]
    })
}

proptest! {
    #[test]
    fn hostile_text_never_panics(text in any::<String>()) {
        if let Ok(reading) = Reading::parse(&text) {
            prop_assert_eq!(reading.mistakes.is_empty(), reading.entries.iter().all(|e| e.settings.is_some()));
        }
    }

    #[test]
    fn an_entry_is_used_exactly_when_nothing_is_wrong(entries in proptest::collection::vec(json(), 0..4)) {
        let text = Value::from(entries).to_string();
        let reading = Reading::parse(&text).unwrap();
        for (index, entry) in reading.entries.iter().enumerate() {
            let place = format!("$[{index}]");
            let wrong = reading.mistakes.iter().any(|finding| finding.path.starts_with(&place));
            prop_assert_eq!(entry.settings.is_none(), wrong);
        }
    }
}
