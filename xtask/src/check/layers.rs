//! Which of our crates depend on which, compared with `layers.toml`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};

use super::Findings;
use super::policy::Layers;

/// Compares the manifests with the rules.
pub(crate) fn check(metadata: &Metadata, layers: &Layers) -> Findings {
    let mut findings = Findings::default();
    check_order(layers, &mut findings);
    let members = metadata.workspace_packages();
    let ours: BTreeSet<&str> = members
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    for name in layers
        .edges
        .keys()
        .filter(|name| !ours.contains(name.as_str()))
    {
        findings.error(format!(
            "layers.toml names {name}, which is not in the workspace"
        ));
    }
    for package in &members {
        check_edges(package, &ours, layers, &mut findings);
    }
    check_pure(metadata, layers, &mut findings);
    findings
}

/// Each crate may name only crates above it in the file.
fn check_order(layers: &Layers, findings: &mut Findings) {
    let place: BTreeMap<&str, usize> = layers
        .order
        .iter()
        .enumerate()
        .map(|(place, name)| (name.as_str(), place))
        .collect();
    for (name, allowed) in &layers.edges {
        for below in allowed {
            match (place.get(name.as_str()), place.get(below.as_str())) {
                (Some(own), Some(other)) if other < own => {}
                (_, None) => findings.error(format!("layers.toml: {name} names unknown {below}")),
                _ => findings.error(format!(
                    "layers.toml: {name} names {below}, which does not stand above it in the file"
                )),
            }
        }
    }
}

fn check_edges(package: &Package, ours: &BTreeSet<&str>, layers: &Layers, findings: &mut Findings) {
    let name = package.name.as_str();
    let Some(allowed) = layers.edges.get(name) else {
        findings.error(format!("{name} is not in layers.toml"));
        return;
    };
    let mut used = BTreeSet::new();
    for dependency in &package.dependencies {
        let to = dependency.name.as_str();
        if !ours.contains(to) || dependency.kind == DependencyKind::Development {
            continue;
        }
        used.insert(to);
        if !allowed.contains(to) {
            findings.error(format!(
                "{name} depends on {to}, which layers.toml does not allow; remove the dependency, \
                 or add the edge there and say why in the commit"
            ));
        }
        if layers.development.contains(to) && !layers.development.contains(name) {
            findings.error(format!(
                "{name} is shipped, but depends on {to}, which is for development"
            ));
        }
    }
    for unused in allowed.iter().filter(|edge| !used.contains(edge.as_str())) {
        findings.warning(format!(
            "layers.toml allows {name} to use {unused}, which it does not"
        ));
    }
}

/// The pure crates may not reach the banned ones by any way that ends up in the program.
fn check_pure(metadata: &Metadata, layers: &Layers, findings: &mut Findings) {
    let Some(resolve) = &metadata.resolve else {
        findings.error("cargo metadata resolved nothing");
        return;
    };
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    let next: BTreeMap<&PackageId, Vec<&PackageId>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let linked = node.deps.iter().filter(|dependency| {
                dependency
                    .dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal)
            });
            (&node.id, linked.map(|dependency| &dependency.pkg).collect())
        })
        .collect();
    for package in metadata.workspace_packages() {
        if !layers.pure.contains(package.name.as_str()) {
            continue;
        }
        for path in banned_paths(&package.id, &next, &names, &layers.banned_in_pure) {
            findings.error(format!(
                "{} must not know it: {}",
                package.name,
                path.join(" -> ")
            ));
        }
    }
}

/// For each banned package that can be reached, one way to it.
fn banned_paths(
    from: &PackageId,
    next: &BTreeMap<&PackageId, Vec<&PackageId>>,
    names: &BTreeMap<&PackageId, &str>,
    banned: &BTreeSet<String>,
) -> Vec<Vec<String>> {
    let mut came_from: BTreeMap<&PackageId, &PackageId> = BTreeMap::new();
    let mut waiting = vec![from];
    let mut found = Vec::new();
    while let Some(here) = waiting.pop() {
        let name = names.get(here).copied().unwrap_or_default();
        if banned.contains(name) {
            let mut path = vec![name.to_owned()];
            let mut step = here;
            while let Some(before) = came_from.get(step) {
                path.push(names.get(before).copied().unwrap_or_default().to_owned());
                step = before;
            }
            path.reverse();
            found.push(path);
            continue;
        }
        for to in next.get(here).into_iter().flatten() {
            if *to != from && !came_from.contains_key(to) {
                came_from.insert(to, here);
                waiting.push(to);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check, environment};

    #[test]
    fn the_workspace_keeps_its_layers() {
        let root = environment::workspace_root();
        let layers = Layers::read(&root).expect("the rules");
        let metadata = check::metadata(&root).expect("the workspace");
        assert_eq!(check(&metadata, &layers).errors, Vec::<String>::new());
    }

    #[test]
    fn an_edge_that_is_not_listed_is_found() {
        let root = environment::workspace_root();
        let mut layers = Layers::read(&root).expect("the rules");
        layers
            .edges
            .get_mut("cuttle-journal")
            .expect("the crate")
            .remove("ceph");
        let metadata = check::metadata(&root).expect("the workspace");
        let errors = check(&metadata, &layers).errors;
        assert!(
            errors
                .iter()
                .any(|e| e.starts_with("cuttle-journal depends on ceph")),
            "{errors:?}"
        );
    }

    #[test]
    fn a_way_to_the_runtime_is_found_and_shown() {
        let root = environment::workspace_root();
        let mut layers = Layers::read(&root).expect("the rules");
        layers.pure.insert("cuttle-server".to_owned());
        let metadata = check::metadata(&root).expect("the workspace");
        let errors = check(&metadata, &layers).errors;
        let shown = |e: &String| e.contains("cuttle-server -> ") && e.ends_with("-> tokio");
        assert!(errors.iter().any(shown), "{errors:?}");
    }

    #[test]
    fn an_arrow_upwards_in_the_file_is_found() {
        let text = "unsafe = []\npure = []\nbanned-in-pure = []\ndevelopment = []\n\
                    [edges]\nlow = [\"high\"]\nhigh = [\"gone\"]\n";
        let mut findings = Findings::default();
        check_order(&Layers::parse(text).expect("rules"), &mut findings);
        assert_eq!(findings.errors.len(), 2, "{findings:?}");
    }
}
