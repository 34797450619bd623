//! The two forms of each object, and the slots in which they differ.

use serde_json::Value;

use super::values;

/// Marks a text that stands in YAML as it is.
pub(super) const RAW: char = '\u{1}';

/// Where an object is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// A manifest with all values filled in.
    Plain,
    /// A template of the chart.
    Chart,
}

impl Target {
    /// A whole value (`node.resources`), of any kind.
    pub(super) fn value(self, path: &str) -> Value {
        match self {
            Self::Plain => values::default_of(path),
            Self::Chart => format!("{RAW}{{{{ toJson .Values.{path} }}}}").into(),
        }
    }

    /// A value inside a longer text. The chart's users may not have quotes in it.
    pub(super) fn within(self, path: &str) -> String {
        match self {
            Self::Plain => {
                let value = values::default_of(path);
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            }
            Self::Chart => format!("{{{{ .Values.{path} }}}}"),
        }
    }

    /// The namespace of everything that has one.
    pub(super) fn namespace(self) -> String {
        match self {
            Self::Plain => values::NAMESPACE.to_owned(),
            Self::Chart => "{{ .Release.Namespace }}".to_owned(),
        }
    }

    /// A value as a JSON document inside a text, such as a file of a ConfigMap.
    pub(super) fn file(self, path: &str) -> Value {
        match self {
            Self::Plain => values::default_of(path).to_string().into(),
            Self::Chart => format!("{RAW}{{{{ toJson (toJson .Values.{path}) }}}}").into(),
        }
    }
}
