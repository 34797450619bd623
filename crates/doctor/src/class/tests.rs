//! Classes in order, and with one mistake each.

use cuttle_model::{ClusterSettings, Monitors};
use serde_json::json;

use super::*;

/// Severity, check and evidence.
type Wrong = (Severity, &'static str, String);

fn table() -> ClusterTable {
    let monitors = Monitors::new(vec!["10.0.0.1".to_owned()]).unwrap();
    ClusterTable::new([ClusterSettings::new(
        ClusterId::new("east").unwrap(),
        monitors,
    )])
}

/// A class in order.
fn class() -> Value {
    let mut parameters = serde_json::Map::new();
    parameters.insert("clusterID".to_owned(), "east".into());
    parameters.insert("pool".to_owned(), "rbd".into());
    for part in ["provisioner", "controller-expand", "node-stage"] {
        let key = |end| format!("csi.storage.k8s.io/{part}-secret-{end}");
        parameters.insert(key("name"), "csi".into());
        parameters.insert(key("namespace"), "storage".into());
    }
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "block"},
        "provisioner": "rbd.csi.ceph.com", "allowVolumeExpansion": true, "parameters": parameters,
    })
}

fn secret() -> Value {
    json!({
        "kind": "Secret", "metadata": {"name": "csi", "namespace": "storage"},
        "data": {"userID": "Y3Np", "userKey": "TUFSS0VS"},
    })
}

fn found(document: &Value) -> Vec<Wrong> {
    let mut report = Report::default();
    assert_eq!(classes(document, Some(&table()), &mut report), 1);
    let findings = report.findings.into_iter();
    findings
        .filter(|finding| finding.severity != Severity::Good)
        .map(|finding| (finding.severity, finding.check.id(), finding.evidence))
        .collect()
}

/// The class with one change, and what is found.
fn changed(change: impl FnOnce(&mut Value)) -> Vec<Wrong> {
    let mut class = class();
    change(&mut class);
    found(&class)
}

fn key(end: &str) -> String {
    format!("csi.storage.k8s.io/{end}")
}

#[test]
fn what_is_in_order_is_left_alone() {
    assert_eq!(found(&class()), []);
    assert_eq!(found(&json!({"items": [class(), secret()]})), []);
    let mut report = Report::default();
    let other = json!({"kind": "StorageClass", "provisioner": "ebs.csi.aws.com"});
    assert_eq!(classes(&other, None, &mut report), 0);
    assert_eq!(report, Report::default());
}

#[test]
fn each_mistake_is_named() {
    let cases: [(&str, &str, Vec<Wrong>); 7] = [
        (
            "class-parameters",
            "imageFeaturs",
            changed(|c| c["parameters"]["imageFeaturs"] = "layering".into()),
        ),
        (
            "class-parameters",
            "pool",
            changed(|c| c["parameters"]["pool"] = "".into()),
        ),
        (
            "class-parameters",
            "node-stage-secret-nam",
            changed(|c| c["parameters"][key("node-stage-secret-nam")] = "x".into()),
        ),
        (
            "class-cluster",
            "west",
            changed(|c| c["parameters"]["clusterID"] = "west".into()),
        ),
        (
            "class-secrets",
            "controller-expand-secret-namespace",
            changed(|c| {
                c["parameters"]
                    .as_object_mut()
                    .unwrap()
                    .remove(&key("controller-expand-secret-namespace"));
            }),
        ),
        (
            "class-options",
            "btrfs",
            changed(|c| c["parameters"][key("fstype")] = "btrfs".into()),
        ),
        (
            "class-options",
            "_netdev",
            changed(|c| c["mountOptions"] = json!(["noatime", "_netdev"])),
        ),
    ];
    for (check, word, found) in cases {
        assert_eq!(found.len(), 1, "{word}: {found:?}");
        assert_eq!(found[0].1, check);
        assert!(found[0].2.contains(word), "{found:?}");
    }
}

#[test]
fn a_secret_for_growing_is_needed_only_by_those_that_grow() {
    let found = changed(|c| {
        c["allowVolumeExpansion"] = false.into();
        c["parameters"]
            .as_object_mut()
            .unwrap()
            .remove(&key("controller-expand-secret-name"));
    });
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].0, found[0].1), (Severity::Note, "class-options"));
}

#[test]
fn secrets_beside_the_class_are_looked_into_and_never_shown() {
    let mut wrong = secret();
    wrong["data"] = json!({"userID": "Y3Np", "adminKey": "TUFSS0VS"});
    let without_key = found(&json!({"items": [class(), wrong]}));
    assert_eq!(without_key.len(), 3);
    for (_, check, evidence) in without_key {
        assert_eq!(check, "class-secrets");
        assert!(evidence.ends_with("has no userKey"), "{evidence}");
        assert!(!evidence.contains("TUFSS0VS"));
    }
    let mut elsewhere = secret();
    elsewhere["metadata"]["namespace"] = "default".into();
    assert_eq!(found(&json!({"items": [class(), elsewhere]})).len(), 3);
}

#[test]
fn cephfs_is_made_by_an_administrator() {
    let mut cephfs = class();
    cephfs["provisioner"] = "rook.cephfs.csi.ceph.com".into();
    let parameters = cephfs["parameters"].as_object_mut().unwrap();
    parameters.remove("pool");
    parameters.insert("fsName".to_owned(), "cephfs".into());
    assert_eq!(found(&cephfs), []);
    let list = found(&json!({"items": [cephfs, secret()]}));
    assert_eq!(list.len(), 2, "{list:?}");
    assert!(
        list[0].2.ends_with("has no adminID and no adminKey"),
        "{list:?}"
    );
}

#[test]
fn snapshot_classes_have_secrets_of_their_own() {
    let list = found(&json!({
        "kind": "VolumeSnapshotClass", "metadata": {"name": "snap"}, "driver": "rbd.csi.ceph.com",
        "parameters": {"clusterID": "east"},
    }));
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(list[0].1, "class-secrets");
}
