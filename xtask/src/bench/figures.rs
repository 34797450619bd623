//! Durations and what is read from them.

use std::time::Duration;

/// What a block of operations took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    /// Each operation's time.
    times: Vec<Duration>,
    /// The time from the first start to the last end, summed over blocks.
    wall: Duration,
}

impl Samples {
    /// One block.
    pub(crate) fn new(times: Vec<Duration>, wall: Duration) -> Self {
        Self { times, wall }
    }

    /// Adds another block of the same kind.
    pub(crate) fn add(&mut self, other: Self) {
        self.times.extend(other.times);
        self.wall += other.wall;
    }

    /// How many operations.
    pub(crate) fn count(&self) -> usize {
        self.times.len()
    }

    /// The time that `part` (0 to 1) of the operations did not exceed; zero without operations.
    pub(crate) fn quantile(&self, part: f64) -> Duration {
        let mut sorted = self.times.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let place = (0..=last)
            .find(|place| at(*place) >= part * at(last))
            .unwrap_or(last);
        sorted.get(place).copied().unwrap_or_default()
    }

    /// The middle time, in milliseconds.
    pub(crate) fn p50(&self) -> f64 {
        milliseconds(self.quantile(0.5))
    }

    /// The time that one in a hundred exceeds, in milliseconds.
    pub(crate) fn p99(&self) -> f64 {
        milliseconds(self.quantile(0.99))
    }

    /// Operations per second.
    pub(crate) fn per_second(&self) -> f64 {
        let wall = self.wall.as_secs_f64();
        if wall > 0.0 {
            at(self.count()) / wall
        } else {
            0.0
        }
    }
}

/// A duration in milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A count as a float; exact for every count that occurs here.
pub(crate) fn at(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_rates_are_those_of_the_samples() {
        let times = (1..=101).rev().map(Duration::from_millis).collect();
        let mut samples = Samples::new(times, Duration::from_secs(2));
        assert_eq!(samples.quantile(0.5), Duration::from_millis(51));
        assert_eq!(samples.quantile(0.99), Duration::from_millis(100));
        assert_eq!(samples.quantile(1.0), Duration::from_millis(101));
        samples.add(Samples::new(
            vec![Duration::from_millis(1); 99],
            Duration::from_secs(2),
        ));
        assert!((samples.per_second() - 50.0).abs() < 1e-9);
        assert_eq!(Samples::default().quantile(0.5), Duration::ZERO);
        assert!((mebibytes(3 << 20) - 3.0).abs() < 1e-9);
    }
}
