//! A job: the work, its claim and its outcome; and the ticket on which a caller waits.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cuttle_door::job::{JobContext, enter};
use cuttle_model::{Explain, chain};
use tokio::sync::watch;

use super::Shared;
use super::claims::Claim;
use super::lane::Task;
use super::refusal::Refusal;

/// Why a job failed, as all its callers see it.
pub type Failure = Arc<dyn Explain>;

/// Result of a job, once there is one; any number of callers can wait for it.
pub(crate) struct Outcome<T> {
    sender: watch::Sender<Option<Result<Arc<T>, Failure>>>,
}

impl<T> Outcome<T> {
    pub(crate) fn new() -> Self {
        Self {
            sender: watch::Sender::new(None),
        }
    }

    fn publish(&self, result: Result<Arc<T>, Failure>) {
        self.sender.send_replace(Some(result));
    }

    fn has_waiters(&self) -> bool {
        self.sender.receiver_count() > 0
    }
}

impl<T> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcome")
            .field("waiters", &self.sender.receiver_count())
            .finish()
    }
}

/// A caller's right to a job's outcome. Dropping it leaves the job alone.
pub struct Ticket<T> {
    claim: Arc<Claim>,
    joined: bool,
    receiver: watch::Receiver<Option<Result<Arc<T>, Failure>>>,
}

impl<T> fmt::Debug for Ticket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("request_id", &self.claim.request_id)
            .field("joined", &self.joined)
            .finish_non_exhaustive()
    }
}

impl<T> Ticket<T> {
    pub(crate) fn new(claim: Arc<Claim>, outcome: &Outcome<T>, joined: bool) -> Self {
        Self {
            claim,
            joined,
            receiver: outcome.sender.subscribe(),
        }
    }

    /// Whether the job was another request's.
    #[must_use]
    pub fn joined(&self) -> bool {
        self.joined
    }

    /// Id of the request whose job it is.
    #[must_use]
    pub fn job_request_id(&self) -> &str {
        &self.claim.request_id
    }

    /// Waits for the outcome until the deadline, if there is one.
    ///
    /// # Errors
    /// The job's failure, or [`Refusal::Late`] while the job goes on.
    pub async fn wait(mut self, deadline: Option<Instant>) -> Result<Arc<T>, Failure> {
        let Some(deadline) = deadline else {
            return self.outcome().await;
        };
        match tokio::time::timeout_at(deadline.into(), self.outcome()).await {
            Ok(result) => result,
            Err(_elapsed) => Err(Arc::new(Refusal::Late {
                holder: Box::new(self.claim.describe()),
            })),
        }
    }

    async fn outcome(&mut self) -> Result<Arc<T>, Failure> {
        match self.receiver.wait_for(Option::is_some).await {
            Ok(result) => match &*result {
                Some(result) => result.clone(),
                None => Err(Arc::new(Refusal::Lost)),
            },
            // The sender lives in the job, which publishes before it goes.
            Err(_closed) => Err(Arc::new(Refusal::Lost)),
        }
    }
}

/// Work that holds a claim, on its way through a lane.
pub(crate) struct Job<T, F> {
    shared: Arc<Shared>,
    claim: Arc<Claim>,
    outcome: Arc<Outcome<T>>,
    limit: Duration,
    work: F,
}

impl<T, F> Job<T, F>
where
    T: Send + Sync + 'static,
    F: FnOnce() -> Result<T, Failure> + Send + 'static,
{
    pub(crate) fn new(
        shared: Arc<Shared>,
        claim: Arc<Claim>,
        outcome: Arc<Outcome<T>>,
        limit: Duration,
        work: F,
    ) -> Self {
        Self {
            shared,
            claim,
            outcome,
            limit,
            work,
        }
    }
}

impl<T, F> Task for Job<T, F>
where
    T: Send + Sync + 'static,
    F: FnOnce() -> Result<T, Failure> + Send + 'static,
{
    fn run(self: Box<Self>) {
        let Self {
            shared,
            claim,
            outcome,
            limit,
            work,
        } = *self;
        // Joining happens under the same lock, so a caller either counts here or starts anew.
        let abandoned = {
            let mut claims = shared.claims();
            let abandoned = !outcome.has_waiters();
            if abandoned {
                claims.release(&claim);
            }
            abandoned
        };
        if abandoned {
            drop(work);
            claim
                .span
                .in_scope(|| tracing::debug!("dropped: nobody waits for it any more"));
            shared.ended();
            return;
        }
        let result = claim
            .span
            .in_scope(|| run_caught(&shared, &claim, limit, work));
        finish(&shared, &claim, &outcome, result.map(Arc::new));
    }

    fn cancel(self: Box<Self>, refusal: Refusal) {
        let Self {
            shared,
            claim,
            outcome,
            ..
        } = *self;
        finish(&shared, &claim, &outcome, Err(Arc::new(refusal)));
    }
}

fn run_caught<T>(
    shared: &Shared,
    claim: &Claim,
    limit: Duration,
    work: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    claim.progress.set("starting");
    let _guard = enter(JobContext {
        request_id: claim.request_id.to_string(),
        deadline: Instant::now().checked_add(limit),
        progress: claim.progress.clone(),
    });
    // Work owns what it changes, so nothing half-changed is seen after a panic except through
    // locks, and those are poisoned.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(payload) => {
            shared.panics.fetch_add(1, Ordering::Relaxed);
            let (step, _) = claim.progress.step();
            Err(Arc::new(Refusal::Panicked {
                step,
                message: panic_text(payload.as_ref()),
            }))
        }
    }
}

fn finish<T>(
    shared: &Shared,
    claim: &Arc<Claim>,
    outcome: &Outcome<T>,
    result: Result<Arc<T>, Failure>,
) {
    // First the claim, then the outcome: who has seen the outcome can ask again at once.
    let heard = {
        let mut claims = shared.claims();
        claims.release(claim);
        outcome.has_waiters()
    };
    if !heard {
        claim.span.in_scope(|| log_unheard(claim, &result));
    }
    outcome.publish(result);
    shared.ended();
}

/// The line for a job whose callers have all left; otherwise the caller's rim writes it.
fn log_unheard<T>(claim: &Claim, result: &Result<T, Failure>) {
    let duration_ms = millis(claim.since.elapsed());
    match result {
        Ok(_) => tracing::info!(duration_ms, "finished after its caller had left"),
        Err(failure) => tracing::warn!(
            duration_ms,
            error.code = %failure.code(),
            error = chain(failure.as_ref()),
            "failed after its caller had left"
        ),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    cuttle_model::names::shorten(text)
}
