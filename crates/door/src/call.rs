//! The doors themselves: every outside call goes through one of the two.

use std::fmt::Display;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustix::process::{Signal, getpid, kill_process};
use tracing::{Level, debug, enabled};

use crate::errno::errno_name;
use crate::fault::{Armed, Effect, FaultPlan};
use crate::job;
use crate::ledger::Ledger;

/// An error a door can make (for a refused or injected call) and read (to count the call).
pub trait FromErrno {
    /// The error of a call that ended with `errno` without having run.
    fn from_errno(call: &'static str, target: String, errno: i32) -> Self;
    /// The positive errno inside, if the error comes from the system.
    fn errno(&self) -> Option<i32>;
}

/// The two doors of a process. They share one count of calls, one fault plan and one ledger.
#[derive(Debug, Clone)]
pub struct Doors {
    /// The door to Ceph.
    pub ceph: Door,
    /// The door to the host's system calls and programs.
    pub host: Door,
}

impl Doors {
    /// Opens both doors, with the given faults waiting at them.
    #[must_use]
    pub fn new(faults: FaultPlan) -> Self {
        let shared = Arc::new(Shared {
            faults: Armed::new(faults),
            ledger: Ledger::default(),
        });
        let door = |name| Door {
            name,
            shared: Arc::clone(&shared),
        };
        Self {
            ceph: door("ceph"),
            host: door("host"),
        }
    }

    /// The figures of both doors.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.ceph.shared.ledger.clone()
    }
}

#[derive(Debug)]
struct Shared {
    faults: Armed,
    ledger: Ledger,
}

/// The way to one part of the outside world. Clones are the same door.
#[derive(Debug, Clone)]
pub struct Door {
    name: &'static str,
    shared: Arc<Shared>,
}

impl Door {
    /// Runs one outside call.
    ///
    /// `call` is a fixed dotted name (`rbd.create`), `target` what it acts on (`pool/image`).
    /// The call does not run, and an error is made from the errno, when the job's deadline has
    /// passed (ETIMEDOUT) or a planned fault strikes.
    ///
    /// # Errors
    /// Whatever `f` answers, or the error made as described.
    ///
    /// # Blocking
    /// As long as `f` does; for ever when a planned hang strikes.
    pub fn call<T, E: FromErrno>(
        &self,
        call: &'static str,
        target: impl Display,
        f: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let open = self.begin::<E>(call, target)?;
        let outcome = f();
        let errno = match &outcome {
            Ok(_) => None,
            // An error without an errno is still no success: EIO stands in for it.
            Err(error) => Some(error.errno().unwrap_or(libc::EIO)),
        };
        open.end(errno);
        outcome
    }

    /// Begins an outside call whose end comes later, perhaps on another thread.
    ///
    /// # Errors
    /// As [`Door::call`]; the caller must then not make the call.
    pub fn begin<E: FromErrno>(
        &self,
        call: &'static str,
        target: impl Display,
    ) -> Result<OpenCall, E> {
        job::at_step(|| format!("{call} {target}"));
        let told = enabled!(target: "cuttle::door", Level::DEBUG);
        let open = OpenCall {
            door: self.clone(),
            call,
            target: if told {
                target.to_string()
            } else {
                String::new()
            },
            started: Instant::now(),
            ended: false,
        };
        let refusal = if job::remaining().is_some_and(|left| left.is_zero()) {
            Some(libc::ETIMEDOUT)
        } else {
            self.strike(call)
        };
        match refusal {
            None => Ok(open),
            Some(errno) => {
                open.end(Some(errno));
                Err(E::from_errno(call, target.to_string(), errno))
            }
        }
    }

    /// Lets a planned fault strike; answers the errno to fail with, if that is the fault.
    fn strike(&self, call: &'static str) -> Option<i32> {
        match self.shared.faults.strike(self.name, call)? {
            Effect::Fail(errno) => Some(errno),
            Effect::Kill => {
                // SIGKILL cannot be refused to oneself; should it be slow, wait for it.
                let _sent = kill_process(getpid(), Signal::KILL);
                hang()
            }
            Effect::Hang => hang(),
            Effect::Pause(time) => {
                thread::sleep(time);
                None
            }
        }
    }
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}

/// A call under way. Dropped without [`OpenCall::end`], it counts as cancelled (ECANCELED).
#[derive(Debug)]
#[must_use = "the call must be ended with its outcome"]
pub struct OpenCall {
    door: Door,
    call: &'static str,
    target: String,
    started: Instant,
    ended: bool,
}

impl OpenCall {
    /// Ends the call: `None` for success, otherwise the positive errno it failed with.
    pub fn end(mut self, errno: Option<i32>) {
        self.finish(errno);
    }

    fn finish(&mut self, errno: Option<i32>) {
        self.ended = true;
        let (door, call) = (self.door.name, self.call);
        let took = self.started.elapsed();
        self.door.shared.ledger.record(door, call, errno, took);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let errno = match errno {
            None => "0",
            Some(number) => errno_name(number).unwrap_or("unknown"),
        };
        debug!(target: "cuttle::door", door, call, target = self.target, errno, micros, "call");
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if !self.ended {
            self.finish(Some(libc::ECANCELED));
        }
    }
}

#[cfg(test)]
mod tests;
