//! Waiting for a condition with a deadline, the only way anything here waits.

use std::time::{Duration, Instant};

use crate::Error;

/// The pause between two looks: short enough not to be felt, long enough not to burn a core.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `look` until it answers `Ok`, at most for `limit`, and gives back its value.
///
/// `look` answers `Err(observation)` while the condition is not met; the last observation goes
/// into the error, so that a failed wait explains itself.
///
/// # Errors
/// [`Error::Waited`] when the limit passes first.
pub fn until<T>(
    what: impl Into<String>,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        let last = match look() {
            Ok(value) => return Ok(value),
            Err(last) => last,
        };
        if start.elapsed() >= limit {
            return Err(Error::Waited {
                what: what.into(),
                after: limit,
                last,
            });
        }
        std::thread::sleep(PAUSE);
    }
}
