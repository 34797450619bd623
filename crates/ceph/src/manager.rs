//! Commands to the active manager.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ceph_sys::rados;
use cuttle_door::{OpenCall, job};
use serde_json::{Value, json};

use crate::bounded::Started;
use crate::clusters::Cluster;
use crate::commands::{Raw, Reply};
use crate::error::{Errno, Error};
use crate::gate::{Gate, Place};

/// For how long it is believed that a command is not on offer: a manager may be upgraded.
const NO_LASTS: Duration = Duration::from_secs(300);

/// The gate to a cluster's manager and what is known of it.
#[derive(Debug)]
pub(crate) struct Manager {
    gate: Arc<Gate<Answer>>,
    offered: Mutex<Option<Offer>>,
}

/// What a command comes to.
type Answer = Result<Reply, Error>;

/// The commands that a manager takes, and when it said so.
#[derive(Debug, Clone)]
struct Offer {
    commands: Arc<BTreeSet<String>>,
    asked: Instant,
}

impl Manager {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            gate: Arc::new(Gate::new(most)),
            offered: Mutex::default(),
        }
    }

    fn offered(&self) -> MutexGuard<'_, Option<Offer>> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command to the manager under way, begun by [`Cluster::start_mgr_command`] and its kin.
/// Dropped, it is carried out without a listener.
///
/// It has one of the places for commands. Who keeps it must not wait for another place meanwhile.
#[derive(Debug)]
#[must_use = "the outcome comes from `wait`"]
pub struct StartedCommand {
    call: &'static str,
    target: String,
    begun: Instant,
    limit: Duration,
    sent: Started<Raw>,
    open: OpenCall,
    /// Given back when the command is answered or given up.
    _place: Place<Answer>,
}

impl StartedCommand {
    /// Waits for the answer.
    ///
    /// # Errors
    /// As [`Cluster::mgr_command`].
    ///
    /// # Blocking
    /// Up to the monitor time-out, counted from the beginning.
    pub fn wait(self) -> Result<Reply, Error> {
        let left = self.limit.saturating_sub(self.begun.elapsed());
        let raw = self.sent.wait(left);
        let answer = raw
            .map_err(|errno| Error::new(self.call, &self.target, errno))
            .and_then(|raw| raw.read(self.call, &self.target));
        self.open
            .end(answer.as_ref().err().map(|error| error.errno().get()));
        answer
    }
}

const COMMAND: &str = "mgr.command";
const QUERY: &str = "mgr.query";

impl Cluster {
    /// Sends a command to the active manager; otherwise as [`Cluster::mon_command`].
    ///
    /// No more than [`ConnectOptions::manager_commands`](crate::ConnectOptions) are under way at
    /// once on a connection; others wait, within the same limit of time.
    ///
    /// # Errors
    /// As [`Cluster::mon_command`].
    pub fn mgr_command(&self, command: &Value) -> Result<Reply, Error> {
        self.start_mgr_command(command)?.wait()
    }

    /// Begins [`Cluster::mgr_command`], so that something else can be done meanwhile.
    ///
    /// # Errors
    /// When the door refuses it, no place comes free in time or it cannot be sent: nothing is
    /// carried out then.
    ///
    /// # Blocking
    /// Until there is a place for it.
    pub fn start_mgr_command(&self, command: &Value) -> Result<StartedCommand, Error> {
        let target = self.command_target(command);
        let open = self.inner.door.begin::<Error>(COMMAND, &target)?;
        let begun = Instant::now();
        let limit = self.command_limit();
        match self.inner.manager.gate.enter(limit) {
            Ok(place) => self.start_in(place, open, (COMMAND, target), (begun, limit), command),
            Err(_full) => {
                // Nothing was sent, so nothing may still be carried out.
                let error = no_place(COMMAND, &target);
                open.end(Some(error.errno().get()));
                Err(error)
            }
        }
    }

    /// Begins a command if there is a place for it at once; `None` when there is none, or the door
    /// or Ceph refuses it: nothing is carried out then. May be called while holding a
    /// [`StartedCommand`].
    ///
    /// # Blocking
    /// Not.
    pub fn try_start_mgr_command(&self, command: &Value) -> Option<StartedCommand> {
        self.try_start(COMMAND, command)
    }

    /// As [`Cluster::try_start_mgr_command`], for a command that changes nothing.
    pub fn try_start_mgr_query(&self, command: &Value) -> Option<StartedCommand> {
        self.try_start(QUERY, command)
    }

    fn try_start(&self, call: &'static str, command: &Value) -> Option<StartedCommand> {
        let place = self.inner.manager.gate.try_enter()?;
        let target = self.command_target(command);
        let open = self.inner.door.begin::<Error>(call, &target).ok()?;
        let time = (Instant::now(), self.command_limit());
        self.start_in(place, open, (call, target), time, command)
            .ok()
    }

    /// Sends a command that has its place.
    fn start_in(
        &self,
        place: Place<Answer>,
        open: OpenCall,
        (call, target): (&'static str, String),
        (begun, limit): (Instant, Duration),
        command: &Value,
    ) -> Result<StartedCommand, Error> {
        match self.send(rados::rados_mgr_command, command) {
            Ok(sent) => Ok(StartedCommand {
                call,
                target,
                begun,
                limit,
                sent,
                open,
                _place: place,
            }),
            Err(errno) => {
                open.end(Some(errno.get()));
                Err(Error::new(call, &target, errno))
            }
        }
    }

    /// Asks the active manager with a command that changes nothing. An equal question of another
    /// caller that waits to be sent is joined.
    ///
    /// # Errors
    /// As [`Cluster::mon_command`]; after a time-out nothing is left running.
    ///
    /// # Blocking
    /// Up to the monitor time-out.
    pub fn mgr_query(&self, command: &Value) -> Result<Reply, Error> {
        let inner = &self.inner;
        let target = self.command_target(command);
        inner.door.call(QUERY, &target, || {
            let ask = |left| {
                let raw = self.send(rados::rados_mgr_command, command);
                let raw = raw.and_then(|sent| sent.wait(left));
                let raw = raw.map_err(|errno| Error::new(QUERY, &target, errno))?;
                raw.read(QUERY, &target)
            };
            let limit = self.command_limit();
            let answer = inner.manager.gate.ask(&command.to_string(), limit, ask);
            answer.unwrap_or_else(|_full| Err(no_place(QUERY, &target)))
        })
    }

    /// Whether the active manager takes a command (`fs subvolume metadata set`). It is asked once;
    /// a no is asked again after five minutes.
    ///
    /// # Errors
    /// As [`Cluster::mgr_query`].
    pub fn mgr_offers(&self, prefix: &str) -> Result<bool, Error> {
        let known = self.inner.manager.offered().clone();
        if let Some(offer) = known {
            let yes = offer.commands.contains(prefix);
            if yes || offer.asked.elapsed() < NO_LASTS {
                return Ok(yes);
            }
        }
        self.ask_offer().map(|commands| commands.contains(prefix))
    }

    /// The prefixes of all commands that the active manager takes now.
    ///
    /// # Errors
    /// As [`Cluster::mgr_query`].
    pub fn mgr_commands_now(&self) -> Result<Arc<BTreeSet<String>>, Error> {
        self.ask_offer()
    }

    fn ask_offer(&self) -> Result<Arc<BTreeSet<String>>, Error> {
        let reply = self.mgr_query(&json!({"prefix": "get_command_descriptions"}))?;
        let commands = Arc::new(prefixes(&reply.json));
        *self.inner.manager.offered() = Some(Offer {
            commands: Arc::clone(&commands),
            asked: Instant::now(),
        });
        Ok(commands)
    }

    fn command_limit(&self) -> Duration {
        let limit = self.inner.options.monitor_timeout;
        job::remaining().map_or(limit, |left| left.min(limit))
    }
}

/// The error of a command that was not sent because too many others are under way.
fn no_place(call: &'static str, target: &str) -> Error {
    let busy = "not sent: other commands to the manager have taken all the time";
    Error::new(call, target, Errno::new(libc::EAGAIN)).with_detail(busy)
}

/// The commands' names: the words a signature begins with.
fn prefixes(descriptions: &Value) -> BTreeSet<String> {
    let all = descriptions.as_object().into_iter().flatten();
    all.filter_map(|(_, description)| {
        let words = description.get("sig")?.as_array()?.iter();
        let words: Vec<&str> = words.map_while(Value::as_str).collect();
        Some(words.join(" "))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_begins_with_the_commands_name() {
        let descriptions = json!({
            "cmd000": {"sig": ["fs", "subvolume", "ls", {"name": "vol_name"}], "help": "x"},
            "cmd001": {"sig": ["status"]},
            "cmd002": {"help": "no signature"},
        });
        let known: Vec<_> = prefixes(&descriptions).into_iter().collect();
        assert_eq!(known, ["fs subvolume ls", "status"]);
        assert!(prefixes(&Value::Null).is_empty());
    }
}
