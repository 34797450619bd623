//! `config.json`: the Ceph clusters a driver may use.
//!
//! The file is an array with one object for each cluster, in ceph-csi's form. Reading tells every
//! mistake with its place in the file (`$[1].rbd.mirrorDaemonCount`); an entry with a mistake does
//! not take the others with it.

mod entry;
mod fields;
mod file;
mod watch;

use std::fmt;

use cuttle_model::{Class, ClusterId, ClusterSettings, ClusterTable, Code, Explain};
use serde_json::Value;

pub use file::{ClusterFile, Outcome, Unusable};
pub use watch::{Watch, refresh};

/// Something in the file that is wrong or odd, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The place, as a JSON path.
    pub path: String,
    /// The broken rule, or what is odd.
    pub rule: String,
}

impl Finding {
    /// The code of a mistake inside an entry.
    pub const MISTAKE: Code = Code::new(1106);
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.rule)
    }
}

/// What one reading of the file gave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reading {
    /// The entries in order; those with mistakes have no settings.
    pub entries: Vec<Entry>,
    /// What is wrong; an entry with a mistake is not used.
    pub mistakes: Vec<Finding>,
    /// What is odd and does no harm.
    pub warnings: Vec<Finding>,
}

/// One entry of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id, when it has a good one.
    pub id: Option<ClusterId>,
    /// Its settings, when nothing is wrong with it.
    pub settings: Option<ClusterSettings>,
}

/// A file of which nothing can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is no JSON.
    #[error("is no JSON: {0}")]
    Syntax(String),
    /// The JSON is no array.
    #[error("$: must be an array of clusters, got {0}")]
    NotAnArray(String),
}

impl Explain for ConfigError {
    fn code(&self) -> Code {
        Code::new(1102)
    }
    fn class(&self) -> Class {
        Class::Invalid
    }
    fn remedy(&self) -> Option<std::borrow::Cow<'static, str>> {
        Some("correct the ConfigMap ceph-csi-config; docs/configuration.md shows its form".into())
    }
}

impl Reading {
    /// Reads the text of the file. Never panics, whatever the text.
    ///
    /// # Errors
    /// When nothing of it can be used. Mistakes inside entries are no error but are listed.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| ConfigError::Syntax(error.to_string()))?;
        let entries = match value {
            Value::Array(entries) => entries,
            // Go decodes null to an empty list.
            Value::Null => Vec::new(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                return Err(ConfigError::NotAnArray(fields::shown(&value)));
            }
        };
        let mut reading = Self::default();
        for (index, value) in entries.iter().enumerate() {
            let entry = entry::read(index, value, &mut reading);
            reading.note_repetition(index, &entry);
            reading.entries.push(entry);
        }
        Ok(reading)
    }

    fn note_repetition(&mut self, index: usize, entry: &Entry) {
        let Some(id) = &entry.id else { return };
        if let Some(first) = self.entries.iter().position(|e| e.id.as_ref() == Some(id)) {
            self.warnings.push(Finding {
                path: format!("$[{index}].clusterID"),
                rule: format!("repeats \"{id}\" of $[{first}], which is the one that counts"),
            });
        }
    }

    /// The clusters of this reading; for an entry with mistakes its last good settings stay.
    #[must_use]
    pub fn into_table(self, last_good: &ClusterTable) -> ClusterTable {
        ClusterTable::new(self.entries.into_iter().filter_map(|entry| {
            entry.settings.or_else(|| {
                let id = entry.id?;
                last_good.find(&id).map(|settings| (*settings).clone())
            })
        }))
    }
}

#[cfg(test)]
mod tests;
