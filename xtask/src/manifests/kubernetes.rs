//! What the whole installation shares: namespace, CSIDriver, configuration, and the overlay over an
//! installation of ceph-csi.

use serde_json::{Value, json};

use super::target::Target;
use super::values;

/// The ConfigMap with `config.json`; ceph-csi's name, so that one that exists is used.
pub(super) const CONFIG: &str = "ceph-csi-config";

/// The labels of every object.
pub(super) fn labels(component: &str) -> Value {
    json!({
        "app.kubernetes.io/name": "cuttle",
        "app.kubernetes.io/component": component,
    })
}

/// The namespace; nodes' pods are privileged.
pub(super) fn namespace() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": values::NAMESPACE,
            "labels": {
                "app.kubernetes.io/name": "cuttle",
                "pod-security.kubernetes.io/enforce": "privileged",
            },
        },
    })
}

/// CSIDriver and configuration.
pub(super) fn objects(target: Target) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIDriver",
            "metadata": {"name": target.value("driverName"), "labels": labels("driver")},
            "spec": {
                "attachRequired": true,
                "podInfoOnMount": false,
                "fsGroupPolicy": "File",
                "seLinuxMount": true,
                "volumeLifecycleModes": ["Persistent"],
            },
        }),
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": CONFIG,
                "namespace": target.namespace(),
                "labels": labels("configuration"),
            },
            "data": {"config.json": target.file("clusters")},
        }),
    ]
}

/// An overlay for kustomize: ceph-csi's own manifests of RBD with another image. Names, sockets,
/// flags and the driver's name stay. One container goes: the journal needs no controller.
pub(super) fn overlay() -> Value {
    let image = values::default_of("image");
    let image = image.as_str().unwrap_or_default();
    let (name, tag) = image.split_once(':').unwrap_or((image, "latest"));
    let patch = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "csi-rbdplugin-provisioner"},
        "spec": {"template": {"spec": {"containers": [
            {"name": "csi-rbdplugin-controller", "$patch": "delete"},
        ]}}},
    });
    json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["csi-rbdplugin-provisioner.yaml", "csi-rbdplugin.yaml"],
        "images": [{"name": "quay.io/cephcsi/cephcsi", "newName": name, "newTag": tag}],
        "patches": [{"patch": patch.to_string()}],
    })
}

/// The arguments that controller and nodes share.
pub(super) fn arguments(target: Target) -> Vec<String> {
    let flags = [
        ("type", "rbd".to_owned()),
        ("nodeid", "$(NODE_ID)".to_owned()),
        ("drivername", target.within("driverName")),
        ("instanceid", target.within("instanceID")),
        ("clustername", target.within("clusterName")),
        ("v", target.within("verbosity")),
        ("log-format", target.within("logFormat")),
    ];
    let flags = flags
        .into_iter()
        .map(|(name, value)| format!("--{name}={value}"));
    std::iter::once("serve".to_owned()).chain(flags).collect()
}

/// The environment that the arguments refer to; metrics are served on the pod's address.
pub(super) fn environment() -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    json!([
        field("NODE_ID", "spec.nodeName"),
        field("POD_IP", "status.podIP")
    ])
}

/// Probes of the driver, by its own pages.
pub(super) fn probes(port: &Value) -> (Value, Value) {
    let get = |path: &str| json!({"path": path, "port": port});
    let live = json!({
        "httpGet": get("/healthz"),
        "initialDelaySeconds": 10,
        "periodSeconds": 30,
        "timeoutSeconds": 5,
        "failureThreshold": 5,
    });
    let ready = json!({"httpGet": get("/readyz"), "periodSeconds": 10, "timeoutSeconds": 5});
    (live, ready)
}

/// The volume of a directory of the node.
pub(super) fn host_path(name: &str, path: &str, kind: &str) -> Value {
    json!({"name": name, "hostPath": {"path": path, "type": kind}})
}

/// The volume of the configuration.
pub(super) fn config_volume() -> Value {
    json!({"name": "config", "configMap": {"name": CONFIG}})
}

/// Where the configuration is mounted.
pub(super) fn config_mount() -> Value {
    json!({"name": "config", "mountPath": "/etc/ceph-csi-config", "readOnly": true})
}
