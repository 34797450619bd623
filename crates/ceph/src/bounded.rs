//! Bounds C calls that know no time-out of their own, by making them on a helper thread.
//!
//! A call that does not end in time is given up: its thread is left to finish, and nothing it
//! uses is freed before. The number of such threads is limited per [`Bound`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use cuttle_door::job;

use crate::error::Errno;

/// How many calls may be under way at once; beyond them new ones are refused as timed out.
const MOST: usize = 64;

/// Counts the helper threads under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bound {
    under_way: Arc<AtomicUsize>,
}

/// One thread under way, counted off when it ends, even by a panic.
struct Ticket(Arc<AtomicUsize>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Bound {
    /// Runs `work` on a thread of its own for at most `limit` and the caller's job's time.
    ///
    /// # Errors
    /// ETIMEDOUT when it takes longer (it then goes on without a listener) or when too many are
    /// under way; ENOMEM when no thread can be made; otherwise what `work` answers.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> Result<T, Errno> + Send + 'static,
    ) -> Result<T, Errno> {
        self.start(work)?.wait(limit)
    }

    /// Begins `work` on a thread of its own.
    ///
    /// # Errors
    /// ETIMEDOUT when too many are under way, ENOMEM when no thread can be made.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Errno> + Send + 'static,
    ) -> Result<Started<T>, Errno> {
        if self.under_way.fetch_add(1, Ordering::AcqRel) >= MOST {
            self.under_way.fetch_sub(1, Ordering::AcqRel);
            return Err(Errno::new(libc::ETIMEDOUT));
        }
        let ticket = Ticket(Arc::clone(&self.under_way));
        let (sender, outcome) = mpsc::sync_channel(1);
        let spawned = thread::Builder::new()
            .name("ceph-call".to_owned())
            .spawn(move || {
                let outcome = work();
                drop(ticket);
                // The caller may have given up; then there is no one to tell.
                let _listening = sender.send(outcome);
            });
        match spawned {
            Ok(_detached) => Ok(Started(outcome)),
            Err(_no_thread) => Err(Errno::new(libc::ENOMEM)),
        }
    }
}

/// Work on a thread of its own, begun by [`Bound::start`]. Dropped, it goes on without a listener.
#[derive(Debug)]
pub(crate) struct Started<T>(mpsc::Receiver<Result<T, Errno>>);

impl<T> Started<T> {
    /// Waits for the end, for at most `limit` and the caller's job's time.
    ///
    /// # Errors
    /// ETIMEDOUT when it takes longer; otherwise what the work answers.
    pub(crate) fn wait(self, limit: Duration) -> Result<T, Errno> {
        let limit = job::remaining().map_or(limit, |left| left.min(limit));
        match self.0.recv_timeout(limit) {
            Ok(outcome) => outcome,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Errno::new(libc::ETIMEDOUT)),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Errno::new(libc::EIO)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_in_time_is_answered() {
        let bound = Bound::default();
        let limit = Duration::from_secs(60);
        assert_eq!(bound.run(limit, || Ok(7)), Ok(7));
        let failed = Err::<(), _>(Errno::new(libc::EPERM));
        assert_eq!(bound.run(limit, move || failed), failed);
        assert_eq!(bound.under_way.load(Ordering::Acquire), 0);
    }

    #[test]
    fn what_hangs_is_given_up_and_cannot_pile_up() {
        let bound = Bound::default();
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let timed_out = Err::<(), _>(Errno::new(libc::ETIMEDOUT));
        let mut waited = Vec::new();
        for _ in 0..=MOST {
            let gate = Arc::clone(&gate);
            waited.push(bound.run(Duration::from_millis(1), move || {
                gate.lock().unwrap().recv().ok();
                Ok(())
            }));
        }
        assert!(waited.iter().all(|outcome| *outcome == timed_out));
        assert_eq!(bound.under_way.load(Ordering::Acquire), MOST);
        drop(release);
    }
}
