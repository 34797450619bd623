//! Other people's code: licences, sources, duplicates and bans, as `deny.toml` says.

use std::collections::BTreeMap;

use cargo_metadata::semver::{Version, VersionReq};
use cargo_metadata::{Metadata, Package};

use super::policy::{Deny, Named};
use super::{Findings, expression};

/// Checks every package of the tree that is not ours.
pub(crate) fn check(metadata: &Metadata, deny: &Deny) -> Findings {
    let mut findings = Findings::default();
    let mut foreign: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| !metadata.workspace_members.contains(&package.id))
        .collect();
    foreign.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    for package in &foreign {
        check_licence(package, deny, &mut findings);
        check_source(package, deny, &mut findings);
        for ban in &deny.bans.deny {
            if names(ban, package, &mut findings) {
                let Package { name, version, .. } = package;
                findings.error(format!("{name} {version} is banned: {}", ban.reason));
            }
        }
    }
    check_duplicates(&foreign, deny, &mut findings);
    check_unused(&foreign, deny, &mut findings);
    findings
}

fn check_licence(package: &Package, deny: &Deny, findings: &mut Findings) {
    let name = &package.name;
    match package.license.as_deref() {
        None => findings.error(format!("{name} {} states no licence", package.version)),
        Some(licence) if expression::is_met(licence, &deny.licenses.allow) => {}
        Some(licence) => findings.error(format!(
            "{name} {} is under `{licence}`, which deny.toml does not allow",
            package.version
        )),
    }
}

fn check_source(package: &Package, deny: &Deny, findings: &mut Findings) {
    let source = package
        .source
        .as_ref()
        .map_or("a path outside the workspace", |s| s.repr.as_str());
    let registry = source.strip_prefix("registry+").unwrap_or(source);
    if !deny.sources.allow_registry.contains(registry) {
        findings.error(format!(
            "{} {} comes from {source}",
            package.name, package.version
        ));
    }
}

fn check_duplicates(foreign: &[&Package], deny: &Deny, findings: &mut Findings) {
    let mut versions: BTreeMap<&str, Vec<&Package>> = BTreeMap::new();
    for package in foreign {
        versions
            .entry(package.name.as_str())
            .or_default()
            .push(package);
    }
    for (name, packages) in versions {
        let counted: Vec<&Version> = packages
            .iter()
            .filter(|package| {
                !deny
                    .bans
                    .skip
                    .iter()
                    .any(|skip| names(skip, package, findings))
            })
            .map(|package| &package.version)
            .collect();
        if counted.len() > 1 {
            let list = counted
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" and ");
            findings.error(format!(
                "{name} is there in versions {list}; drop one, or add a reasoned skip to deny.toml"
            ));
        }
    }
}

/// Entries of deny.toml that no longer do anything.
fn check_unused(foreign: &[&Package], deny: &Deny, findings: &mut Findings) {
    for skip in &deny.bans.skip {
        let mut hits = Findings::default();
        if !foreign
            .iter()
            .any(|package| names(skip, package, &mut hits))
        {
            findings.warning(format!(
                "deny.toml skips {}, which is not there any more",
                skip.name
            ));
        }
    }
    for licence in &deny.licenses.allow {
        let used = foreign.iter().any(|package| {
            package
                .license
                .as_deref()
                .is_some_and(|text| text.contains(licence.as_str()))
        });
        if !used {
            findings.warning(format!("deny.toml allows {licence}, which nothing uses"));
        }
    }
}

/// Whether the entry speaks of this package.
fn names(entry: &Named, package: &Package, findings: &mut Findings) -> bool {
    if entry.name != package.name.as_str() {
        return false;
    }
    let Some(text) = &entry.version else {
        return true;
    };
    match VersionReq::parse(text) {
        Ok(required) => required.matches(&package.version),
        Err(error) => {
            findings.error(format!(
                "deny.toml: version `{text}` of {}: {error}",
                entry.name
            ));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{check, environment};

    #[test]
    fn the_tree_keeps_the_rules() {
        let root = environment::workspace_root();
        let metadata = check::metadata(&root).expect("the workspace");
        let deny = Deny::read(&root).expect("the rules");
        assert_eq!(check(&metadata, &deny).errors, Vec::<String>::new());
    }

    #[test]
    fn a_banned_package_a_licence_and_a_source_are_found() {
        let root = environment::workspace_root();
        let metadata = check::metadata(&root).expect("the workspace");
        let mut deny = Deny::read(&root).expect("the rules");
        deny.licenses.allow.remove("Zlib");
        deny.sources.allow_registry.clear();
        deny.bans.skip.clear();
        deny.bans.deny.push(Named {
            name: "serde".to_owned(),
            version: Some("<2".to_owned()),
            reason: "a test".to_owned(),
        });
        let errors = check(&metadata, &deny).errors;
        for wanted in [
            "is banned: a test",
            "is under `Zlib`",
            "comes from registry+",
            "syn is there in",
        ] {
            assert!(
                errors.iter().any(|error| error.contains(wanted)),
                "{wanted}: {errors:?}"
            );
        }
    }
}
