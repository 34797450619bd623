//! Versions that their authors have taken back, as far as cargo's local index knows.
//!
//! Cargo keeps, for each package it has resolved, the registry's list of its versions: a file with
//! a short header and then, for each version, its number and a JSON line, all ended by NUL bytes
//! (format 3 of `cargo/sources/registry/index/cache.rs`). A package without such a file is skipped
//! and counted, because a vendored or restored cache has none.

use std::path::{Path, PathBuf};

use cargo_metadata::Metadata;
use serde::Deserialize;

use super::Findings;
use crate::environment;

#[derive(Deserialize)]
struct Line {
    vers: String,
    #[serde(default)]
    yanked: bool,
}

/// Looks up every package of the tree.
pub(crate) fn check(metadata: &Metadata) -> Findings {
    let mut findings = Findings::default();
    let indexes = indexes();
    let mut unknown = 0_usize;
    for package in metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some())
    {
        let file = cache_file(&package.name);
        let found = indexes
            .iter()
            .find_map(|index| std::fs::read(index.join(&file)).ok());
        match found.and_then(|bytes| is_yanked(&bytes, &package.version.to_string())) {
            None => unknown += 1,
            Some(false) => {}
            Some(true) => findings.error(format!(
                "{} {} was taken back by its author; run `cargo update -p {0}`",
                package.name, package.version
            )),
        }
    }
    if unknown > 0 {
        findings.warning(format!(
            "the local index knows nothing about {unknown} packages"
        ));
    }
    findings
}

/// Cargo's caches of registry indexes.
fn indexes() -> Vec<PathBuf> {
    let registry = environment::cargo_home().join("registry/index");
    std::fs::read_dir(registry)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join(".cache")))
        .collect()
}

/// Where an index keeps a package: `1/a`, `2/ab`, `3/a/abc`, `ab/cd/abcd`.
fn cache_file(name: &str) -> PathBuf {
    let name = name.to_lowercase();
    let part = |from: usize, to: usize| name.get(from..to).unwrap_or_default();
    match name.len() {
        1 | 2 => Path::new(&name.len().to_string()).join(&name),
        3 => Path::new("3").join(part(0, 1)).join(&name),
        _ => Path::new(part(0, 2)).join(part(2, 4)).join(&name),
    }
}

/// What the file says of the version; `None` when it says nothing.
fn is_yanked(bytes: &[u8], version: &str) -> Option<bool> {
    bytes
        .split(|byte| *byte == 0)
        .filter(|part| part.starts_with(b"{"))
        .filter_map(|part| serde_json::from_slice::<Line>(part).ok())
        .find(|line| line.vers == version)
        .map(|line| line.yanked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yanked_version_is_told_from_a_good_and_an_unknown_one() {
        let bytes = b"\x03\x02\0\0\0etag: x\0\
            1.0.0\0{\"name\":\"a\",\"vers\":\"1.0.0\",\"yanked\":true}\0\
            1.0.1\0{\"name\":\"a\",\"vers\":\"1.0.1\",\"yanked\":false}\0";
        assert_eq!(is_yanked(bytes, "1.0.0"), Some(true));
        assert_eq!(is_yanked(bytes, "1.0.1"), Some(false));
        assert_eq!(is_yanked(bytes, "2.0.0"), None);
    }

    #[test]
    fn index_files_are_found_by_the_length_of_the_name() {
        for (name, file) in [
            ("a", "1/a"),
            ("ab", "2/ab"),
            ("abc", "3/a/abc"),
            ("Serde_JSON", "se/rd/serde_json"),
        ] {
            assert_eq!(cache_file(name), Path::new(file));
        }
    }
}
