//! The rules as data: `layers.toml` and `deny.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Failure;

/// Who may depend on whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Layers {
    /// Crates that may contain `unsafe`.
    pub(crate) r#unsafe: BTreeSet<String>,
    /// Crates that may not reach any of `banned_in_pure`.
    pub(crate) pure: BTreeSet<String>,
    pub(crate) banned_in_pure: BTreeSet<String>,
    /// Crates that nothing which is shipped may depend on.
    pub(crate) development: BTreeSet<String>,
    /// For each crate, the crates of ours that it may name.
    pub(crate) edges: BTreeMap<String, BTreeSet<String>>,
    /// The crates in the order of the file, lowest first.
    #[serde(skip)]
    pub(crate) order: Vec<String>,
}

impl Layers {
    pub(crate) fn read(root: &Path) -> Result<Self, Failure> {
        Self::parse(&text_of(&root.join("layers.toml"))?)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let mut layers: Self = parse("layers.toml", text)?;
        // The order of a table's keys is not part of TOML's meaning, but it is the rule here.
        let edges = text.split_once("[edges]").map_or("", |(_, edges)| edges);
        layers.order = edges
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, _)| name.trim().to_owned())
            .collect();
        Ok(layers)
    }
}

/// Rules for other people's code, in the form that cargo-deny reads too.
#[derive(Debug, Deserialize)]
pub(crate) struct Deny {
    pub(crate) licenses: Licences,
    pub(crate) bans: Bans,
    pub(crate) sources: Sources,
}

/// The licences that may be used.
#[derive(Debug, Deserialize)]
pub(crate) struct Licences {
    pub(crate) allow: BTreeSet<String>,
}

/// The packages that may not be used, and those that may be there twice.
#[derive(Debug, Deserialize)]
pub(crate) struct Bans {
    #[serde(default)]
    pub(crate) skip: Vec<Named>,
    #[serde(default)]
    pub(crate) deny: Vec<Named>,
}

/// A package, perhaps in certain versions, with the reason for the entry.
#[derive(Debug, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) version: Option<String>,
    pub(crate) reason: String,
}

/// Where packages may come from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Sources {
    pub(crate) allow_registry: BTreeSet<String>,
}

impl Deny {
    pub(crate) fn read(root: &Path) -> Result<Self, Failure> {
        parse("deny.toml", &text_of(&root.join("deny.toml"))?)
    }
}

fn text_of(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::because(format!("cannot read {}", path.display()), &error))
}

fn parse<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Failure> {
    basic_toml::from_str(text).map_err(|error| Failure::because(format!("{name} is wrong"), &error))
}
