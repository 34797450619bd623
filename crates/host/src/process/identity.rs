//! Telling a process apart from a later one that was given the same id.

use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::pid_of;
use crate::{Error, Host};

/// A process. Its id alone may belong to another one by the time it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    pub started: u64,
}

impl Host {
    /// When the process of this id started; `None` when there is none, or only its remains wait
    /// for a parent that does not look.
    ///
    /// # Errors
    /// The errno of reading `/proc`.
    pub fn process_started(&self, pid: u32) -> Result<Option<u64>, Error> {
        let call = "host.process";
        let path = format!("/proc/{pid}/stat");
        self.door.call(call, &path, || match std::fs::read(&path) {
            Ok(stat) => Ok(start_time(&stat)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(Error::io(call, &path, "read", &error)),
        })
    }

    /// Whether this very process runs.
    ///
    /// # Errors
    /// As [`Host::process_started`].
    pub fn is_running(&self, process: ProcessIdentity) -> Result<bool, Error> {
        Ok(self.process_started(process.pid)? == Some(process.started))
    }

    /// The identity of the process that has this id now.
    ///
    /// # Errors
    /// As [`Host::process_started`].
    pub fn process_identity(&self, pid: u32) -> Result<Option<ProcessIdentity>, Error> {
        let started = self.process_started(pid)?;
        Ok(started.map(|started| ProcessIdentity { pid, started }))
    }

    /// A descriptor that becomes readable when this very process ends; `None` when it has ended.
    ///
    /// # Errors
    /// ENOSYS on kernels before 5.3, or as [`Host::process_started`].
    pub fn hold_process(&self, process: ProcessIdentity) -> Result<Option<OwnedFd>, Error> {
        let call = "host.hold";
        let Some(pid) = pid_of(process.pid) else {
            return Ok(None);
        };
        let held = self.door.call(call, process.pid, || {
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(held) => Ok(Some(held)),
                Err(rustix::io::Errno::SRCH) => Ok(None),
                Err(errno) => Err(Error::call(call, process.pid, "pidfd_open", errno)),
            }
        })?;
        // Compared only when it is held, so that it cannot change any more.
        Ok(if self.is_running(process)? {
            held
        } else {
            None
        })
    }

    /// Kills this very process; answers whether it was there.
    ///
    /// # Guarantees
    /// Another process that was given the id is never hit: the process is held before its start is
    /// compared (kernels before 5.3 cannot hold one; there the time between the two is a few
    /// microseconds).
    ///
    /// # Errors
    /// The errno of the signal, or as [`Host::process_started`].
    pub fn kill_process(&self, process: ProcessIdentity) -> Result<bool, Error> {
        let call = "host.kill";
        let Some(pid) = pid_of(process.pid) else {
            return Ok(false);
        };
        let held = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(held) => Some(held),
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(_older_kernel) => None,
        };
        if !self.is_running(process)? {
            return Ok(false);
        }
        self.door.call(call, process.pid, || {
            let sent = match &held {
                Some(held) => pidfd_send_signal(held, Signal::KILL),
                None => kill(pid),
            };
            match sent {
                Ok(()) => Ok(true),
                Err(rustix::io::Errno::SRCH) => Ok(false),
                Err(errno) => Err(Error::call(call, process.pid, "kill", errno)),
            }
        })
    }
}

fn kill(pid: Pid) -> Result<(), rustix::io::Errno> {
    rustix::process::kill_process(pid, Signal::KILL)
}

fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// Field 22 of `/proc/<pid>/stat`, unless field 3 says that the process has ended. The second
/// field, in brackets, may itself hold blanks.
fn start_time(stat: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(stat);
    let (_, after_name) = text.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Program;
    use crate::fixture::{eventually, host};

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3";
        assert_eq!(start_time(stat.as_bytes()), Some(98_765));
        assert_eq!(start_time(stat.replace(" S ", " Z ").as_bytes()), None);
        assert_eq!(start_time(b"7 (a) S 1"), None);
        assert_eq!(start_time(b""), None);
    }

    #[test]
    fn this_process_runs_and_its_namesake_does_not() {
        let host = host();
        let pid = std::process::id();
        let this = host.process_identity(pid).unwrap().unwrap();
        assert!(host.is_running(this).unwrap());
        let earlier = ProcessIdentity {
            pid,
            started: this.started - 1,
        };
        assert!(!host.is_running(earlier).unwrap());
        assert!(!host.kill_process(earlier).unwrap());
        assert_eq!(host.process_started(u32::MAX).unwrap(), None);
    }

    #[test]
    fn a_process_is_killed_once() {
        let host = host();
        let detached = crate::DetachedProgram::new(
            Program::new("sh").args(["-c", "echo ready; exec sleep 60"]),
        );
        let started = host.spawn_detached("test.sleep", &detached).unwrap();
        let sleeper = host.process_identity(started.pid).unwrap().unwrap();
        assert!(host.kill_process(sleeper).unwrap());
        eventually("the process is gone", || !host.is_running(sleeper).unwrap());
        assert!(!host.kill_process(sleeper).unwrap());
    }
}
