//! The count and duration of every call that passed a door, by door, call and outcome.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Which calls an [`Entry`] sums up: door, call, and the errno they ended with (`None`: success).
type Key = (&'static str, &'static str, Option<i32>);

/// The sum of all calls with the same door, name and outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The door's name: `ceph` or `host`.
    pub door: &'static str,
    /// The call's name, for example `rbd.create`.
    pub call: &'static str,
    /// The errno the calls ended with; `None` when they succeeded.
    pub errno: Option<i32>,
    /// How many such calls ended.
    pub count: u64,
    /// The time they took together.
    pub total: Duration,
    /// The time the slowest took.
    pub longest: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    count: u64,
    total: Duration,
    longest: Duration,
}

/// Counts and durations per (door, call, errno). Clones share the same figures.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    sums: Arc<Mutex<BTreeMap<Key, Sum>>>,
}

impl Ledger {
    /// Adds one ended call.
    pub(crate) fn record(
        &self,
        door: &'static str,
        call: &'static str,
        errno: Option<i32>,
        took: Duration,
    ) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = sums.entry((door, call, errno)).or_default();
        sum.count = sum.count.saturating_add(1);
        sum.total = sum.total.saturating_add(took);
        sum.longest = sum.longest.max(took);
    }

    /// All figures, ordered by door, call and errno.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Entry> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.iter()
            .map(|(&(door, call, errno), sum)| Entry {
                door,
                call,
                errno,
                count: sum.count,
                total: sum.total,
                longest: sum.longest,
            })
            .collect()
    }

    /// How many calls have ended, through both doors and with any outcome.
    #[must_use]
    pub fn total(&self) -> u64 {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.values()
            .fold(0, |all, sum| all.saturating_add(sum.count))
    }
}
