//! Typed access to the members of a JSON object, with the place of every mistake.

use std::path::{Component, Path, PathBuf};

use cuttle_model::mistakes::nearest;
use cuttle_model::names::shorten;
use serde_json::{Map, Value};

use super::{Finding, Reading};

/// A JSON value as a message shows it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("\"{}\"", shorten(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// One object of the file, its place, and where to note findings.
///
/// Like Go's decoder it finds members in any letter case and takes `null` for "not given".
pub(super) struct Object<'a> {
    members: &'a Map<String, Value>,
    path: String,
    known: &'static [&'static str],
}

impl<'a> Object<'a> {
    /// Takes a value that must be an object and warns of unknown members. `null` has none.
    pub(super) fn open(
        value: &'a Value,
        path: String,
        known: &'static [&'static str],
        reading: &mut Reading,
    ) -> Option<Self> {
        let Value::Object(members) = value else {
            wrong(
                reading,
                path,
                format!("must be an object, got {}", shown(value)),
            );
            return None;
        };
        for name in members.keys() {
            if known.contains(&name.as_str()) {
                continue;
            }
            let hint = match nearest(name, known.iter().copied()) {
                Some(word) if word.eq_ignore_ascii_case(name) => format!("is read as {word}"),
                Some(word) => format!("is not known and ignored; did you mean {word}?"),
                None => "is not known and ignored".to_owned(),
            };
            let place = format!("{path}.{}", shorten(name));
            reading.warnings.push(Finding {
                path: place,
                rule: hint,
            });
        }
        Some(Self {
            members,
            path,
            known,
        })
    }

    /// The place of a member.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// A member, unless it is absent or `null`.
    pub(super) fn member(&self, name: &str) -> Option<&'a Value> {
        debug_assert!(
            self.known.contains(&name),
            "{name} is not in the list of known members"
        );
        let exact = self.members.get(name);
        exact
            .or_else(|| {
                let same = |(key, _): &(&String, _)| key.eq_ignore_ascii_case(name);
                self.members.iter().find(same).map(|(_, value)| value)
            })
            .filter(|value| !value.is_null())
    }

    /// A member that is an object itself.
    pub(super) fn object(
        &self,
        name: &'static str,
        known: &'static [&'static str],
        reading: &mut Reading,
    ) -> Option<Self> {
        Object::open(self.member(name)?, self.at(name), known, reading)
    }

    /// A text; empty when not given.
    pub(super) fn text(&self, name: &str, reading: &mut Reading) -> &'a str {
        match self.member(name) {
            None => "",
            Some(Value::String(text)) => text,
            Some(other) => {
                wrong(
                    reading,
                    self.at(name),
                    format!("must be a string, got {}", shown(other)),
                );
                ""
            }
        }
    }

    /// A list of texts; empty when not given.
    pub(super) fn texts(&self, name: &str, reading: &mut Reading) -> Vec<String> {
        let items = match self.member(name) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => {
                let rule = format!("must be an array of strings, got {}", shown(other));
                wrong(reading, self.at(name), rule);
                return Vec::new();
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if let Value::String(text) = item {
                texts.push(text.clone());
            } else {
                let place = format!("{}[{index}]", self.at(name));
                wrong(
                    reading,
                    place,
                    format!("must be a string, got {}", shown(item)),
                );
            }
        }
        texts
    }

    /// A number from 0; `None` when not given.
    pub(super) fn count(&self, name: &str, reading: &mut Reading) -> Option<u32> {
        let value = self.member(name)?;
        let rule = if value.is_number() {
            match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
                Some(number) => return Some(number),
                None => "must be a whole number from 0 to 4294967295",
            }
        } else {
            "must be a number"
        };
        wrong(
            reading,
            self.at(name),
            format!("{rule}, got {}", shown(value)),
        );
        None
    }

    /// A truth value. The sample ConfigMaps write it as a string, which is taken with a warning.
    pub(super) fn truth(&self, name: &str, reading: &mut Reading) -> bool {
        let value = match self.member(name) {
            None => return false,
            Some(value) => value,
        };
        let from_text = match value {
            Value::Bool(truth) => return *truth,
            Value::String(text) if text == "true" => Some(true),
            Value::String(text) if text == "false" || text.is_empty() => Some(false),
            Value::Null
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        };
        if let Some(truth) = from_text {
            reading.warnings.push(Finding {
                path: self.at(name),
                rule: format!("is a string, read as {truth}; write it without quotation marks"),
            });
            return truth;
        }
        wrong(
            reading,
            self.at(name),
            format!("must be true or false, got {}", shown(value)),
        );
        false
    }

    /// An absolute path; `None` when not given or empty.
    pub(super) fn path(&self, name: &str, reading: &mut Reading) -> Option<PathBuf> {
        let text = self.text(name, reading);
        if text.is_empty() {
            return None;
        }
        let path = Path::new(text);
        let climbs = path
            .components()
            .any(|part| matches!(part, Component::ParentDir));
        if !path.is_absolute() || climbs || text.contains('\0') {
            let rule = format!(
                "must be an absolute path without \"..\", got \"{}\"",
                shorten(text)
            );
            wrong(reading, self.at(name), rule);
            return None;
        }
        Some(path.to_owned())
    }
}

/// Notes a mistake.
pub(super) fn wrong(reading: &mut Reading, path: String, rule: String) {
    reading.mistakes.push(Finding { path, rule });
}
