//! The controller: the driver and the four sidecars that make and delete volumes by it.

use serde_json::{Value, json};

use super::kubernetes::{arguments, config_mount, config_volume, environment, labels, probes};
use super::rbac;
use super::target::Target;

/// The name of the Deployment and of its ServiceAccount.
pub(super) const NAME: &str = "cuttle-controller";

/// The user that all of its containers run as, so that they share the socket; none needs root.
const NOBODY: u32 = 65532;

/// A sidecar: its container's name, its value in the chart, its arguments.
const SIDECARS: [(&str, &str, &[&str]); 4] = [
    (
        "csi-provisioner",
        "sidecars.provisioner",
        &[
            "--timeout=150s",
            "--retry-interval-start=500ms",
            "--extra-create-metadata=true",
            "--default-fstype=ext4",
            "--feature-gates=HonorPVReclaimPolicy=true",
        ],
    ),
    (
        "csi-attacher",
        "sidecars.attacher",
        &["--retry-interval-start=500ms"],
    ),
    (
        "csi-resizer",
        "sidecars.resizer",
        &[
            "--timeout=150s",
            "--retry-interval-start=500ms",
            "--handle-volume-inuse-error=false",
        ],
    ),
    (
        "csi-snapshotter",
        "sidecars.snapshotter",
        &["--timeout=150s", "--extra-create-metadata=true"],
    ),
];

/// ServiceAccount, rules, Deployment, disruption budget and the service for metrics.
pub(super) fn objects(target: Target) -> Vec<Value> {
    let metadata = json!({
        "name": NAME, "namespace": target.namespace(), "labels": labels("controller"),
    });
    let mut objects = vec![json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata,
    })];
    objects.extend(rbac::objects(target));
    objects.push(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": target.value("controller.replicas"),
            "selector": {"matchLabels": labels("controller")},
            "template": {"metadata": {"labels": labels("controller")}, "spec": pod(target)},
        },
    }));
    objects.push(json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {"minAvailable": 1, "selector": {"matchLabels": labels("controller")}},
    }));
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "cuttle-controller-metrics",
            "namespace": target.namespace(),
            "labels": labels("controller"),
        },
        "spec": {
            "clusterIP": "None",
            "selector": labels("controller"),
            "ports": [{"name": "metrics", "port": target.value("controller.metricsPort")}],
        },
    }));
    objects
}

fn pod(target: Target) -> Value {
    let mut containers = vec![driver(target)];
    containers.extend(SIDECARS.map(|sidecar| self::sidecar(target, sidecar)));
    json!({
        "serviceAccountName": NAME,
        "priorityClassName": "system-cluster-critical",
        "terminationGracePeriodSeconds": 30,
        "imagePullSecrets": target.value("imagePullSecrets"),
        "nodeSelector": target.value("controller.nodeSelector"),
        "tolerations": target.value("controller.tolerations"),
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": labels("controller")},
            },
        }]}},
        "securityContext": {
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "runAsNonRoot": true,
            "fsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
        "volumes": [
            {"name": "socket", "emptyDir": {"medium": "Memory"}},
            config_volume(),
        ],
    })
}

fn unprivileged() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

fn driver(target: Target) -> Value {
    let mut arguments = arguments(target);
    arguments.extend([
        "--controllerserver=true".to_owned(),
        "--endpoint=unix:///csi/csi.sock".to_owned(),
        "--setmetadata=true".to_owned(),
        format!("--metricsport={}", target.within("controller.metricsPort")),
    ]);
    let port = target.value("controller.metricsPort");
    let (live, ready) = probes(&port);
    json!({
        "name": "driver",
        "image": target.value("image"),
        "imagePullPolicy": target.value("imagePullPolicy"),
        "args": arguments,
        "env": environment(),
        "ports": [{"name": "metrics", "containerPort": port}],
        "livenessProbe": live,
        "readinessProbe": ready,
        "resources": target.value("controller.resources"),
        "securityContext": unprivileged(),
        "volumeMounts": [{"name": "socket", "mountPath": "/csi"}, config_mount()],
    })
}

fn sidecar(target: Target, (name, image, special): (&str, &str, &[&str])) -> Value {
    let common = [
        "--csi-address=/csi/csi.sock",
        "--v=1",
        "--leader-election=true",
    ];
    let arguments: Vec<&str> = common.iter().chain(special).copied().collect();
    json!({
        "name": name,
        "image": target.value(image),
        "imagePullPolicy": target.value("imagePullPolicy"),
        "args": arguments,
        "resources": target.value("sidecars.resources"),
        "securityContext": unprivileged(),
        "volumeMounts": [{"name": "socket", "mountPath": "/csi"}],
    })
}
