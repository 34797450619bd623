//! Runs operations on lanes, one at a time for each volume, and outlives the callers.
//!
//! ```text
//!  request ─ claim free? ──────────────────► queued on a lane ─► running ─► outcome for all callers
//!              │ held by the same request ─► joins it                ▲
//!              │ held by another one      ─► Conflict (who, which step, since when)
//!              └ lane has no room         ─► LaneFull
//! ```
//!
//! * A *claim* covers keys: a name given by the orchestrator, a volume handle, a target path. Keys
//!   are held alone or shared. A claim lives in its job: from admission to the job's end, whatever
//!   becomes of the callers, and a job that panics gives it back as well.
//! * A *lane* is a bounded queue with a few threads of its own, so that work on a dead cluster
//!   cannot take the threads of others. A job that has used up its time loses its place there.
//! * Callers only wait. One that hangs up or runs out of time leaves the job alone; repeating the
//!   request joins it. A job that nobody waits for any more and that has not begun is dropped:
//!   nothing was done, and whoever still wants it repeats it.

mod claims;
mod job;
mod lane;
mod refusal;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use claims::{Fingerprint, Hold, Key};
pub use job::{Failure, Ticket};
pub use lane::{LaneLimits, LaneName, LaneState};
pub use refusal::{Holder, Refusal};

use crate::rpc::Rpc;
use claims::{Admission, Claims};
use job::{Job, Outcome};
use lane::Lane;

/// How much work is done at once and how long.
#[derive(Debug, Clone, Copy)]
pub struct DispatchOptions {
    /// Each cluster's lane for controller operations.
    pub cluster: LaneLimits,
    /// Each cluster's lane for staging and growing on this node.
    pub stage: LaneLimits,
    /// The lane for publishing.
    pub publish: LaneLimits,
    /// The lane for unpublishing, and each cluster's lane for unstaging.
    pub unmount: LaneLimits,
    /// The lane for statistics and health, and the one for listing.
    pub probe: LaneLimits,
    /// After this time a job's further outside calls are refused, so that it ends; one that hangs
    /// in a call even then loses its place in the lane.
    pub longest_job: Duration,
}

impl Default for DispatchOptions {
    fn default() -> Self {
        let limits = |threads, queue| LaneLimits { threads, queue };
        Self {
            cluster: limits(16, 512),
            stage: limits(8, 256),
            publish: limits(8, 256),
            unmount: limits(8, 512),
            probe: limits(4, 256),
            longest_job: Duration::from_secs(15 * 60),
        }
    }
}

/// One piece of work to admit.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The call that asks.
    pub rpc: Rpc,
    /// Id of the request, as in the logs.
    pub request_id: Arc<str>,
    /// Everything the work needs to hold, without repetitions.
    pub keys: Vec<(Key, Hold)>,
    /// Equal for equal requests; decides between joining and conflict.
    pub fingerprint: Fingerprint,
    /// Where the work runs.
    pub lane: LaneName,
}

/// Admits, runs and drains jobs. Clones are the same dispatcher.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

/// What jobs need of the dispatcher after admission.
#[derive(Debug)]
pub(crate) struct Shared {
    options: DispatchOptions,
    claims: Mutex<Claims>,
    lanes: Mutex<Lanes>,
    panics: AtomicU64,
    /// Number of admitted jobs that have not ended.
    open: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Lanes {
    by_name: HashMap<LaneName, Lane>,
    draining: bool,
}

impl Dispatcher {
    /// A dispatcher without jobs; threads start when they are needed.
    #[must_use]
    pub fn new(options: DispatchOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                options,
                claims: Mutex::new(Claims::default()),
                lanes: Mutex::new(Lanes::default()),
                panics: AtomicU64::new(0),
                open: watch::Sender::new(0),
            }),
        }
    }

    /// Admits `work`, or joins the same request's running job (then `work` is dropped unused).
    ///
    /// # Errors
    /// A conflict, a full lane, or a shutdown under way. Nothing has been done then.
    ///
    /// # Blocking
    /// Never for long: a lock and at most the start of a thread.
    pub fn submit<T, F>(&self, ask: Ask, work: F) -> Result<Ticket<T>, Refusal>
    where
        T: Send + Sync + 'static,
        F: FnOnce() -> Result<T, Failure> + Send + 'static,
    {
        self.shared.relieve(&ask.lane);
        let outcome = Arc::new(Outcome::<T>::new());
        let limit = self.shared.options.longest_job;
        let (rpc, lane) = (ask.rpc, ask.lane.clone());
        let holder = match self.shared.claims().admit(ask, Arc::clone(&outcome))? {
            Admission::Joined(ticket) => return Ok(ticket),
            Admission::Claimed(holder) => holder,
        };
        // The ticket subscribes before the job can end, so it cannot miss the outcome.
        let ticket = Ticket::new(Arc::clone(&holder), &outcome, false);
        self.shared.open.send_modify(|open| *open += 1);
        let job = Job::new(Arc::clone(&self.shared), holder, outcome, limit, work);
        match self.shared.enqueue(&lane, Box::new(job)) {
            Ok(()) => Ok(ticket),
            Err((job, refusal)) => {
                // Callers that joined in the meantime are refused in the same way.
                job.cancel(refusal.clone());
                tracing::debug!(rpc.method = %rpc, lane = %lane, "refused");
                Err(refusal)
            }
        }
    }

    /// Refuses new jobs, drops those not begun and waits until the running ones have ended.
    ///
    /// Answers the number of jobs still running after `limit`.
    pub async fn drain(&self, limit: Duration) -> usize {
        for job in self.shared.lanes().close() {
            job.cancel(Refusal::ShuttingDown);
        }
        let mut open = self.shared.open.subscribe();
        let ended = open.wait_for(|open| *open == 0);
        match tokio::time::timeout(limit, ended).await {
            Ok(_) => 0,
            Err(_elapsed) => {
                for job in self.jobs() {
                    tracing::warn!(%job, "still running at the end");
                }
                *self.shared.open.borrow()
            }
        }
    }

    /// Whether [`Dispatcher::drain`] has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.lanes().draining
    }

    /// How many jobs have panicked since the start.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// How many jobs are admitted and have not ended.
    #[must_use]
    pub fn open_jobs(&self) -> usize {
        *self.shared.open.borrow()
    }

    /// Every job that is running or waiting for a thread, oldest first, with its step.
    #[must_use]
    pub fn jobs(&self) -> Vec<Holder> {
        self.shared.claims().jobs()
    }

    /// How many keys are held.
    #[must_use]
    pub fn held_keys(&self) -> usize {
        self.shared.claims().held_keys()
    }

    /// Queue and threads of every lane that has been used.
    #[must_use]
    pub fn lanes(&self) -> Vec<(LaneName, LaneState)> {
        let lanes = self.shared.lanes();
        let mut states: Vec<_> = lanes
            .by_name
            .iter()
            .map(|(name, lane)| (name.clone(), lane.state()))
            .collect();
        states.sort_by(|a, b| a.0.cmp(&b.0));
        states
    }
}

impl Shared {
    fn claims(&self) -> std::sync::MutexGuard<'_, Claims> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self, lane: &LaneName) -> LaneLimits {
        match lane {
            LaneName::Cluster(_) | LaneName::Subvolumes(_) => self.options.cluster,
            LaneName::Stage(_) => self.options.stage,
            LaneName::Publish => self.options.publish,
            LaneName::Unmount | LaneName::Unstage(_) => self.options.unmount,
            LaneName::Probe | LaneName::Listing => self.options.probe,
        }
    }

    fn enqueue(
        &self,
        name: &LaneName,
        task: Box<dyn lane::Task>,
    ) -> Result<(), (Box<dyn lane::Task>, Refusal)> {
        let mut lanes = self.lanes();
        if lanes.draining {
            return Err((task, Refusal::ShuttingDown));
        }
        let lane = lanes
            .by_name
            .entry(name.clone())
            .or_insert_with(|| Lane::new(name.clone(), self.limits(name), self.options.longest_job))
            .clone();
        // Held on: otherwise a job could slip into a lane that a drain has just emptied.
        let queued = lane.push(task);
        drop(lanes);
        queued
    }

    /// Gives the places of jobs that have used up their time to others.
    fn relieve(&self, name: &LaneName) {
        let lane = self.lanes().by_name.get(name).cloned();
        if let Some(lane) = lane {
            lane.relieve();
        }
    }

    /// Counts a job as ended. Its claim is given back before.
    fn ended(&self) {
        self.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

impl Lanes {
    fn close(&mut self) -> Vec<Box<dyn lane::Task>> {
        self.draining = true;
        self.by_name.values().flat_map(Lane::clear).collect()
    }
}

#[cfg(test)]
mod tests;
