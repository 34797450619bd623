//! Who asks Kubernetes for what, and which rules are granted: exactly the same.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata};
use serde_json::Value;

use super::{one, plain};
use crate::check;
use crate::environment::workspace_root;

/// The calls of each component: API group, resource, verbs. The sidecars' are those of their
/// documented rules, without what the manifests or the driver leave out:
///
/// * nodes and csinodes of the provisioner, for topology, which the driver does not offer;
/// * volumeattachments of the provisioner, for drivers that publish;
/// * pods of the resizer (`--handle-volume-inuse-error=false`);
/// * groups of the snapshotter (`--enable-volume-group-snapshots` is not set);
/// * reading and replacing events: client-go's recorder makes and patches them;
/// * listing Secrets: each is asked for by its name;
/// * watching, listing and deleting Leases: client-go's election gets, makes and updates its own.
type Calls = &'static [(&'static str, &'static str, &'static [&'static str])];
const PROVISIONER: Calls = &[
    (
        "",
        "persistentvolumes",
        &["get", "list", "watch", "create", "patch", "delete"],
    ),
    (
        "",
        "persistentvolumeclaims",
        &["get", "list", "watch", "update"],
    ),
    (
        "storage.k8s.io",
        "storageclasses",
        &["get", "list", "watch"],
    ),
    (
        "snapshot.storage.k8s.io",
        "volumesnapshots",
        &["get", "list"],
    ),
    (
        "snapshot.storage.k8s.io",
        "volumesnapshotcontents",
        &["get", "list"],
    ),
    ("", "secrets", &["get"]),
    ("", "events", &["create", "patch"]),
];
const ATTACHER: Calls = &[
    ("", "persistentvolumes", &["get", "list", "watch", "patch"]),
    ("storage.k8s.io", "csinodes", &["get", "list", "watch"]),
    (
        "storage.k8s.io",
        "volumeattachments",
        &["get", "list", "watch", "patch"],
    ),
    ("storage.k8s.io", "volumeattachments/status", &["patch"]),
];
const RESIZER: Calls = &[
    ("", "persistentvolumes", &["get", "list", "watch", "patch"]),
    ("", "persistentvolumeclaims", &["get", "list", "watch"]),
    ("", "persistentvolumeclaims/status", &["patch"]),
    ("", "secrets", &["get"]),
    ("", "events", &["create", "patch"]),
];
const SNAPSHOTTER: Calls = &[
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
    ("", "secrets", &["get"]),
    ("", "events", &["create", "patch"]),
];
const ELECTION: Calls = &[(
    "coordination.k8s.io",
    "leases",
    &["get", "create", "update"],
)];

const COMPONENTS: [(&str, Calls); 4] = [
    ("csi-provisioner", PROVISIONER),
    ("csi-attacher", ATTACHER),
    ("csi-resizer", RESIZER),
    ("csi-snapshotter", SNAPSHOTTER),
];

/// (group, resource) to verbs.
type Rules = BTreeMap<(String, String), BTreeSet<String>>;

fn made(calls: Calls, rules: &mut Rules) {
    for (group, resource, verbs) in calls {
        let key = ((*group).to_owned(), (*resource).to_owned());
        rules
            .entry(key)
            .or_default()
            .extend(verbs.iter().map(|&verb| verb.to_owned()));
    }
}

fn granted(role: &Value) -> Rules {
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().unwrap().iter();
        items
            .map(|item| item.as_str().unwrap().to_owned())
            .collect()
    };
    let mut rules = Rules::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let verbs = rules.entry((group.clone(), resource)).or_default();
                verbs.extend(texts(&rule["verbs"]));
            }
        }
    }
    rules
}

#[test]
fn the_controller_may_do_what_its_sidecars_do_and_no_more() {
    let objects = plain();
    let mut wide = Rules::new();
    for (_, calls) in COMPONENTS {
        made(calls, &mut wide);
    }
    assert_eq!(
        granted(one(&objects, "ClusterRole", "cuttle-controller")),
        wide
    );
    let mut own = Rules::new();
    made(ELECTION, &mut own);
    assert_eq!(granted(one(&objects, "Role", "cuttle-controller")), own);
}

#[test]
fn the_sidecars_are_those_whose_calls_are_known_and_leave_out_what_is_not_granted() {
    let objects = plain();
    let deployment = one(&objects, "Deployment", "cuttle-controller");
    let containers = deployment["spec"]["template"]["spec"]["containers"]
        .as_array()
        .unwrap();
    let names: BTreeSet<&str> = containers
        .iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect();
    let mut known: BTreeSet<&str> = COMPONENTS.iter().map(|(name, _)| *name).collect();
    known.insert("driver");
    assert_eq!(names, known);
    let arguments = |name: &str| {
        let container = containers
            .iter()
            .find(|container| container["name"] == name)
            .unwrap();
        container["args"].to_string()
    };
    assert!(arguments("csi-resizer").contains("--handle-volume-inuse-error=false"));
    assert!(!arguments("csi-snapshotter").contains("group-snapshots"));
    for (name, _) in COMPONENTS {
        assert!(arguments(name).contains("--leader-election=true"), "{name}");
    }
}

/// The names of all packages that end up in a package's program.
fn linked(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let nodes = &metadata.resolve.as_ref().unwrap().nodes;
    let own = metadata
        .workspace_packages()
        .into_iter()
        .find(|one| one.name.as_str() == name);
    let mut waiting = vec![own.unwrap().id.clone()];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        let node = nodes.iter().find(|node| node.id == id).unwrap();
        let normal = node.deps.iter().filter(|edge| {
            edge.dep_kinds
                .iter()
                .any(|kind| kind.kind == DependencyKind::Normal)
        });
        waiting.extend(normal.map(|edge| edge.pkg.clone()));
    }
    let packages = metadata
        .packages
        .iter()
        .filter(|package| seen.contains(&package.id));
    packages.map(|package| package.name.to_string()).collect()
}

#[test]
fn the_driver_asks_kubernetes_nothing_and_its_nodes_could_not() {
    let metadata = check::metadata(&workspace_root()).unwrap();
    let shipped = linked(&metadata, "cuttle");
    assert!(shipped.contains("tonic"), "the driver's packages are seen");
    for client in [
        "kube",
        "kube-client",
        "k8s-openapi",
        "reqwest",
        "hyper-rustls",
    ] {
        assert!(
            !shipped.contains(client),
            "{client}: grant what it asks for, and list it here"
        );
    }
    let objects = plain();
    let node = one(&objects, "ServiceAccount", "cuttle-node");
    assert_eq!(node["automountServiceAccountToken"], false);
    let bound = objects
        .iter()
        .filter_map(|object| object["subjects"].as_array())
        .flatten();
    for subject in bound {
        assert_eq!(subject["name"], "cuttle-controller");
    }
}
