//! Known vulnerabilities of other people's code, from a local copy of RustSec's database.
//!
//! A lint that works offline cannot fetch the database, and it is too large and too quickly out of
//! date to be kept here. So a copy is looked for where `cargo audit` and `cargo deny` keep theirs,
//! and without one the check says that it has not looked.
//!
//! One file for each advisory, `crates/<package>/<id>.md`; what is asked here stands in the TOML
//! block at its head.

use std::path::{Path, PathBuf};

use cargo_metadata::Metadata;
use cargo_metadata::semver::{Version, VersionReq};
use serde::Deserialize;

use super::Findings;
use crate::environment;

#[derive(Deserialize)]
struct Head {
    advisory: Advisory,
    #[serde(default)]
    versions: Versions,
}

#[derive(Deserialize)]
struct Advisory {
    id: String,
    /// Set for what is no vulnerability, such as `unmaintained`.
    informational: Option<String>,
    withdrawn: Option<String>,
}

#[derive(Default, Deserialize)]
struct Versions {
    #[serde(default)]
    patched: Vec<VersionReq>,
    #[serde(default)]
    unaffected: Vec<VersionReq>,
}

/// Looks up every package of the tree.
pub(crate) fn check(metadata: &Metadata) -> Findings {
    let mut findings = Findings::default();
    let Some(database) = database(&environment::cargo_home()) else {
        findings.warning(
            "not looked for: there is no copy of RustSec's advisory database in cargo's home; \
             `cargo audit` makes one",
        );
        return findings;
    };
    for package in &metadata.packages {
        if package.source.is_some() {
            look_up(&database, &package.name, &package.version, &mut findings);
        }
    }
    findings
}

/// The copy that `cargo audit` has made, or else one of those of `cargo deny`.
fn database(cargo_home: &Path) -> Option<PathBuf> {
    let of_deny = std::fs::read_dir(cargo_home.join("advisory-dbs"));
    let of_deny = of_deny.into_iter().flatten().flatten();
    std::iter::once(cargo_home.join("advisory-db"))
        .chain(of_deny.map(|entry| entry.path()))
        .find(|copy| copy.join("crates").is_dir())
}

fn look_up(database: &Path, name: &str, version: &Version, findings: &mut Findings) {
    // Most packages have no advisory, and so no directory.
    let advisories = std::fs::read_dir(database.join("crates").join(name));
    for file in advisories.into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let Some(Head { advisory, versions }) = head(&text) else {
            findings.warning(format!("{} cannot be read", file.path().display()));
            continue;
        };
        let mut good = versions.patched.iter().chain(&versions.unaffected);
        if advisory.withdrawn.is_some() || good.any(|good| good.matches(version)) {
            continue;
        }
        match advisory.informational {
            None => findings.error(format!("{name} {version}: {}", advisory.id)),
            Some(kind) => findings.warning(format!("{name} {version}: {} ({kind})", advisory.id)),
        }
    }
}

/// The TOML block at the head of an advisory.
fn head(text: &str) -> Option<Head> {
    let (_, rest) = text.split_once("```toml")?;
    let (toml, _) = rest.split_once("```")?;
    basic_toml::from_str(toml).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advisory(id: &str, more: &str) -> String {
        format!(
            "```toml\n[advisory]\nid = \"{id}\"\npackage = \"p\"\ndate = \"2026-01-01\"\n{more}\n\
             [versions]\npatched = [\">= 1.2.3\"]\nunaffected = [\"< 1.1.0\"]\n```\n\n# Title\n"
        )
    }

    fn found(files: &[(&str, String)], version: &str) -> Findings {
        let home = tempfile::tempdir().unwrap();
        let package = home.path().join("advisory-dbs/github.com-1/crates/p");
        std::fs::create_dir_all(&package).unwrap();
        for (name, text) in files {
            std::fs::write(package.join(name), text).unwrap();
        }
        let database = database(home.path()).unwrap();
        let mut findings = Findings::default();
        look_up(
            &database,
            "p",
            &Version::parse(version).unwrap(),
            &mut findings,
        );
        look_up(&database, "q", &Version::new(1, 1, 5), &mut findings);
        findings
    }

    #[test]
    fn only_versions_that_are_neither_patched_nor_unaffected_are_told() {
        let files = [("RUSTSEC-1.md", advisory("RUSTSEC-1", ""))];
        let told = found(&files, "1.1.5");
        assert_eq!(told.errors, ["p 1.1.5: RUSTSEC-1"]);
        for good in ["1.2.3", "2.0.0", "1.0.9"] {
            assert_eq!(found(&files, good), Findings::default(), "{good}");
        }
    }

    #[test]
    fn withdrawn_ones_are_passed_over_and_others_are_no_errors() {
        let files = [
            ("a.md", advisory("A", "withdrawn = \"2026-02-02\"")),
            ("b.md", advisory("B", "informational = \"unmaintained\"")),
            ("c.md", "no head".to_owned()),
        ];
        let told = found(&files, "1.1.5");
        assert!(told.errors.is_empty(), "{:?}", told.errors);
        assert_eq!(told.warnings.len(), 2, "{:?}", told.warnings);
        assert!(database(Path::new("/nonexistent")).is_none());
    }
}
