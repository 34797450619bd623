//! What there is to count about calls: how many ended how, how long they took, how many are open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::rpc::Rpc;

/// The upper bounds of the classes of durations, in seconds; what is longer is in the last class.
pub const BOUNDS: [f64; 15] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 150.0,
];

/// The figures of a process's calls. Clones are the same figures.
#[derive(Debug, Clone, Default)]
pub struct CallFigures {
    shared: Arc<Mutex<Sums>>,
}

/// The figures at one moment, by driver and call.
#[derive(Debug, Clone, Default)]
pub struct Sums {
    /// How many calls ended with a gRPC code.
    pub ended: BTreeMap<(Arc<str>, Rpc, &'static str), u64>,
    /// How long they took.
    pub took: BTreeMap<(Arc<str>, Rpc), Durations>,
    /// How many have not ended.
    pub open: BTreeMap<(Arc<str>, Rpc), u64>,
}

/// A distribution of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// How many were at most as long as each of [`BOUNDS`] and longer than the one before.
    pub classes: [u64; BOUNDS.len()],
    /// How many there were.
    pub count: u64,
    /// Their sum.
    pub total: Duration,
}

impl Durations {
    fn add(&mut self, took: Duration) {
        let class = BOUNDS.iter().position(|&bound| took.as_secs_f64() <= bound);
        if let Some(count) = class.and_then(|class| self.classes.get_mut(class)) {
            *count = count.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.total = self.total.saturating_add(took);
    }
}

impl CallFigures {
    /// All figures.
    #[must_use]
    pub fn snapshot(&self) -> Sums {
        self.sums().clone()
    }

    pub(crate) fn begun(&self, driver: &Arc<str>, rpc: Rpc) {
        let mut sums = self.sums();
        let open = sums.open.entry((Arc::clone(driver), rpc)).or_default();
        *open = open.saturating_add(1);
    }

    pub(crate) fn ended(&self, driver: &Arc<str>, rpc: Rpc, code: &'static str, took: Duration) {
        let mut sums = self.sums();
        let call = (Arc::clone(driver), rpc);
        if let Some(open) = sums.open.get_mut(&call) {
            *open = open.saturating_sub(1);
        }
        sums.took.entry(call).or_default().add(took);
        let ended = sums
            .ended
            .entry((Arc::clone(driver), rpc, code))
            .or_default();
        *ended = ended.saturating_add(1);
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_driver_call_and_code() {
        let figures = CallFigures::default();
        let driver: Arc<str> = "rbd.csi.ceph.com".into();
        for _ in 0..3 {
            figures.begun(&driver, Rpc::CreateVolume);
        }
        let took = Duration::from_millis(3);
        figures.ended(&driver, Rpc::CreateVolume, "OK", took);
        figures.ended(
            &driver,
            Rpc::CreateVolume,
            "ABORTED",
            Duration::from_secs(1000),
        );
        let sums = figures.snapshot();
        let call = (Arc::clone(&driver), Rpc::CreateVolume);
        assert_eq!(sums.open[&call], 1);
        assert_eq!(sums.ended[&(driver, Rpc::CreateVolume, "OK")], 1);
        let durations = sums.took[&call];
        assert_eq!(durations.count, 2);
        // Three milliseconds are in the class up to five; the long one is in none.
        assert_eq!(durations.classes[2], 1);
        assert_eq!(durations.classes.iter().sum::<u64>(), 1);
        assert_eq!(durations.total, Duration::from_millis(1_000_003));
    }
}
