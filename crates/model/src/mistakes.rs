//! Lists of mistakes in what a caller gave, so that all of them are told at once.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Class, Code, Explain};
use crate::names::shorten;

/// One wrong value: where it is, which rule it breaks, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The field, such as `pool`.
    pub field: String,
    /// The broken rule, such as `must not be empty`.
    pub rule: String,
    /// What to do, such as `name an existing RADOS pool`.
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.field, self.rule, self.remedy)
    }
}

/// All mistakes found in one map of parameters; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterErrors {
    place: Place,
    mistakes: Vec<Mistake>,
}

/// The map that holds the mistakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The parameters of a StorageClass.
    StorageClass,
    /// The parameters of a VolumeSnapshotClass.
    SnapshotClass,
    /// The volume context: a PersistentVolume's `volumeAttributes`.
    VolumeContext,
}

impl ParameterErrors {
    /// The mistakes, in the order of the fields.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for ParameterErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::StorageClass => "the StorageClass parameters",
            Place::SnapshotClass => "the VolumeSnapshotClass parameters",
            Place::VolumeContext => "the volume's volumeAttributes",
        };
        match self.mistakes.as_slice() {
            [only] => write!(f, "a mistake in {place}: {only}"),
            all => {
                write!(f, "{} mistakes in {place}", all.len())?;
                let shown = all.get(..MOST_SHOWN).unwrap_or(all);
                let mut separator = ": ";
                for mistake in shown {
                    write!(f, "{separator}{mistake}")?;
                    separator = "; ";
                }
                match all.len().checked_sub(shown.len()) {
                    Some(more @ 1..) => write!(f, "; and {more} more"),
                    Some(0) | None => Ok(()),
                }
            }
        }
    }
}

/// A message lists this many mistakes and counts the rest, so that hostile input stays readable.
const MOST_SHOWN: usize = 20;

impl std::error::Error for ParameterErrors {}

impl Explain for ParameterErrors {
    fn code(&self) -> Code {
        Code::new(match self.place {
            Place::StorageClass => 1008,
            Place::VolumeContext => 1009,
            Place::SnapshotClass => 1010,
        })
    }

    fn class(&self) -> Class {
        Class::Invalid
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed(match self.place {
            Place::StorageClass => {
                "delete the StorageClass and create it again with the corrected parameters; \
                 volumes it already made are not touched"
            }
            Place::SnapshotClass => {
                "delete the VolumeSnapshotClass and create it again with the corrected parameters; \
                 snapshots it already made are not touched"
            }
            Place::VolumeContext => {
                "create the PersistentVolume again with the corrected volumeAttributes"
            }
        }))
    }
}

/// Collects mistakes while a map is read.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Notes a mistake.
    pub(crate) fn add(&mut self, field: &str, rule: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Mistake {
            field: shorten(field),
            rule: rule.into(),
            remedy: remedy.into(),
        });
    }

    /// Takes a checked value, or notes its error.
    pub(crate) fn take<T, E: fmt::Display>(
        &mut self,
        field: &str,
        remedy: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(rule) => {
                self.add(field, rule.to_string(), remedy);
                None
            }
        }
    }

    /// Whether nothing was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The error that tells them all, ordered by field.
    pub(crate) fn into_errors(mut self, place: Place) -> ParameterErrors {
        self.0.sort_by(|a, b| a.field.cmp(&b.field));
        ParameterErrors {
            place,
            mistakes: self.0,
        }
    }
}

/// The known word nearest to an unknown one, when it is near enough to be what was meant.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes a word into one three times as long; this also bounds the work.
    if unknown.len() > 64 {
        return None;
    }
    let unknown = unknown.to_lowercase();
    known
        .into_iter()
        .map(|word| (distance(&unknown, &word.to_lowercase()), word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// The number of edits between two words: a character more, less or another one, or two neighbours
/// swapped.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    let cell = |rows: &[Vec<usize>], row: usize, column: usize| {
        rows.get(row)
            .and_then(|cells| cells.get(column))
            .copied()
            .unwrap_or(usize::MAX / 2)
    };
    for (i, from) in a.iter().enumerate() {
        rows.push(vec![i + 1]);
        for (j, to) in b.iter().enumerate() {
            let replaced = cell(&rows, i, j) + usize::from(from != to);
            let mut least = replaced
                .min(cell(&rows, i, j + 1) + 1)
                .min(cell(&rows, i + 1, j) + 1);
            let before =
                |word: &[char], at: usize| at.checked_sub(1).and_then(|k| word.get(k).copied());
            if before(&a, i) == Some(*to) && before(&b, j) == Some(*from) {
                least = least.min(cell(&rows, i - 1, j - 1) + 1);
            }
            if let Some(row) = rows.last_mut() {
                row.push(least);
            }
        }
    }
    cell(&rows, a.len(), b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_the_one_meant() {
        let known = ["pool", "dataPool", "clusterID", "imageFeatures"];
        assert_eq!(nearest("imagefeature", known), Some("imageFeatures"));
        assert_eq!(nearest("clusterId", known), Some("clusterID"));
        assert_eq!(nearest("poool", known), Some("pool"));
        assert_eq!(nearest("somethingElse", known), None);
        assert_eq!(nearest(&"p".repeat(1 << 20), known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("rdb", "rbd"), 1);
    }

    #[test]
    fn one_mistake_reads_as_a_sentence_and_many_as_a_bounded_list() {
        let mut one = Mistakes::default();
        one.add("pool", "must not be empty", "name a pool");
        assert_eq!(
            one.into_errors(Place::StorageClass).to_string(),
            "a mistake in the StorageClass parameters: pool must not be empty (name a pool)"
        );
        let mut many = Mistakes::default();
        for number in 0..30 {
            many.add(&format!("f{number:02}"), "is wrong", "fix it");
        }
        let text = many.into_errors(Place::VolumeContext).to_string();
        assert!(text.starts_with("30 mistakes in the volume's volumeAttributes: f00 is wrong"));
        assert!(
            text.ends_with("f19 is wrong (fix it); and 10 more"),
            "{text}"
        );
    }
}
