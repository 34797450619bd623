//! What the controller's pod may ask of Kubernetes: the sidecars' calls and no more. The driver
//! itself asks nothing.

use serde_json::{Value, json};

use super::controller;
use super::kubernetes::labels;
use super::target::Target;

/// Rules for the whole cluster: API group, resource, verbs.
const CLUSTER: [(&str, &str, &[&str]); 11] = [
    ("", "events", &["create", "patch"]),
    (
        "",
        "persistentvolumeclaims",
        &["get", "list", "watch", "update"],
    ),
    ("", "persistentvolumeclaims/status", &["patch"]),
    (
        "",
        "persistentvolumes",
        &["get", "list", "watch", "create", "patch", "delete"],
    ),
    ("", "secrets", &["get"]),
    (
        "snapshot.storage.k8s.io",
        "volumesnapshotclasses",
        &["get", "list", "watch"],
    ),
    (
        "snapshot.storage.k8s.io",
        "volumesnapshotcontents",
        &["get", "list", "watch", "update", "patch"],
    ),
    (
        "snapshot.storage.k8s.io",
        "volumesnapshotcontents/status",
        &["update", "patch"],
    ),
    (
        "snapshot.storage.k8s.io",
        "volumesnapshots",
        &["get", "list"],
    ),
    (
        "storage.k8s.io",
        "storageclasses",
        &["get", "list", "watch"],
    ),
    (
        "storage.k8s.io",
        "volumeattachments",
        &["get", "list", "watch", "patch"],
    ),
];

/// As above; a resource of its own for the API server.
const STATUS: (&str, &str, &[&str]) = ("storage.k8s.io", "volumeattachments/status", &["patch"]);
const NODES: (&str, &str, &[&str]) = ("storage.k8s.io", "csinodes", &["get", "list", "watch"]);

/// Rules in the installation's own namespace.
const NAMESPACED: [(&str, &str, &[&str]); 1] = [(
    "coordination.k8s.io",
    "leases",
    &["get", "create", "update"],
)];

/// Roles and bindings.
pub(super) fn objects(target: Target) -> Vec<Value> {
    let rules: Vec<Value> = CLUSTER.iter().chain([&NODES, &STATUS]).map(rule).collect();
    let namespaced: Vec<Value> = NAMESPACED.iter().map(rule).collect();
    let name = controller::NAME;
    let subjects = json!([{
        "kind": "ServiceAccount", "name": name, "namespace": target.namespace(),
    }]);
    let reference =
        |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    let wide = json!({"name": name, "labels": labels("controller")});
    let narrow = json!({
        "name": name, "namespace": target.namespace(), "labels": labels("controller"),
    });
    let object = |kind: &str, metadata: &Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
        })
    };
    let with = |mut object: Value, members: [(&str, Value); 1]| {
        for (name, member) in members {
            if let Some(object) = object.as_object_mut() {
                object.insert(name.to_owned(), member);
            }
        }
        object
    };
    let binding = |kind: &str, role: &str, metadata: &Value| {
        let bound = with(object(kind, metadata), [("roleRef", reference(role))]);
        with(bound, [("subjects", subjects.clone())])
    };
    vec![
        with(object("ClusterRole", &wide), [("rules", rules.into())]),
        binding("ClusterRoleBinding", "ClusterRole", &wide),
        with(object("Role", &narrow), [("rules", namespaced.into())]),
        binding("RoleBinding", "Role", &narrow),
    ]
}

fn rule((group, resource, verbs): &(&str, &str, &[&str])) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
}
