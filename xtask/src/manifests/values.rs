//! What an installation may choose, and the defaults.

use serde_json::{Value, json};

use super::HEAD;

/// The namespace of the plain manifests.
pub(super) const NAMESPACE: &str = "cuttle";

/// Every value of the chart with its default and what it is for.
pub(super) fn all() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        (
            "clusters",
            json!([]),
            "The Ceph clusters: the content of config.json, see docs/configuration.md. Example:\n\
             [{\"clusterID\": \"east\", \"monitors\": [\"10.0.0.1:6789\", \"10.0.0.2:6789\"]}]",
        ),
        (
            "image",
            json!("cuttle:0.1.0"),
            "The driver's image, made with deploy/Dockerfile. None is published yet.",
        ),
        ("imagePullPolicy", json!("IfNotPresent"), ""),
        (
            "imagePullSecrets",
            json!([]),
            "Secrets with which images are pulled: [{\"name\": \"…\"}]",
        ),
        (
            "driverName",
            json!("rbd.csi.ceph.com"),
            "Volumes and StorageClasses name the driver by this; never change it afterwards.",
        ),
        (
            "clusterName",
            json!(""),
            "Written on images, so that those of several Kubernetes clusters can be told apart.",
        ),
        (
            "instanceID",
            json!("default"),
            "Suffix of the journal's objects; another one for each Kubernetes cluster that shares a pool.",
        ),
        (
            "verbosity",
            json!(1),
            "Up to 3 information, 4 and 5 each outside call.",
        ),
        ("logFormat", json!("text"), "text or json"),
        (
            "kubeletDir",
            json!("/var/lib/kubelet"),
            "The real path of kubelet's directory: k0s has /var/lib/k0s/kubelet, microk8s\n\
             /var/snap/microk8s/common/var/lib/kubelet.",
        ),
        (
            "controller",
            json!({
                "replicas": 2,
                "metricsPort": 8680,
                "resources": {"requests": {"cpu": "10m", "memory": "40Mi"}},
                "nodeSelector": {},
                "tolerations": [],
            }),
            "Two replicas; the sidecars agree on who works by Leases.",
        ),
        (
            "node",
            json!({
                "metricsPort": 8681,
                "resources": {"requests": {"cpu": "10m", "memory": "40Mi"}},
                "nodeSelector": {},
                "tolerations": [{"operator": "Exists"}],
            }),
            "The port is one of the node's own, since the plugin uses the node's network.",
        ),
        (
            "sidecars",
            json!({
                "provisioner": "registry.k8s.io/sig-storage/csi-provisioner:v5.2.0",
                "attacher": "registry.k8s.io/sig-storage/csi-attacher:v4.8.0",
                "resizer": "registry.k8s.io/sig-storage/csi-resizer:v1.13.1",
                "snapshotter": "registry.k8s.io/sig-storage/csi-snapshotter:v8.2.0",
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            }),
            "Images of the standard sidecars.",
        ),
    ]
}

/// The default of a value, by its path in the chart.
pub(super) fn default_of(path: &str) -> Value {
    let mut parts = path.split('.');
    let first = parts.next().unwrap_or_default();
    let found = all().into_iter().find(|(name, _, _)| *name == first);
    let mut value = found.map_or(Value::Null, |(_, value, _)| value);
    for part in parts {
        value = value.get(part).cloned().unwrap_or_default();
    }
    value
}

/// The chart's `values.yaml`, with what each value is for.
pub(super) fn text() -> String {
    let mut text = HEAD.to_owned();
    for (name, value, about) in all() {
        text.push('\n');
        for line in about.lines() {
            text.push_str(&format!("# {line}\n"));
        }
        text.push_str(&super::yaml::text(&json!({ name: value })));
    }
    text
}

/// The chart's `Chart.yaml`.
pub(super) fn chart() -> Value {
    json!({
        "apiVersion": "v2",
        "name": "cuttle",
        "description": "Ceph RBD volumes for Kubernetes",
        "type": "application",
        "version": env!("CARGO_PKG_VERSION"),
        "appVersion": env!("CARGO_PKG_VERSION"),
        "kubeVersion": ">=1.30.0-0",
    })
}
