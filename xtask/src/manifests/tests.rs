//! The files in `deploy/` against Kubernetes' own types, the chart against the plain manifests, and
//! the rules against the calls that are made.

mod calls;
mod chart;
mod shapes;

use std::path::PathBuf;

use serde_json::Value;

use crate::environment::workspace_root;

fn deploy() -> PathBuf {
    workspace_root().join("deploy")
}

/// Every document of a YAML file, read by a reader that is not ours.
fn documents(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(deploy().join(name)).unwrap();
    read(&text)
}

fn read(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The names of the YAML files in a folder, in their order.
fn yaml_files(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(deploy().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let yaml = names.filter(|name| name.ends_with(".yaml"));
    let mut names: Vec<String> = yaml.map(|name| format!("{folder}/{name}")).collect();
    names.sort();
    names
}

/// All plain objects.
fn plain() -> Vec<Value> {
    yaml_files("kubernetes")
        .iter()
        .flat_map(|name| documents(name))
        .collect()
}

/// The only plain object of a kind and name.
fn one<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found = objects
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let only = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
    assert!(found.next().is_none(), "two of {kind} {name}");
    only
}

#[test]
fn the_files_are_what_the_source_says() {
    assert_eq!(super::differing(&deploy()).unwrap(), [""; 0]);
}
