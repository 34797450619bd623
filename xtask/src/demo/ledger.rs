//! The list of steps with their times, shown as they happen.

use std::time::Instant;

use serde_json::{Value, json};

use crate::Failure;
use crate::screen::Screen;

/// Runs steps, shows them and remembers them.
#[derive(Debug)]
pub(crate) struct Ledger<'s> {
    screen: &'s mut Screen,
    steps: Vec<Value>,
}

impl<'s> Ledger<'s> {
    /// An empty ledger.
    pub(crate) fn new(screen: &'s mut Screen) -> Self {
        Self {
            screen,
            steps: Vec::new(),
        }
    }

    /// Runs one step; `work` gives its result and what was seen.
    pub(crate) fn step<T>(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<(T, String), Failure>,
    ) -> Result<T, Failure> {
        self.screen.begin(name);
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        let milliseconds = (took.as_secs_f64() * 10_000.0).round() / 10.0;
        let (ok, detail) = match &result {
            Ok((_, detail)) => {
                self.screen.done(name, took, detail);
                (true, detail.clone())
            }
            Err(failure) => {
                self.screen.failed(name, took, &failure.to_string());
                (false, failure.to_string())
            }
        };
        self.steps.push(json!({
            "step": name, "ok": ok, "milliseconds": milliseconds, "detail": detail,
        }));
        result.map(|(value, _)| value)
    }

    /// The steps so far, as JSON objects.
    pub(crate) fn into_steps(self) -> Vec<Value> {
        self.steps
    }
}
