//! The manager and its modules, by asking them.

use ceph::Cluster;
use serde_json::{Value, json};

use crate::cluster::unanswered;
use crate::report::{Check, Report, Severity, Told};

/// A module: its name, its check, a question to it, and what stops without it.
struct Module {
    name: &'static str,
    check: Check,
    prefix: &'static str,
    meaning: &'static str,
}

const IMAGES: Module = Module {
    name: "rbd_support",
    check: Check::ModuleRbd,
    prefix: "rbd task list",
    meaning: "deleted images stay in the trash, and clones are not flattened in the background",
};

const SUBVOLUMES: Module = Module {
    name: "volumes",
    check: Check::ModuleVolumes,
    prefix: "fs volume ls",
    meaning: "CephFS volumes can neither be made, resized, measured nor deleted",
};

/// Looks at the manager and at the modules that are needed.
pub(crate) fn look(cluster: &Cluster, images: bool, subvolumes: bool, report: &mut Report) {
    const ABOUT: &str = "manager";
    let from_map = match cluster.mon_query(&json!({"prefix": "mgr dump"})) {
        Ok(reply) => match in_map(&reply.json) {
            Ok(evidence) => evidence,
            Err(evidence) => {
                return report.add(
                    Severity::Error,
                    Check::ManagerActive,
                    ABOUT,
                    missed(evidence),
                );
            }
        },
        // A user for images alone may not read this map; then the manager speaks for itself.
        Err(error) if error.is_denied() => "the active one".to_owned(),
        Err(error) => return unanswered(report, Check::ManagerActive, ABOUT, &error),
    };
    let offered = match cluster.mgr_commands_now() {
        Ok(offered) => offered,
        Err(error) if error.is_denied() => {
            return unanswered(report, Check::ManagerActive, ABOUT, &error);
        }
        Err(error) => {
            let told = missed(format!("{from_map} does not answer: {error}"));
            return report.add(Severity::Error, Check::ManagerActive, ABOUT, told);
        }
    };
    report.good(Check::ManagerActive, ABOUT, format!("{from_map} answers"));
    for (wanted, module) in [(images, &IMAGES), (subvolumes, &SUBVOLUMES)] {
        if wanted {
            ask(cluster, module, offered.contains(module.prefix), report);
        }
    }
}

fn missed(evidence: String) -> Told {
    Told::new(
        evidence,
        "CephFS volumes can be neither made nor deleted, and deleted images stay in the trash",
    )
    .remedy("start a manager; `ceph mgr stat` and its log tell why there is none")
}

/// The active manager and who waits to take over, or that there is none.
fn in_map(map: &Value) -> Result<String, String> {
    let name = map.get("active_name").and_then(Value::as_str);
    let name = name.unwrap_or_default();
    if name.is_empty() {
        return Err("the manager's map names no active one".to_owned());
    }
    if map.get("available").and_then(Value::as_bool) != Some(true) {
        return Err(format!("mgr.{name} is active and not available"));
    }
    let standbys = map.get("standbys").and_then(Value::as_array);
    let standbys = standbys.map_or(0, Vec::len);
    Ok(format!("mgr.{name} (with {standbys} to take over)"))
}

fn ask(cluster: &Cluster, module: &Module, is_offered: bool, report: &mut Report) {
    let about = format!("module {}", module.name);
    let restart = format!(
        "see why in the manager's log, then `ceph mgr module ls` (the module must be on) and \
         `ceph mgr fail` to start it anew; module {}",
        module.name
    );
    if !is_offered {
        let evidence = format!("the manager does not know the command `{}`", module.prefix);
        let told = Told::new(evidence, module.meaning).remedy(restart);
        return report.add(Severity::Error, module.check, about, told);
    }
    match cluster.mgr_query(&json!({"prefix": module.prefix})) {
        Ok(_) => report.good(module.check, about, format!("answers `{}`", module.prefix)),
        // A user with capabilities for its own pool alone may not list all tasks.
        Err(error) if error.is_denied() => {
            let evidence = format!("knows `{}`, which the user may not ask", module.prefix);
            report.good(module.check, about, evidence);
        }
        Err(error) => {
            let told = Told::new(error.to_string(), module.meaning).remedy(restart);
            report.add(Severity::Error, module.check, about, told);
        }
    }
}
