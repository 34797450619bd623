//! StorageClasses and VolumeSnapshotClasses as Kubernetes' JSON has them, alone or in a list, and
//! the Secrets that lie beside them.

use std::collections::BTreeMap;

use cuttle_model::mistakes::nearest;
use cuttle_model::{
    CephfsParameters, ClusterId, ClusterTable, ParameterErrors, RbdParameters, SnapshotParameters,
};
use serde_json::Value;

use crate::report::{Check, Report, Severity, Told};
use crate::secrets::{Kind, Secrets};

const PREFIX: &str = "csi.storage.k8s.io/";

/// The sidecars' parameters that a class may have, without their prefix.
const SIDECAR_KEYS: [&str; 13] = [
    "fstype",
    "provisioner-secret-name",
    "provisioner-secret-namespace",
    "controller-expand-secret-name",
    "controller-expand-secret-namespace",
    "controller-publish-secret-name",
    "controller-publish-secret-namespace",
    "node-stage-secret-name",
    "node-stage-secret-namespace",
    "node-publish-secret-name",
    "node-publish-secret-namespace",
    "node-expand-secret-name",
    "node-expand-secret-namespace",
];
const SNAPSHOT_KEYS: [&str; 4] = [
    "snapshotter-secret-name",
    "snapshotter-secret-namespace",
    "snapshotter-list-secret-name",
    "snapshotter-list-secret-namespace",
];

/// A class with what concerns us.
struct Class<'a> {
    about: String,
    value: &'a Value,
    kind: Kind,
    parameters: BTreeMap<String, String>,
}

/// Looks at every class in the document that is for a driver of ours; answers how many there were.
/// Without a table nothing is said about clusters.
pub fn classes(document: &Value, table: Option<&ClusterTable>, report: &mut Report) -> usize {
    let items: Vec<&Value> = match document.get("items").and_then(Value::as_array) {
        Some(items) => items.iter().collect(),
        None => vec![document],
    };
    let secrets = Secrets::read(&items);
    let classes: Vec<Class<'_>> = items.iter().filter_map(|item| read(item)).collect();
    for class in &classes {
        storage_or_snapshot(class, table, &secrets, report);
    }
    classes.len()
}

fn read(item: &Value) -> Option<Class<'_>> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default();
    let name = item
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or("without a name");
    let (driver, is_snapshot) = match text("kind") {
        "StorageClass" => (text("provisioner"), false),
        "VolumeSnapshotClass" => (text("driver"), true),
        _ => return None,
    };
    // Rook puts its operator's namespace before the name.
    let (is_rbd, is_cephfs) = (
        driver.ends_with("rbd.csi.ceph.com"),
        driver.ends_with("cephfs.csi.ceph.com"),
    );
    let kind = match (is_snapshot, is_rbd, is_cephfs) {
        (false, true, _) => Kind::RbdStorage,
        (false, _, true) => Kind::CephfsStorage,
        (true, true, _) => Kind::RbdSnapshot,
        (true, _, true) => Kind::CephfsSnapshot,
        (_, false, false) => return None,
    };
    let parameters = item.get("parameters").and_then(Value::as_object);
    let parameters = parameters
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    Some(Class {
        about: format!("{} {name}", text("kind")),
        value: item,
        kind,
        parameters: parameters.collect(),
    })
}

fn storage_or_snapshot(
    class: &Class<'_>,
    table: Option<&ClusterTable>,
    secrets: &Secrets<'_>,
    report: &mut Report,
) {
    parameters(class, report);
    sidecar_keys(class, report);
    if let (Some(table), Some(id)) = (table, class.parameters.get("clusterID")) {
        cluster(class, id, table, report);
    }
    secrets.look(
        &class.about,
        class.kind,
        class.value,
        &class.parameters,
        report,
    );
    if !class.kind.is_snapshot() {
        options(class, report);
    }
}

fn parameters(class: &Class<'_>, report: &mut Report) {
    let given = &class.parameters;
    let outcome: Result<(), ParameterErrors> = match class.kind {
        Kind::RbdStorage => RbdParameters::parse(given).map(drop),
        Kind::CephfsStorage => CephfsParameters::parse(given).map(drop),
        Kind::RbdSnapshot => SnapshotParameters::parse(given).map(drop),
        // The driver refuses the request as a whole, whatever the class says.
        Kind::CephfsSnapshot => Ok(()),
    };
    match outcome {
        Ok(()) => report.good(
            Check::Class,
            class.about.clone(),
            format!("{} parameters, all known", given.len()),
        ),
        Err(errors) => {
            for mistake in errors.mistakes() {
                let told = Told::new(
                    format!("{} {}", mistake.field, mistake.rule),
                    "requests for volumes of this class are refused",
                )
                .remedy(mistake.remedy.clone());
                report.add(Severity::Error, Check::Class, class.about.clone(), told);
            }
        }
    }
}

/// The sidecars pass over what they do not know; then a Secret is missing without a word.
fn sidecar_keys(class: &Class<'_>, report: &mut Report) {
    let known: &[&str] = if class.kind.is_snapshot() {
        &SNAPSHOT_KEYS
    } else {
        &SIDECAR_KEYS
    };
    let given = class
        .parameters
        .keys()
        .filter_map(|key| key.strip_prefix(PREFIX));
    for key in given.filter(|key| !known.contains(key)) {
        let told = Told::new(
            format!("{PREFIX}{key} is no parameter that a sidecar knows"),
            "it has no effect",
        );
        let told = match nearest(key, known.iter().copied()) {
            Some(near) => told.remedy(format!("write {PREFIX}{near}")),
            None => told.remedy("take it out"),
        };
        report.add(Severity::Warning, Check::Class, class.about.clone(), told);
    }
}

fn cluster(class: &Class<'_>, id: &str, table: &ClusterTable, report: &mut Report) {
    let known = ClusterId::new(id)
        .ok()
        .filter(|id| table.find(id).is_some());
    if known.is_some() {
        let evidence = format!("clusterID {id} is in config.json");
        return report.good(Check::ClassCluster, class.about.clone(), evidence);
    }
    let ids: Vec<String> = table.iter().map(|cluster| cluster.id.to_string()).collect();
    let told = Told::new(
        format!(
            "clusterID \"{}\" is not in config.json",
            cuttle_model::names::shorten(id)
        ),
        "requests for volumes of this class are refused",
    )
    .remedy(if ids.is_empty() {
        "add the cluster to the ConfigMap".to_owned()
    } else {
        format!(
            "config.json has {}; use one of them or add this one",
            ids.join(", ")
        )
    });
    report.add(
        Severity::Error,
        Check::ClassCluster,
        class.about.clone(),
        told,
    );
}

fn options(class: &Class<'_>, report: &mut Report) {
    let before = report.findings.len();
    let mut add =
        |severity, told| report.add(severity, Check::ClassOptions, class.about.clone(), told);
    let fstype = class
        .parameters
        .get("csi.storage.k8s.io/fstype")
        .map(String::as_str);
    match (class.kind, fstype) {
        (Kind::RbdStorage, Some("ext4" | "xfs") | None) | (Kind::CephfsStorage, None) => {}
        (Kind::RbdStorage, Some(other)) => add(
            Severity::Error,
            Told::new(
                format!(
                    "csi.storage.k8s.io/fstype is {}",
                    cuttle_model::names::shorten(other)
                ),
                "volumes are made and never staged: only ext4 and xfs are supported",
            )
            .remedy("set csi.storage.k8s.io/fstype to ext4 or xfs"),
        ),
        (_, Some(_)) => add(
            Severity::Note,
            Told::new(
                "csi.storage.k8s.io/fstype is set",
                "it means nothing for CephFS",
            ),
        ),
        (_, None) => {}
    }
    let expands = class
        .value
        .get("allowVolumeExpansion")
        .and_then(Value::as_bool)
        == Some(true);
    if !expands {
        add(
            Severity::Note,
            Told::new(
                "allowVolumeExpansion is not true",
                "claims of this class cannot grow",
            )
            .remedy("set allowVolumeExpansion: true; that can be changed later, too"),
        );
    }
    let reclaim = class.value.get("reclaimPolicy").and_then(Value::as_str);
    let options = class.value.get("mountOptions").and_then(Value::as_array);
    for option in options.into_iter().flatten().filter_map(Value::as_str) {
        if option.split(',').any(|one| one.trim() == "_netdev") {
            add(
                Severity::Error,
                Told::new(
                    "mountOptions has _netdev",
                    "it is for fstab; the kernel refuses it",
                )
                .remedy("take it out"),
            );
        }
    }
    if reclaim.is_some_and(|policy| !matches!(policy, "Delete" | "Retain")) {
        add(
            Severity::Error,
            Told::new(
                "reclaimPolicy is neither Delete nor Retain",
                "Kubernetes refuses the class",
            )
            .remedy("set Delete or Retain"),
        );
    }
    if report.findings.len() == before {
        report.good(Check::ClassOptions, class.about.clone(), "nothing odd");
    }
}

#[cfg(test)]
mod tests;
