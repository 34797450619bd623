//! Who holds which volume, and whether a request is the same as the holder's.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use cuttle_door::job::Progress;

use super::Ask;
use super::job::{Outcome, Ticket};
use super::refusal::{Holder, Refusal};
use crate::rpc::Rpc;

/// Something that a job can hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The name that the orchestrator gave a volume.
    Name(String),
    /// A volume's handle, on the controller.
    Volume(String),
    /// The name that the orchestrator gave a snapshot.
    SnapshotName(String),
    /// A snapshot's handle.
    Snapshot(String),
    /// A volume's handle, on this node.
    NodeVolume(String),
    /// A path at which a volume is published.
    Target(String),
    /// A question that is asked once at a time.
    Question(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, text) = match self {
            Self::Name(text) => ("volume name", text),
            Self::SnapshotName(text) => ("snapshot name", text),
            Self::Snapshot(text) => ("snapshot", text),
            Self::Volume(text) | Self::NodeVolume(text) => ("volume", text),
            Self::Target(text) => ("target path", text),
            Self::Question(text) => ("query", text),
        };
        write!(f, "{what} \"{}\"", cuttle_model::names::shorten(text))
    }
}

/// Whether others may hold the same key meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Nobody else.
    Alone,
    /// Others that share, too.
    Shared,
}

/// Stands for a request's content, secrets included, without keeping it: 128 bits hashed with keys
/// drawn at process start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64, u64);

impl Fingerprint {
    /// The fingerprint of a request's encoded form.
    #[must_use]
    pub fn of(encoded: &[u8]) -> Self {
        static KEYS: OnceLock<(RandomState, RandomState)> = OnceLock::new();
        let (first, second) = KEYS.get_or_init(Default::default);
        Self(first.hash_one(encoded), second.hash_one(encoded))
    }
}

/// A job's place in the table: what it holds and what others are told about it.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) rpc: Rpc,
    pub(crate) request_id: Arc<str>,
    pub(crate) since: Instant,
    pub(crate) progress: Progress,
    pub(crate) span: tracing::Span,
    keys: Vec<(Key, Hold)>,
    fingerprint: Fingerprint,
    /// The job's `Outcome<T>`, for requests that join.
    outcome: Arc<dyn Any + Send + Sync>,
}

impl Claim {
    /// What another request is told about this job.
    pub(crate) fn describe(&self) -> Holder {
        let (step, at_step) = self.progress.step();
        Holder {
            rpc: self.rpc,
            request_id: Arc::clone(&self.request_id),
            step,
            at_step,
            age: self.since.elapsed(),
        }
    }

    fn is_same_request(&self, ask: &Ask) -> bool {
        self.rpc == ask.rpc && self.fingerprint == ask.fingerprint && self.keys == ask.keys
    }
}

/// What becomes of a request at the table.
pub(crate) enum Admission<T> {
    /// The keys are its own until [`Claims::release`].
    Claimed(Arc<Claim>),
    /// The same request runs already.
    Joined(Ticket<T>),
}

/// The table of all held keys. It takes no locks of its own and knows no threads.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    held: HashMap<Key, Vec<Arc<Claim>>>,
}

impl Claims {
    /// Claims all keys of `ask`, or joins the same request, or is refused; never half.
    pub(crate) fn admit<T: Send + Sync + 'static>(
        &mut self,
        ask: Ask,
        outcome: Arc<Outcome<T>>,
    ) -> Result<Admission<T>, Refusal> {
        for (key, hold) in &ask.keys {
            let holders = self.held.get(key).map_or(&[][..], Vec::as_slice);
            if let Some(same) = holders.iter().find(|holder| holder.is_same_request(&ask))
                && let Ok(theirs) = Arc::clone(&same.outcome).downcast::<Outcome<T>>()
            {
                return Ok(Admission::Joined(Ticket::new(
                    Arc::clone(same),
                    &theirs,
                    true,
                )));
            }
            let conflict = holders
                .iter()
                .find(|holder| *hold == Hold::Alone || holder.holds_alone(key));
            if let Some(holder) = conflict {
                return Err(Refusal::Conflict {
                    key: key.clone(),
                    holder: Box::new(holder.describe()),
                });
            }
        }
        let claim = Arc::new(Claim {
            rpc: ask.rpc,
            request_id: ask.request_id,
            since: Instant::now(),
            progress: queued(),
            span: tracing::Span::current(),
            keys: ask.keys,
            fingerprint: ask.fingerprint,
            outcome,
        });
        for (key, _) in &claim.keys {
            self.held
                .entry(key.clone())
                .or_default()
                .push(Arc::clone(&claim));
        }
        Ok(Admission::Claimed(claim))
    }

    /// Gives back everything that `claim` holds. A second call does nothing.
    pub(crate) fn release(&mut self, claim: &Arc<Claim>) {
        for (key, _) in &claim.keys {
            if let Some(holders) = self.held.get_mut(key) {
                holders.retain(|holder| !Arc::ptr_eq(holder, claim));
                if holders.is_empty() {
                    self.held.remove(key);
                }
            }
        }
    }

    /// All jobs, oldest first.
    pub(crate) fn jobs(&self) -> Vec<Holder> {
        let mut claims: Vec<&Arc<Claim>> = self.held.values().flatten().collect();
        // A job stands under each of its keys.
        claims.sort_by_key(|claim| (claim.since, Arc::as_ptr(claim)));
        claims.dedup_by(|a, b| Arc::ptr_eq(a, b));
        claims.into_iter().map(|claim| claim.describe()).collect()
    }

    /// Number of keys that anybody holds.
    pub(crate) fn held_keys(&self) -> usize {
        self.held.len()
    }
}

impl Claim {
    fn holds_alone(&self, key: &Key) -> bool {
        self.keys
            .iter()
            .any(|(held, hold)| held == key && *hold == Hold::Alone)
    }
}

fn queued() -> Progress {
    let progress = Progress::new();
    progress.set(QUEUED);
    progress
}

/// The step of a job that waits for a thread of its lane.
pub(crate) const QUEUED: &str = "waiting for a free thread";
