//! `cargo xtask check`: the rules of the house that no compiler lint can hold.
//!
//! * layers: which of our crates may depend on which (`layers.toml`)
//! * tidy: every file opens with its purpose, stays short and has a proper name
//! * packages: licences, sources, duplicates and bans of other people's code (`deny.toml`)
//! * yanked, advisories: versions taken back, and known vulnerabilities, as far as a local copy of
//!   the database tells them
//!
//! Everything works offline, on what `cargo metadata` says.

pub(crate) mod advisories;
pub(crate) mod expression;
pub(crate) mod layers;
pub(crate) mod packages;
pub(crate) mod policy;
pub(crate) mod tidy;
pub(crate) mod yanked;

use std::path::Path;

use cargo_metadata::{CargoOpt, Metadata, MetadataCommand};

use crate::screen::Screen;
use crate::{Failure, environment};

/// What a check found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Each of these fails the check.
    pub(crate) errors: Vec<String>,
    /// These are only told.
    pub(crate) warnings: Vec<String>,
}

impl Findings {
    pub(crate) fn error(&mut self, text: impl Into<String>) {
        self.errors.push(text.into());
    }

    pub(crate) fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }
}

/// Runs all checks and fails when one has an error.
pub(crate) fn run(screen: &mut Screen) -> Result<(), Failure> {
    let root = environment::workspace_root();
    let metadata = metadata(&root)?;
    let mut failed = 0;
    for (name, findings) in [
        (
            "layers",
            layers::check(&metadata, &policy::Layers::read(&root)?),
        ),
        ("tidy", tidy::check(&root, &policy::Layers::read(&root)?)?),
        (
            "packages",
            packages::check(&metadata, &policy::Deny::read(&root)?),
        ),
        ("yanked", yanked::check(&metadata)),
        ("advisories", advisories::check(&metadata)),
    ] {
        failed += findings.errors.len();
        screen.verdict(name, &findings.errors, &findings.warnings);
    }
    if failed > 0 {
        return Err(Failure::new(format!("{failed} findings")));
    }
    Ok(())
}

/// What cargo knows of the workspace and all its dependencies, on the platforms we support.
pub(crate) fn metadata(root: &Path) -> Result<Metadata, Failure> {
    MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .other_options(
            [
                "--offline",
                "--locked",
                "--filter-platform=x86_64-unknown-linux-gnu",
                "--filter-platform=aarch64-unknown-linux-gnu",
            ]
            .map(str::to_owned),
        )
        .exec()
        .map_err(|error| Failure::because("cargo metadata failed", &error))
}
