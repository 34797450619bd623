//! The pool of connections: one per (monitors, user, key), shared, closed when idle.
//!
//! ```text
//!            connect                      done
//!  (absent) ─────────▶ attempt under way ──────▶ connected ──▶ idle ──▶ closed
//!                       │   ▲ joined by              │ fenced, or the key changed
//!                       │   └ further callers        ▼
//!                       └─ failed ─▶ (absent)      dropped from the pool; lives on while used
//! ```

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use cuttle_door::{Door, job};
use cuttle_model::{Credentials, Monitors};

use crate::connection::{Connection, Refused};
use crate::error::{Errno, Error};
use crate::file_systems::FsMap;
use crate::io::Context;
use crate::manager::Manager;
use crate::pools::Pools;
use crate::settings::ConnectOptions;

/// The connections of this process. Clones share them.
#[derive(Debug, Clone)]
pub struct Clusters {
    shared: Arc<Shared>,
}

/// A connected cluster, shared with others. The connection stays open while a clone lives, and
/// for a while after.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<ClusterInner>,
}

pub(crate) struct ClusterInner {
    pub(crate) door: Door,
    pub(crate) options: Arc<ConnectOptions>,
    /// How the cluster is named in errors: its monitors.
    pub(crate) label: Box<str>,
    pub(crate) pools: Pools,
    pub(crate) manager: Manager,
    pub(crate) file_systems: FsMap,
    /// I/O contexts made so far, by pool and namespace; freed before the connection below.
    pub(crate) contexts: Mutex<HashMap<(i64, String), Arc<Context>>>,
    pub(crate) connection: Arc<Connection>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("monitors", &self.inner.label)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Shared {
    door: Door,
    options: Arc<ConnectOptions>,
    entries: Mutex<HashMap<Key, Entry>>,
    /// Dropped with the pool, which ends the thread that closes idle connections.
    sweeper: Mutex<Option<mpsc::Sender<()>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    monitors: String,
    credentials: Credentials,
}

#[derive(Debug)]
struct Entry {
    attempt: Arc<Attempt>,
    last_used: Instant,
}

/// One connection being made, or made; callers with the same key wait for it together.
#[derive(Debug, Default)]
struct Attempt {
    outcome: Mutex<Option<Result<Cluster, Refused>>>,
    ended: Condvar,
}

impl Attempt {
    fn outcome(&self) -> MutexGuard<'_, Option<Result<Cluster, Refused>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, outcome: Result<Cluster, Refused>) {
        *self.outcome() = Some(outcome);
        self.ended.notify_all();
    }

    fn wait(&self, limit: Duration) -> Result<Cluster, Refused> {
        let waited = self
            .ended
            .wait_timeout_while(self.outcome(), limit, |end| end.is_none());
        let (outcome, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        outcome
            .clone()
            .unwrap_or_else(|| Err(Errno::new(libc::ETIMEDOUT).into()))
    }

    /// The connection, when there is one and it is of use.
    fn usable(&self) -> Option<Cluster> {
        match &*self.outcome() {
            Some(Ok(cluster)) if !cluster.inner.connection.is_fenced() => Some(cluster.clone()),
            _ => None,
        }
    }

    fn is_under_way(&self) -> bool {
        self.outcome().is_none()
    }

    /// Whether someone beside the pool holds the connection.
    fn is_used(&self) -> bool {
        match &*self.outcome() {
            Some(Ok(cluster)) => Arc::strong_count(&cluster.inner) > 1,
            Some(Err(_)) => false,
            None => true,
        }
    }
}

impl Clusters {
    /// A pool without connections.
    #[must_use]
    pub fn new(door: Door, options: ConnectOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                door,
                options: Arc::new(options),
                entries: Mutex::default(),
                sweeper: Mutex::default(),
            }),
        }
    }

    /// The cluster at `monitors`, as the user with that key: a shared connection if there is one,
    /// else a new one.
    ///
    /// The first of several callers makes the connection, the others wait for it. A connection
    /// with another key of the same user is dropped from the pool once the new key has worked.
    ///
    /// # Errors
    /// `is_denied` for an unknown user or wrong key; `is_timeout` when the monitors do not answer
    /// within the connect time-out (or the job's time): the attempt then goes on in the
    /// background for as long as librados takes, and later callers join it.
    ///
    /// # Blocking
    /// Not at all for a shared connection; else up to the connect time-out.
    pub fn connect(
        &self,
        monitors: &Monitors,
        credentials: &Credentials,
    ) -> Result<Cluster, Error> {
        let key = Key {
            monitors: monitors.joined(),
            credentials: credentials.clone(),
        };
        if let Some(cluster) = self.shared.pooled(&key) {
            return Ok(cluster);
        }
        let target = format!("{} as client.{}", key.monitors, credentials.user);
        self.shared.door.call("rados.connect", &target, || {
            let attempt = Shared::attempt(&self.shared, &key, monitors);
            let limit = self.shared.options.connect_timeout;
            let limit = job::remaining().map_or(limit, |left| left.min(limit));
            attempt.wait(limit).map_err(|refused| {
                let error = Error::new("rados.connect", &target, refused.errno);
                match refused.detail {
                    Some(detail) => error.with_detail(&detail),
                    None => error,
                }
            })
        })
    }

    /// How many connections the pool holds or is making.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.entries().len()
    }

    /// Closes the connections that nobody has used for the idle time. Also done by itself.
    pub fn close_idle(&self) {
        self.shared.sweep();
    }
}

impl Shared {
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pooled(&self, key: &Key) -> Option<Cluster> {
        let mut entries = self.entries();
        let entry = entries.get_mut(key)?;
        entry.last_used = Instant::now();
        entry.attempt.usable()
    }

    /// The attempt for `key`: the one under way or done, or a new one.
    fn attempt(shared: &Arc<Self>, key: &Key, monitors: &Monitors) -> Arc<Attempt> {
        let mut entries = shared.entries();
        if let Some(entry) = entries.get(key)
            && (entry.attempt.is_under_way() || entry.attempt.usable().is_some())
        {
            return Arc::clone(&entry.attempt);
        }
        let attempt = Arc::new(Attempt::default());
        let entry = Entry {
            attempt: Arc::clone(&attempt),
            last_used: Instant::now(),
        };
        entries.insert(key.clone(), entry);
        drop(entries);
        let spawned = thread::Builder::new()
            .name("ceph-connect".to_owned())
            .spawn({
                let (shared, key) = (Arc::clone(shared), key.clone());
                let (monitors, made) = (monitors.clone(), Arc::clone(&attempt));
                move || shared.open(&key, &monitors, &made)
            });
        if spawned.is_err() {
            shared.forget(key, &attempt);
            attempt.end(Err(Errno::new(libc::ENOMEM).into()));
        }
        attempt
    }

    fn open(self: Arc<Self>, key: &Key, monitors: &Monitors, attempt: &Arc<Attempt>) {
        match Connection::open(monitors, &key.credentials, &self.options) {
            Ok(connection) => {
                self.drop_other_keys(key);
                self.touch(key);
                attempt.end(Ok(self.cluster(key, connection)));
                Self::start_sweeper(&self);
            }
            Err(refused) => {
                self.forget(key, attempt);
                attempt.end(Err(refused));
            }
        }
    }

    fn cluster(&self, key: &Key, connection: Connection) -> Cluster {
        Cluster {
            inner: Arc::new(ClusterInner {
                door: self.door.clone(),
                options: Arc::clone(&self.options),
                label: key.monitors.as_str().into(),
                pools: Pools::default(),
                manager: Manager::new(self.options.manager_commands),
                file_systems: FsMap::default(),
                contexts: Mutex::default(),
                connection: Arc::new(connection),
            }),
        }
    }

    /// The connection counts as used from now, not from when its making began.
    fn touch(&self, key: &Key) {
        if let Some(entry) = self.entries().get_mut(key) {
            entry.last_used = Instant::now();
        }
    }

    fn forget(&self, key: &Key, attempt: &Arc<Attempt>) {
        let mut entries = self.entries();
        if entries
            .get(key)
            .is_some_and(|entry| Arc::ptr_eq(&entry.attempt, attempt))
        {
            entries.remove(key);
        }
    }

    /// The new key has worked, so connections with the user's other keys are of the past.
    fn drop_other_keys(&self, new: &Key) {
        self.entries().retain(|key, entry| {
            let same_user =
                key.monitors == new.monitors && key.credentials.user == new.credentials.user;
            !same_user || key == new || entry.attempt.is_under_way()
        });
    }

    fn sweep(&self) {
        let idle = self.options.idle;
        self.entries().retain(|_key, entry| {
            if entry.attempt.is_under_way() {
                return true;
            }
            if entry.attempt.is_used() {
                entry.last_used = Instant::now();
            }
            entry.attempt.usable().is_some() && entry.last_used.elapsed() < idle
        });
    }

    fn start_sweeper(shared: &Arc<Self>) {
        let mut sweeper = shared
            .sweeper
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if sweeper.is_some() {
            return;
        }
        let (sender, receiver) = mpsc::channel();
        let weak = Arc::downgrade(shared);
        let every =
            (shared.options.idle / 4).clamp(Duration::from_millis(20), Duration::from_secs(60));
        let spawned = thread::Builder::new()
            .name("ceph-idle".to_owned())
            .spawn(move || keep_sweeping(&weak, &receiver, every));
        // Without the thread, idle connections stay open until the next connection is made.
        *sweeper = spawned.is_ok().then_some(sender);
    }
}

fn keep_sweeping(shared: &Weak<Shared>, ended: &mpsc::Receiver<()>, every: Duration) {
    while ended.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
        match shared.upgrade() {
            Some(shared) => shared.sweep(),
            None => return,
        }
    }
}
