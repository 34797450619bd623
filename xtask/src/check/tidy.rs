//! What every source file has to keep: a purpose in its first line, a bounded length, a proper
//! name, no promise without an issue, and no way round the lint against `unsafe`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Findings;
use super::policy::Layers;
use crate::Failure;

/// A file longer than this is told, and one longer than the second is an error.
const LONG: usize = 500;
const TOO_LONG: usize = 600;

/// Names that say nothing about what is inside.
const NAMELESS: [&str; 8] = [
    "utils.rs",
    "util.rs",
    "common.rs",
    "helpers.rs",
    "helper.rs",
    "misc.rs",
    "base.rs",
    "stuff.rs",
];

/// Where Rust sources are, and where they are not.
const SOURCES: [&str; 3] = ["crates", "xtask", "fuzz"];
const NOT_SOURCES: [&str; 4] = ["target", "corpus", "artifacts", "snapshots"];

/// Reads all sources of the workspace.
pub(crate) fn check(root: &Path, layers: &Layers) -> Result<Findings, Failure> {
    let mut findings = Findings::default();
    let mut files = Vec::new();
    for dir in SOURCES {
        collect(&root.join(dir), &mut files);
    }
    files.sort();
    if files.is_empty() {
        findings.error(format!("no sources below {}", root.display()));
    }
    let mut opted_out = BTreeSet::new();
    for file in &files {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::because(format!("cannot read {}", file.display()), &error))?;
        let name = file.strip_prefix(root).unwrap_or(file);
        if name.file_name().is_some_and(|n| n == "Cargo.toml") {
            check_manifest(name, &text, &mut findings);
            continue;
        }
        check_file(name, &text, &mut findings);
        if opts_out_of_unsafe(&text) {
            opted_out.insert(crate_of(name));
        }
    }
    let allowed: BTreeSet<String> = layers.r#unsafe.iter().map(|name| folder(name)).collect();
    for name in opted_out.difference(&allowed) {
        findings.error(format!(
            "{name} opts out of the lint against unsafe; layers.toml does not allow it"
        ));
    }
    for name in allowed.difference(&opted_out) {
        findings.warning(format!(
            "layers.toml allows unsafe in {name}, which has none"
        ));
    }
    Ok(findings)
}

fn check_file(name: &Path, text: &str, findings: &mut Findings) {
    let shown = name.display();
    if !text.starts_with("//!") {
        findings.error(format!("{shown} does not open with `//!` and its purpose"));
    }
    let lines = text.lines().count();
    if lines > TOO_LONG {
        findings.error(format!(
            "{shown} has {lines} lines; split it (at most {TOO_LONG}, better {LONG})"
        ));
    } else if lines > LONG {
        findings.warning(format!("{shown} has {lines} lines; better at most {LONG}"));
    }
    let file_name = name
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    if NAMELESS.contains(&file_name) {
        findings.error(format!(
            "{shown} has a name that says nothing about what is inside"
        ));
    }
    for (number, line) in text.lines().enumerate() {
        if promises_without_issue(line) {
            findings.error(format!(
                "{shown}:{} promises work without an issue number",
                number + 1
            ));
        }
    }
}

/// Whether a comment's promise lacks its issue, as in `(#12)`.
fn promises_without_issue(line: &str) -> bool {
    // Put together here, so that this file does not find itself.
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X"].concat(),
    ];
    let Some((_, comment)) = line.split_once("//") else {
        return false;
    };
    words.iter().any(|word| {
        comment
            .split_once(word.as_str())
            .is_some_and(|(before, after)| {
                let alone = !before.ends_with(char::is_alphanumeric)
                    && !after.starts_with(char::is_alphanumeric);
                alone && !after.starts_with("(#")
            })
    })
}

/// Whether the file switches the lint off, as an attribute of the crate, a module or an item.
fn opts_out_of_unsafe(text: &str) -> bool {
    let attribute = ["unsafe", "_code"].concat();
    text.lines()
        .map(str::trim_start)
        .any(|line| !line.starts_with("//") && line.contains(&attribute))
}

/// Every crate of the workspace has to take its lints as they are; the fuzz targets are a workspace
/// of their own, with another toolchain.
fn check_manifest(name: &Path, text: &str, findings: &mut Findings) {
    let has = |section: &str| text.lines().any(|line| line.trim() == section);
    let is_member = has("[package]") && !has("[workspace]");
    let lints = text
        .split_once("[lints]")
        .map_or("", |(_, after)| after)
        .trim_start();
    if is_member && !lints.starts_with("workspace = true") {
        findings.error(format!(
            "{} does not take the workspace's lints",
            name.display()
        ));
    }
}

/// The folder of a file's crate.
fn crate_of(name: &Path) -> String {
    let mut parts = name
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    match parts.next() {
        Some(first) if first == "crates" => parts.next().unwrap_or(first),
        Some(first) => first,
        None => String::new(),
    }
}

/// The folder of a crate by its name.
fn folder(name: &str) -> String {
    name.strip_prefix("cuttle-").unwrap_or(name).to_owned()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let skipped = NOT_SOURCES.iter().any(|skipped| name == *skipped);
        if path.is_dir() && !skipped {
            collect(&path, files);
        } else if name == "Cargo.toml" || path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment;

    fn findings(name: &str, text: &str) -> Findings {
        let mut findings = Findings::default();
        check_file(Path::new(name), text, &mut findings);
        findings
    }

    #[test]
    fn the_sources_are_tidy() {
        let root = environment::workspace_root();
        let layers = Layers::read(&root).expect("the rules");
        assert_eq!(
            check(&root, &layers).expect("sources").errors,
            Vec::<String>::new()
        );
    }

    #[test]
    fn each_rule_is_held() {
        assert_eq!(
            findings("crates/a/src/door.rs", "//! A door.\n"),
            Findings::default()
        );
        assert_eq!(findings("a.rs", "fn f() {}\n").errors.len(), 1);
        assert_eq!(
            findings("crates/a/src/utils.rs", "//! Things.\n")
                .errors
                .len(),
            1
        );
        let long = format!("//! Long.\n{}", "\n".repeat(550));
        assert_eq!(findings("a.rs", &long).warnings.len(), 1);
        let too_long = format!("//! Long.\n{}", "\n".repeat(650));
        assert_eq!(findings("a.rs", &too_long).errors.len(), 1);
        let promise = ["//! A.\n// TO", "DO: later\n"].concat();
        assert_eq!(findings("a.rs", &promise).errors.len(), 1);
        let kept = ["//! A.\n// TO", "DO(#12): later\n"].concat();
        assert_eq!(findings("a.rs", &kept), Findings::default());
    }

    #[test]
    fn a_way_round_the_lint_is_seen() {
        let crate_wide = ["#![allow(", "unsafe", "_code, reason = \"x\")]\n"].concat();
        assert!(opts_out_of_unsafe(&crate_wide));
        let over_lines = [
            "#![expect(\n    ",
            "unsafe",
            "_code,\n    reason = \"x\"\n)]\n",
        ]
        .concat();
        assert!(opts_out_of_unsafe(&over_lines));
        let comment = ["//! Speaks of ", "unsafe", "_code.\n"].concat();
        assert!(!opts_out_of_unsafe(&comment));
        let mut findings = Findings::default();
        check_manifest(
            Path::new("a"),
            "[package]\n\n[lints]\nworkspace = true\n",
            &mut findings,
        );
        assert_eq!(findings, Findings::default());
        check_manifest(Path::new("a"), "[package]\n[lints.rust]\n", &mut findings);
        assert_eq!(findings.errors.len(), 1);
        assert_eq!(
            crate_of(Path::new("crates/ceph-sys/src/lib.rs")),
            "ceph-sys"
        );
        assert_eq!(crate_of(Path::new("xtask/src/main.rs")), "xtask");
        assert_eq!(folder("cuttle-host"), "host");
    }
}
