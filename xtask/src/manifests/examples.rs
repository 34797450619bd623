//! One example for each thing that works, each complete but for the two that all others need: the
//! class and its Secret.

use serde_json::{Value, json};

use super::values;

const CLASS: &str = "cuttle-rbd";
const SNAPSHOT_CLASS: &str = "cuttle-rbd-snapshots";
const SECRET: &str = "cuttle-rbd";

/// All examples by file name.
pub(super) fn all() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        ("secret", vec![secret()]),
        ("storageclass", vec![class()]),
        (
            "volume",
            vec![claim("data", &[], &[]), pod("data", "data", false)],
        ),
        (
            "raw-block",
            vec![
                claim("raw", &[("volumeMode", json!("Block"))], &[]),
                pod("raw", "raw", true),
            ],
        ),
        (
            "one-pod-only",
            vec![
                claim("alone", &[], &["ReadWriteOncePod"]),
                pod("alone", "alone", false),
            ],
        ),
        ("ephemeral", vec![ephemeral()]),
        ("snapshotclass", vec![snapshot_class()]),
        ("snapshot", vec![snapshot()]),
        (
            "restore",
            vec![
                from(
                    "restored",
                    &json!({
                        "apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "data",
                    }),
                ),
                pod("restored", "restored", false),
            ],
        ),
        (
            "clone",
            vec![
                from(
                    "cloned",
                    &json!({"kind": "PersistentVolumeClaim", "name": "data"}),
                ),
                pod("cloned", "cloned", false),
            ],
        ),
        ("static-volume", static_volume()),
    ]
}

fn secret() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": values::NAMESPACE},
        // The Ceph user without `client.`, and what `ceph auth get-key` prints.
        "stringData": {"userID": "kubernetes", "userKey": "REPLACE-WITH-THE-KEY"},
    })
}

fn secrets(parts: &[&str]) -> serde_json::Map<String, Value> {
    let mut parameters = serde_json::Map::new();
    for part in parts {
        let key = |end: &str| format!("csi.storage.k8s.io/{part}-secret-{end}");
        parameters.insert(key("name"), SECRET.into());
        parameters.insert(key("namespace"), values::NAMESPACE.into());
    }
    parameters
}

fn class() -> Value {
    let mut parameters = secrets(&["provisioner", "controller-expand", "node-stage"]);
    for (name, value) in [
        ("clusterID", "REPLACE-WITH-THE-CLUSTER-ID"),
        ("pool", "REPLACE-WITH-THE-POOL"),
        ("imageFeatures", "layering,exclusive-lock"),
        ("csi.storage.k8s.io/fstype", "ext4"),
    ] {
        parameters.insert(name.to_owned(), value.into());
    }
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS},
        "provisioner": values::default_of("driverName"),
        "parameters": parameters,
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": true,
        "mountOptions": ["discard"],
    })
}

fn claim(name: &str, members: &[(&str, Value)], modes: &[&str]) -> Value {
    let modes = if modes.is_empty() {
        &["ReadWriteOnce"][..]
    } else {
        modes
    };
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": CLASS,
            "accessModes": modes,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    if let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) {
        for (member, value) in members {
            spec.insert((*member).to_owned(), value.clone());
        }
    }
    claim
}

fn from(name: &str, source: &Value) -> Value {
    claim(name, &[("dataSource", source.clone())], &[])
}

fn container(raw: bool) -> Value {
    let (place, command) = if raw {
        let place = json!([{"name": "data", "devicePath": "/dev/data"}]);
        (
            ("volumeDevices", place),
            "dd if=/dev/urandom of=/dev/data bs=1M count=4 && sleep 3600",
        )
    } else {
        let place = json!([{"name": "data", "mountPath": "/data"}]);
        (("volumeMounts", place), "date >> /data/log && sleep 3600")
    };
    let mut container = json!({
        "name": "user",
        "image": "busybox:1.36",
        "command": ["sh", "-c", command],
    });
    if let Some(members) = container.as_object_mut() {
        members.insert(place.0.to_owned(), place.1);
    }
    container
}

fn pod(name: &str, claim: &str, raw: bool) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "containers": [container(raw)],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
        },
    })
}

fn ephemeral() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "scratch"},
        "spec": {
            "containers": [container(false)],
            "volumes": [{"name": "data", "ephemeral": {"volumeClaimTemplate": {"spec": {
                "storageClassName": CLASS,
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            }}}}],
        },
    })
}

fn snapshot_class() -> Value {
    let mut parameters = secrets(&["snapshotter"]);
    parameters.insert("clusterID".to_owned(), "REPLACE-WITH-THE-CLUSTER-ID".into());
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotClass",
        "metadata": {"name": SNAPSHOT_CLASS},
        "driver": values::default_of("driverName"),
        "deletionPolicy": "Delete",
        "parameters": parameters,
    })
}

fn snapshot() -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": "data"},
        "spec": {
            "volumeSnapshotClassName": SNAPSHOT_CLASS,
            "source": {"persistentVolumeClaimName": "data"},
        },
    })
}

/// An image that was made by hand; it is never deleted by the driver.
fn static_volume() -> Vec<Value> {
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "by-hand"},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "csi": {
                "driver": values::default_of("driverName"),
                // The name of the image.
                "volumeHandle": "by-hand",
                "fsType": "ext4",
                "nodeStageSecretRef": {"name": SECRET, "namespace": values::NAMESPACE},
                "volumeAttributes": {
                    "staticVolume": "true",
                    "clusterID": "REPLACE-WITH-THE-CLUSTER-ID",
                    "pool": "REPLACE-WITH-THE-POOL",
                    "imageFeatures": "layering",
                },
            },
        },
    });
    let claim = claim(
        "by-hand",
        &[
            ("storageClassName", json!("")),
            ("volumeName", json!("by-hand")),
        ],
        &[],
    );
    vec![volume, claim]
}
