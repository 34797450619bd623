//! A lane: a bounded queue and the few threads that work it off.
//!
//! Threads start when there is work for them and end after a while without any, so that an idle
//! process has none.
//!
//! A job that has used up its time and does not come back from a call, because a cluster does not
//! answer, keeps its thread and its claim, but not its place in the lane: when others want in, a
//! new thread takes that place.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::refusal::Refusal;

/// Which lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneName {
    /// Controller operations on the images of one Ceph cluster.
    Cluster(Arc<str>),
    /// Controller operations on the subvolumes of one Ceph cluster: they need manager and metadata
    /// server, and when those do not answer, images go on.
    Subvolumes(Arc<str>),
    /// Attaching and growing volumes of one Ceph cluster on this node.
    Stage(Arc<str>),
    /// Showing staged volumes to workloads.
    Publish,
    /// Taking volumes away from workloads; no cluster has to answer for that.
    Unmount,
    /// Taking volumes of one Ceph cluster off this node, with their last writes.
    Unstage(Arc<str>),
    /// Questions about volumes on this node.
    Probe,
    /// Listing the volumes of all clusters.
    Listing,
}

impl fmt::Display for LaneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(cluster) => write!(f, "cluster {cluster}"),
            Self::Subvolumes(cluster) => write!(f, "subvolumes {cluster}"),
            Self::Stage(cluster) => write!(f, "stage {cluster}"),
            Self::Publish => f.write_str("publish"),
            Self::Unmount => f.write_str("unmount"),
            Self::Unstage(cluster) => write!(f, "unstage {cluster}"),
            Self::Probe => f.write_str("probe"),
            Self::Listing => f.write_str("listing"),
        }
    }
}

impl LaneName {
    /// The kind of lane and the cluster it is for, for figures.
    #[must_use]
    pub fn labels(&self) -> (&'static str, &str) {
        match self {
            Self::Cluster(cluster) => ("cluster", cluster),
            Self::Subvolumes(cluster) => ("subvolumes", cluster),
            Self::Stage(cluster) => ("stage", cluster),
            Self::Unstage(cluster) => ("unstage", cluster),
            Self::Publish => ("publish", ""),
            Self::Unmount => ("unmount", ""),
            Self::Probe => ("probe", ""),
            Self::Listing => ("listing", ""),
        }
    }

    /// Name for the lane's threads; the kernel shows 15 bytes.
    fn thread_name(&self) -> &'static str {
        match self {
            Self::Cluster(_) => "lane-cluster",
            Self::Subvolumes(_) => "lane-subvols",
            Self::Stage(_) => "lane-stage",
            Self::Publish => "lane-publish",
            Self::Unmount => "lane-unmount",
            Self::Unstage(_) => "lane-unstage",
            Self::Probe => "lane-probe",
            Self::Listing => "lane-listing",
        }
    }
}

/// How much a lane takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneLimits {
    /// Jobs at work at once.
    pub threads: usize,
    /// Jobs waiting beyond those.
    pub queue: usize,
}

/// What a lane is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneState {
    /// Threads, working or not.
    pub threads: usize,
    /// Threads without work.
    pub idle: usize,
    /// Jobs waiting for a thread.
    pub queued: usize,
    /// Threads beside those, with jobs that have used up their time and have not ended.
    pub overdue: usize,
    /// How much the lane takes on.
    pub limits: LaneLimits,
    /// The age of the oldest job that waits, or that runs and is not overdue.
    pub oldest: Option<Duration>,
}

/// Something to run, or to give up before it has begun. Neither panics.
pub(crate) trait Task: Send {
    fn run(self: Box<Self>);
    fn cancel(self: Box<Self>, refusal: Refusal);
}

/// Queue and threads. Clones are the same lane.
#[derive(Clone)]
pub(crate) struct Lane {
    shared: Arc<LaneShared>,
}

struct LaneShared {
    name: LaneName,
    limits: LaneLimits,
    /// After this time a job counts as overdue.
    longest_job: Duration,
    work: Mutex<Work>,
    wake: Condvar,
}

#[derive(Default)]
struct Work {
    /// What waits, and since when.
    queue: VecDeque<(Instant, Box<dyn Task>)>,
    threads: usize,
    idle: usize,
    /// When each of the running tasks began, by its number.
    running: HashMap<u64, Instant>,
    next: u64,
    overdue: usize,
}

/// librados and librbd calls stay well below this; only touched pages cost memory.
const STACK_BYTES: usize = 512 * 1024;

/// How long a thread waits for more work before it ends.
const IDLE: Duration = Duration::from_secs(20);

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane")
            .field("name", &self.shared.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Lane {
    pub(crate) fn new(name: LaneName, limits: LaneLimits, longest_job: Duration) -> Self {
        Self {
            shared: Arc::new(LaneShared {
                name,
                limits,
                longest_job,
                work: Mutex::new(Work::default()),
                wake: Condvar::new(),
            }),
        }
    }

    pub(crate) fn state(&self) -> LaneState {
        let work = self.shared.work();
        LaneState {
            limits: self.shared.limits,
            oldest: work.oldest(),
            threads: work.threads,
            idle: work.idle,
            queued: work.queue.len(),
            overdue: work.overdue,
        }
    }

    /// Gives the places of overdue jobs to others: to be called whenever somebody wants something
    /// of the lane. As many threads can be left to such jobs as the lane has.
    pub(crate) fn relieve(&self) {
        let shared = &self.shared;
        let mut work = shared.work();
        let now = Instant::now();
        let room = shared.limits.threads.saturating_sub(work.overdue);
        let is_overdue = |begun: &Instant| now.duration_since(*begun) >= shared.longest_job;
        let overdue: Vec<u64> = work
            .running
            .iter()
            .filter(|(_, begun)| is_overdue(begun))
            .map(|(number, _)| *number)
            .take(room)
            .collect();
        if overdue.is_empty() {
            return;
        }
        for number in &overdue {
            work.running.remove(number);
        }
        work.overdue += overdue.len();
        work.threads = work.threads.saturating_sub(overdue.len());
        tracing::warn!(
            lane = %shared.name, jobs = overdue.len(), overdue = work.overdue,
            "jobs have used up their time and do not end; others get their places"
        );
        let free = shared.limits.threads.saturating_sub(work.threads);
        let wanted = work.queue.len().saturating_sub(work.idle).min(free);
        for _ in 0..wanted {
            match self.start_thread() {
                Ok(()) => work.threads += 1,
                // The next task that comes tries again.
                Err(error) => {
                    tracing::warn!(lane = %shared.name, %error, "no further thread");
                    return;
                }
            }
        }
    }

    /// Puts a task in the queue and makes sure that a thread will come to it.
    pub(crate) fn push(&self, task: Box<dyn Task>) -> Result<(), (Box<dyn Task>, Refusal)> {
        let LaneLimits { threads, queue } = self.shared.limits;
        let mut work = self.shared.work();
        // Tasks that an idle or new thread takes at once do not count as waiting.
        let at_once = work.idle + threads.saturating_sub(work.threads);
        if work.queue.len() >= queue.saturating_add(at_once) {
            let refusal = Refusal::LaneFull {
                lane: self.shared.name.clone(),
                running: work.threads.saturating_sub(work.idle),
                queued: work.queue.len(),
            };
            return Err((task, refusal));
        }
        if work.queue.len() >= work.idle && work.threads < threads {
            match self.start_thread() {
                Ok(()) => work.threads += 1,
                Err(error) if work.threads == 0 => {
                    let refusal = Refusal::NoThread {
                        error: Arc::new(error),
                    };
                    return Err((task, refusal));
                }
                // The threads that there are come to it later.
                Err(error) => tracing::warn!(lane = %self.shared.name, %error, "no further thread"),
            }
        }
        work.queue.push_back((Instant::now(), task));
        drop(work);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Takes out everything that has not begun.
    pub(crate) fn clear(&self) -> Vec<Box<dyn Task>> {
        let mut work = self.shared.work();
        work.queue.drain(..).map(|(_since, task)| task).collect()
    }

    fn start_thread(&self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new()
            .name(self.shared.name.thread_name().to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || shared.work_off())
            .map(drop)
    }
}

impl Work {
    fn oldest(&self) -> Option<Duration> {
        let waiting = self.queue.iter().map(|(since, _task)| since);
        let oldest = waiting.chain(self.running.values()).min()?;
        Some(oldest.elapsed())
    }
}

impl LaneShared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_off(&self) {
        let mut work = self.work();
        loop {
            if let Some((_since, task)) = work.queue.pop_front() {
                let number = work.next;
                work.next = work.next.wrapping_add(1);
                work.running.insert(number, Instant::now());
                drop(work);
                // Tasks catch their own panics; should one slip through, the lane must not shrink.
                if catch_unwind(AssertUnwindSafe(|| task.run())).is_err() {
                    tracing::error!(lane = %self.name, "a task panicked outside its work");
                }
                work = self.work();
                if work.running.remove(&number).is_none() {
                    // Another thread has this one's place.
                    work.overdue = work.overdue.saturating_sub(1);
                    return;
                }
                continue;
            }
            work.idle += 1;
            let (awake, timeout) = self
                .wake
                .wait_timeout_while(work, IDLE, |work| work.queue.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            work = awake;
            work.idle -= 1;
            if timeout.timed_out() && work.queue.is_empty() {
                work.threads -= 1;
                return;
            }
        }
    }
}
