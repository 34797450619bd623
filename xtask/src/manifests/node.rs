//! The node plugin: one privileged container that mounts, and registers itself with kubelet.

use serde_json::{Value, json};

use super::kubernetes::{
    arguments, config_mount, config_volume, environment, host_path, labels, probes,
};
use super::target::Target;

/// The name of the DaemonSet and of its ServiceAccount.
pub(super) const NAME: &str = "cuttle-node";

/// ServiceAccount and DaemonSet. The plugin asks Kubernetes nothing, so its account has no rules and
/// no token.
pub(super) fn objects(target: Target) -> Vec<Value> {
    let metadata = json!({
        "name": NAME, "namespace": target.namespace(), "labels": labels("node"),
    });
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata,
            "automountServiceAccountToken": false,
        }),
        json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": metadata,
            "spec": {
                "selector": {"matchLabels": labels("node")},
                "updateStrategy": {
                    "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1},
                },
                "template": {"metadata": {"labels": labels("node")}, "spec": pod(target)},
            },
        }),
    ]
}

/// The node's network: the kernel reaches Ceph from there. The node's processes: whoever keeps a
/// volume in use is named in errors.
fn pod(target: Target) -> Value {
    let kubelet = target.within("kubeletDir");
    let plugin = format!("{kubelet}/plugins/{}", target.within("driverName"));
    json!({
        "serviceAccountName": NAME,
        "automountServiceAccountToken": false,
        "priorityClassName": "system-node-critical",
        "terminationGracePeriodSeconds": 30,
        "hostNetwork": true,
        "hostPID": true,
        "dnsPolicy": "ClusterFirstWithHostNet",
        "imagePullSecrets": target.value("imagePullSecrets"),
        "nodeSelector": target.value("node.nodeSelector"),
        "tolerations": target.value("node.tolerations"),
        "containers": [driver(target)],
        "volumes": [
            host_path("socket", &plugin, "DirectoryOrCreate"),
            host_path("registration", &format!("{kubelet}/plugins_registry"), "Directory"),
            host_path("plugins", &format!("{kubelet}/plugins"), "Directory"),
            host_path("pods", &format!("{kubelet}/pods"), "Directory"),
            host_path("dev", "/dev", "Directory"),
            host_path("sys", "/sys", "Directory"),
            host_path("modules", "/lib/modules", "DirectoryOrCreate"),
            config_volume(),
        ],
    })
}

fn driver(target: Target) -> Value {
    let kubelet = target.within("kubeletDir");
    let name = target.within("driverName");
    let mut arguments = arguments(target);
    arguments.extend([
        "--nodeserver=true".to_owned(),
        "--endpoint=unix:///csi/csi.sock".to_owned(),
        "--registration-dir=/registration".to_owned(),
        format!("--kubelet-registration-path={kubelet}/plugins/{name}/csi.sock"),
        format!("--metricsport={}", target.within("node.metricsPort")),
    ]);
    let port = target.value("node.metricsPort");
    let (live, ready) = probes(&port);
    let own = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    let shared = |name: &str| {
        json!({
            "name": name,
            "mountPath": format!("{kubelet}/{name}"),
            "mountPropagation": "Bidirectional",
        })
    };
    json!({
        "name": "driver",
        "image": target.value("image"),
        "imagePullPolicy": target.value("imagePullPolicy"),
        "args": arguments,
        "env": environment(),
        "ports": [{"name": "metrics", "containerPort": port}],
        "livenessProbe": live,
        "readinessProbe": ready,
        "resources": target.value("node.resources"),
        // Kubernetes allows Bidirectional mounts to privileged containers only.
        "securityContext": {"privileged": true},
        "volumeMounts": [
            own("socket", "/csi"),
            own("registration", "/registration"),
            shared("plugins"),
            shared("pods"),
            own("dev", "/dev"),
            own("sys", "/sys"),
            {"name": "modules", "mountPath": "/lib/modules", "readOnly": true},
            config_mount(),
        ],
    })
}
