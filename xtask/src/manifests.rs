//! `cargo xtask manifests`: writes what lies in `deploy/`, plain and as a Helm chart, from one source.
//!
//! Every object is made once. What an installation may choose is a slot: its default value in the
//! plain manifests, an expression in the chart. The chart uses three expressions only (a value, the
//! release's namespace, a value as JSON), so that a test can fill it without Helm and compare.
//!
//! Deliberately absent: conditions and loops in the chart. What depends on a choice is an example.

mod controller;
mod examples;
mod kubernetes;
mod monitoring;
mod node;
mod rbac;
mod target;
mod values;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::screen::Screen;
use crate::{Failure, environment};
use target::Target;

/// Options of `cargo xtask manifests`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManifestsOptions {
    /// Only compare what there is with what would be written.
    #[arg(long)]
    check: bool,
}

/// What every generated YAML file begins with.
const HEAD: &str = "# Made by `cargo xtask manifests`; change xtask/src/manifests instead.\n";

/// Writes the files, or compares them.
pub(crate) fn run(options: &ManifestsOptions, screen: &mut Screen) -> Result<(), Failure> {
    let deploy = environment::workspace_root().join("deploy");
    let wrong = differing(&deploy)?;
    if options.check {
        screen.verdict("manifests", &wrong, &[]);
        return if wrong.is_empty() {
            Ok(())
        } else {
            Err(Failure::new("run `cargo xtask manifests`"))
        };
    }
    for (name, text) in files() {
        let path = deploy.join(&name);
        let failed = |error| Failure::because(format!("cannot write {}", path.display()), &error);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        std::fs::write(&path, text).map_err(failed)?;
        screen.line(&format!("deploy/{name}"));
    }
    Ok(())
}

/// The files that are not as they would be written.
fn differing(deploy: &Path) -> Result<Vec<String>, Failure> {
    let mut wrong = Vec::new();
    for (name, text) in files() {
        let path = deploy.join(&name);
        match std::fs::read_to_string(&path) {
            Ok(found) if found == text => {}
            Ok(_) => wrong.push(format!("deploy/{name} is not what the source says")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                wrong.push(format!("deploy/{name} is missing"));
            }
            Err(error) => {
                return Err(Failure::because(
                    format!("cannot read {}", path.display()),
                    &error,
                ));
            }
        }
    }
    Ok(wrong)
}

/// All files below `deploy/`, by name.
fn files() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (target, folder, namespace) in [
        (Target::Plain, "kubernetes", Some(kubernetes::namespace())),
        (Target::Chart, "helm/cuttle/templates", None),
    ] {
        // Numbers in front: kubectl applies a folder's files in their order.
        let parts: [(&str, Vec<Value>); 4] = [
            ("00-namespace", namespace.into_iter().collect()),
            ("10-cluster", kubernetes::objects(target)),
            ("20-controller", controller::objects(target)),
            ("30-node", node::objects(target)),
        ];
        for (name, objects) in parts {
            if !objects.is_empty() {
                files.insert(format!("{folder}/{name}.yaml"), documents(&objects));
            }
        }
    }
    files.insert(
        "helm/cuttle/Chart.yaml".to_owned(),
        document(&values::chart()),
    );
    files.insert("helm/cuttle/values.yaml".to_owned(), values::text());
    for (name, objects) in examples::all() {
        files.insert(format!("examples/{name}.yaml"), documents(&objects));
    }
    files.insert(
        "monitoring/alerts.yaml".to_owned(),
        document(&monitoring::alerts()),
    );
    let dashboard = format!("{:#}\n", monitoring::dashboard());
    files.insert("monitoring/dashboard.json".to_owned(), dashboard);
    let overlay = document(&kubernetes::overlay());
    files.insert("ceph-csi/kustomization.yaml".to_owned(), overlay);
    files
}

fn document(value: &Value) -> String {
    format!("{HEAD}{}", yaml::text(value))
}

fn documents(objects: &[Value]) -> String {
    let texts: Vec<String> = objects.iter().map(yaml::text).collect();
    format!("{HEAD}{}", texts.join("---\n"))
}
