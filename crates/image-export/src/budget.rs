//! A limit on the bytes that are under way between the kernel and librbd.
//!
//! The kernel may have dozens of requests of 1 MiB open at once. A request takes its bytes from
//! the budget before its buffer is made; when none are left, the thread that reads requests waits,
//! and the kernel keeps the rest in its own queue.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that requests may hold at once.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    requests: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Takes `bytes`, waiting until they are free. A request larger than the whole budget is let
    /// in alone; one without bytes never waits.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Share {
        let fits = |state: &State| {
            bytes == 0 || state.bytes == 0 || state.bytes.saturating_add(bytes) <= self.limit
        };
        let mut state = self.wait_until(fits);
        state.bytes = state.bytes.saturating_add(bytes);
        state.requests = state.requests.saturating_add(1);
        Share {
            budget: Arc::clone(self),
            bytes,
        }
    }

    /// Waits until no request holds a share.
    pub(crate) fn drained(&self) {
        drop(self.wait_until(|state| state.requests == 0));
    }

    fn wait_until(&self, ready: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed
            .wait_while(state, |state| !ready(state))
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's share of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self
            .budget
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.bytes = state.bytes.saturating_sub(self.bytes);
        state.requests = state.requests.saturating_sub(1);
        drop(state);
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_request_waits_for_bytes_and_gets_them() {
        let budget = Budget::new(10);
        let first = budget.take(6);
        let (told, tells) = mpsc::channel();
        let waiter = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || {
                let share = budget.take(6);
                told.send(()).unwrap();
                drop(share);
            })
        };
        assert!(
            tells
                .recv_timeout(std::time::Duration::from_millis(50))
                .is_err()
        );
        drop(first);
        tells.recv().unwrap();
        waiter.join().unwrap();
        budget.drained();
    }

    #[test]
    fn an_oversized_request_runs_alone() {
        let budget = Budget::new(10);
        let share = budget.take(100);
        assert_eq!(budget.state.lock().unwrap().requests, 1);
        drop(share);
        assert_eq!(budget.state.lock().unwrap().bytes, 0);
    }

    #[test]
    fn requests_without_bytes_are_waited_for() {
        let budget = Budget::new(10);
        let flush = budget.take(0);
        let drained = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || budget.drained())
        };
        assert!(!drained.is_finished());
        drop(flush);
        drained.join().unwrap();
    }
}
