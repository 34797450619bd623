//! The command line in the form of Go's `flag` package, with ceph-csi's flags spelled exactly so.
//!
//! One dash or two, `--name=value` or `--name value`; a switch takes its value only after `=`, and
//! without one means true. The last of several counts. Reading stops at nothing: every mistake is
//! collected.

mod duration;
mod table;

use std::collections::{BTreeMap, BTreeSet};

pub use duration::parse_duration;
pub use table::{Effect, FLAGS, Flag, Kind, reference_page};

use cuttle_model::mistakes::nearest;
use cuttle_model::names::shorten;

/// What is wrong with one argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    /// The argument has no flag's form.
    #[error(
        "\"{0}\" is no flag: flags begin with '-' and switches take their value as --name=true"
    )]
    NoFlag(String),
    /// No flag has this name.
    #[error("--{name} is not a known flag{}", suggestion.map(|s| format!("; did you mean --{s}?")).unwrap_or_default())]
    Unknown {
        /// The given name.
        name: String,
        /// A known name that is near it.
        suggestion: Option<&'static str>,
    },
    /// The flag stands last and has no value.
    #[error("--{0} needs a value")]
    NoValue(&'static str),
    /// The value breaks the flag's rule.
    #[error("--{name} {rule}, got \"{given}\"")]
    Value {
        /// The flag.
        name: &'static str,
        /// The rule, such as "must be a whole number".
        rule: String,
        /// The value, shortened.
        given: String,
    },
}

impl FlagError {
    /// An error about the value of a flag.
    #[must_use]
    pub fn value(name: &'static str, rule: impl Into<String>, given: &str) -> Self {
        Self::Value {
            name,
            rule: rule.into(),
            given: shorten(given),
        }
    }
}

/// The flags given on a command line, with those not given at their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Given {
    values: BTreeMap<&'static str, String>,
    broken: BTreeSet<&'static str>,
    mistakes: Vec<FlagError>,
    /// Whether help was asked for.
    pub help: bool,
}

impl Given {
    /// Reads arguments, without the program's name. Values are checked against their kind; what is
    /// wrong is found in [`Given::mistakes`], and the rest is read all the same.
    pub fn parse<I>(arguments: I) -> Self
    where
        I: IntoIterator<Item = String>,
    {
        let mut arguments = arguments.into_iter();
        let mut given = Self::default();
        while let Some(argument) = arguments.next() {
            if let Err(error) = given.read(&argument, &mut arguments) {
                if let FlagError::NoValue(name) | FlagError::Value { name, .. } = &error {
                    given.broken.insert(name);
                }
                given.mistakes.push(error);
            }
        }
        given
    }

    /// What is wrong with the form of the arguments.
    #[must_use]
    pub fn mistakes(&self) -> &[FlagError] {
        &self.mistakes
    }

    /// Whether the flag was given in a wrong form, so that its default stands in for it.
    #[must_use]
    pub fn is_broken(&self, name: &str) -> bool {
        self.broken.contains(name)
    }

    fn read(
        &mut self,
        argument: &str,
        rest: &mut impl Iterator<Item = String>,
    ) -> Result<(), FlagError> {
        let no_flag = || FlagError::NoFlag(shorten(argument));
        let text = argument.strip_prefix('-').ok_or_else(no_flag)?;
        let text = text.strip_prefix('-').unwrap_or(text);
        if text.is_empty() || text.starts_with(['-', '=']) {
            return Err(no_flag());
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if matches!(name, "h" | "help") {
            self.help = true;
            return Ok(());
        }
        let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
            let visible = FLAGS
                .iter()
                .filter(|flag| !flag.hidden)
                .map(|flag| flag.name);
            return Err(FlagError::Unknown {
                name: shorten(name),
                suggestion: nearest(name, visible),
            });
        };
        let value = match (value, flag.kind) {
            (Some(value), _) => value,
            (None, Kind::Switch) => "true".to_owned(),
            (None, _) => rest.next().ok_or(FlagError::NoValue(flag.name))?,
        };
        flag.kind
            .check(&value)
            .map_err(|rule| FlagError::value(flag.name, rule, &value))?;
        self.values.insert(flag.name, value);
        Ok(())
    }

    /// Whether the flag was on the command line.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The flag's value, or its default.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some(value) => value,
            None => FLAGS
                .iter()
                .find(|flag| flag.name == name)
                .map_or("", |flag| flag.default),
        }
    }

    /// The value of a switch.
    #[must_use]
    pub fn switch(&self, name: &str) -> bool {
        table::switch(self.text(name)).unwrap_or(false)
    }

    /// The value of a number.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        table::number(self.text(name)).unwrap_or(0)
    }

    /// The value of a duration; negative ones count as zero.
    #[must_use]
    pub fn duration(&self, name: &str) -> std::time::Duration {
        parse_duration(self.text(name))
            .ok()
            .and_then(|nanos| u64::try_from(nanos).ok())
            .map_or(std::time::Duration::ZERO, std::time::Duration::from_nanos)
    }

    /// The given flags that have no effect, with the reason, in alphabetical order. A flag given
    /// with its default value asks for nothing.
    pub fn without_effect(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        FLAGS.iter().filter_map(|flag| match flag.effect {
            Effect::Acted => None,
            Effect::None(reason) => {
                let value = self.values.get(flag.name)?;
                (value != flag.default).then_some((flag.name, reason))
            }
        })
    }
}

#[cfg(test)]
mod tests;
