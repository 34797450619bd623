//! The Secrets that a class names: each that is needed, and what is in them as far as they lie in
//! the same document. Values are never looked at beyond being there.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::report::{Check, Report, Severity, Told};

/// The kinds of classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    RbdStorage,
    CephfsStorage,
    RbdSnapshot,
    CephfsSnapshot,
}

impl Kind {
    pub(crate) fn is_snapshot(self) -> bool {
        matches!(self, Self::RbdSnapshot | Self::CephfsSnapshot)
    }
}

/// One Secret that a class of a kind needs: the parameter without `-name`, whether only for
/// growing, the keys in it, and what fails without.
struct Needed {
    parameter: &'static str,
    for_growing: bool,
    keys: [&'static str; 2],
    fails: &'static str,
}

const USER: [&str; 2] = ["userID", "userKey"];
const ADMIN: [&str; 2] = ["adminID", "adminKey"];

const fn needed(
    parameter: &'static str,
    for_growing: bool,
    keys: [&'static str; 2],
    fails: &'static str,
) -> Needed {
    Needed {
        parameter,
        for_growing,
        keys,
        fails,
    }
}

const RBD: [Needed; 3] = [
    needed(
        "provisioner-secret",
        false,
        USER,
        "volumes can be neither made nor deleted",
    ),
    needed(
        "controller-expand-secret",
        true,
        USER,
        "volumes cannot grow",
    ),
    needed(
        "node-stage-secret",
        false,
        USER,
        "pods do not start: volumes cannot be staged",
    ),
];
const CEPHFS: [Needed; 3] = [
    needed(
        "provisioner-secret",
        false,
        ADMIN,
        "volumes can be neither made nor deleted",
    ),
    needed(
        "controller-expand-secret",
        true,
        ADMIN,
        "volumes cannot grow",
    ),
    needed(
        "node-stage-secret",
        false,
        USER,
        "pods do not start: volumes cannot be staged",
    ),
];
const RBD_SNAPSHOT: [Needed; 1] = [needed(
    "snapshotter-secret",
    false,
    USER,
    "snapshots can be neither taken nor deleted",
)];
const CEPHFS_SNAPSHOT: [Needed; 1] = [needed(
    "snapshotter-secret",
    false,
    ADMIN,
    "snapshots can be neither taken nor deleted",
)];

/// The Secrets of a document, by namespace and name.
#[derive(Debug, Default)]
pub(crate) struct Secrets<'a> {
    known: BTreeMap<(&'a str, &'a str), &'a Value>,
}

impl<'a> Secrets<'a> {
    pub(crate) fn read(items: &[&'a Value]) -> Self {
        let secrets = items.iter().filter_map(|item| {
            let text = |path: &str| item.pointer(path).and_then(Value::as_str);
            if text("/kind") != Some("Secret") {
                return None;
            }
            let namespace = text("/metadata/namespace").unwrap_or("default");
            Some(((namespace, text("/metadata/name")?), *item))
        });
        Self {
            known: secrets.collect(),
        }
    }

    /// Looks at the Secrets of one class.
    pub(crate) fn look(
        &self,
        about: &str,
        kind: Kind,
        class: &Value,
        parameters: &BTreeMap<String, String>,
        report: &mut Report,
    ) {
        let before = report.findings.len();
        let grows = class.get("allowVolumeExpansion").and_then(Value::as_bool) == Some(true);
        let needed: &[Needed] = match kind {
            Kind::RbdStorage => &RBD,
            Kind::CephfsStorage => &CEPHFS,
            Kind::RbdSnapshot => &RBD_SNAPSHOT,
            Kind::CephfsSnapshot => &CEPHFS_SNAPSHOT,
        };
        for one in needed.iter().filter(|one| grows || !one.for_growing) {
            self.one(about, one, parameters, report);
        }
        if report.findings.len() == before {
            let seen = if self.known.is_empty() {
                "all are named; whether they exist was not looked at (give the Secrets, too)"
            } else {
                "all are named, exist and have their keys"
            };
            report.good(Check::ClassSecret, about, seen);
        }
    }

    fn one(
        &self,
        about: &str,
        needed: &Needed,
        parameters: &BTreeMap<String, String>,
        report: &mut Report,
    ) {
        let parameter = needed.parameter;
        let value = |end: &str| {
            let key = format!("csi.storage.k8s.io/{parameter}-{end}");
            parameters
                .get(&key)
                .map(String::as_str)
                .filter(|text| !text.is_empty())
        };
        let mut error = |evidence: String, remedy: String| {
            let told = Told::new(evidence, needed.fails).remedy(remedy);
            report.add(Severity::Error, Check::ClassSecret, about, told);
        };
        let [user, key] = needed.keys;
        let (Some(name), Some(namespace)) = (value("name"), value("namespace")) else {
            let missing = if value("name").is_none() {
                "name"
            } else {
                "namespace"
            };
            return error(
                format!("csi.storage.k8s.io/{parameter}-{missing} is not set"),
                format!(
                    "name a Secret with {user} and {key} by csi.storage.k8s.io/{parameter}-name \
                     and …-namespace"
                ),
            );
        };
        // A template such as ${pvc.namespace} stands for another Secret each time.
        if self.known.is_empty() || name.contains("${") || namespace.contains("${") {
            return;
        }
        let Some(secret) = self.known.get(&(namespace, name)) else {
            return error(
                format!("the Secret {namespace}/{name} is not among those given"),
                format!(
                    "kubectl -n {namespace} create secret generic {name} --from-literal={user}=USER \
                     --from-file={key}=FILE"
                ),
            );
        };
        let has = |key: &str| {
            ["data", "stringData"].iter().any(|part| {
                let value = secret.get(part).and_then(|data| data.get(key));
                value
                    .and_then(Value::as_str)
                    .is_some_and(|text| !text.is_empty())
            })
        };
        let missing: Vec<&str> = needed.keys.into_iter().filter(|key| !has(key)).collect();
        if !missing.is_empty() {
            error(
                format!(
                    "the Secret {namespace}/{name} has no {}",
                    missing.join(" and no ")
                ),
                format!("put {user} and {key} into it"),
            );
        }
    }
}
