//! The children that are waited for, and those that were given up on and are not gone yet: what
//! keeps hung calls from piling up.
//!
//! A dead mount is asked about again and again, by every stage and every minute by kubelet, and a
//! child that sleeps in the kernel cannot even be killed. So a call is refused at once
//!
//! * while an earlier one of the same kind, to the same target, was given up on and is still there;
//! * if it only looks at what a mount shows: also while an earlier one on the same mount is, while
//!   one to the same target has been waited for unusually long, and, if the target is a mount point
//!   itself, when there are too many of them altogether.
//!
//! What is needed to take things down is never refused for what others look at.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::is_running;
use crate::MountTable;

/// The calls that look at what a mount shows.
const LOOKS: [&str; 2] = ["host.stat", "host.statfs"];

/// How long a look takes that is unusually long.
const UNUSUAL: Duration = Duration::from_secs(5);

/// How many children may be given up on and not gone before nothing is looked at any more.
pub(super) const MOST_STUCK: usize = 64;

/// The children that are not gone.
#[derive(Debug, Default)]
pub(crate) struct Children {
    known: Mutex<Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    /// Unknown while it is being started.
    pid: Option<Pid>,
    call: &'static str,
    target: String,
    since: Instant,
    /// Whether nobody waits for it any more.
    is_left: bool,
    number: u64,
}

/// That a child of this number is waited for, until it is dropped.
#[derive(Debug)]
pub(super) struct Ticket<'a> {
    children: &'a Children,
    number: u64,
}

impl Children {
    /// Reaps what has ended; answers how many are left that nobody waits for.
    pub(crate) fn reap(&self) -> usize {
        let mut known = self.known();
        known.retain(|child| match child.pid {
            Some(pid) if child.is_left => is_running(pid),
            Some(_) | None => true,
        });
        known.iter().filter(|child| child.is_left).count()
    }

    /// Takes over a child that was told to die or may run on, to be reaped by a later call.
    pub(crate) fn leave(&self, pid: Pid, call: &'static str, target: &str) {
        let mut known = self.known();
        let number = next_number(&known);
        known.push(Known {
            pid: Some(pid),
            call,
            target: target.to_owned(),
            since: Instant::now(),
            is_left: true,
            number,
        });
    }

    /// Whether an earlier such call to the target was given up on and is still there.
    pub(crate) fn is_stuck(&self, call: &'static str, target: &str) -> bool {
        let known = self.known();
        known
            .iter()
            .any(|child| child.is_left && child.call == call && child.target == target)
    }

    /// Admits a call; otherwise answers how long an earlier one has been waited for.
    pub(super) fn admit(&self, call: &'static str, target: &str) -> Result<Ticket<'_>, Duration> {
        self.reap();
        let mut known = self.known();
        if let Some(earlier) = refusing(&known, call, target) {
            return Err(earlier);
        }
        let number = next_number(&known);
        known.push(Known {
            pid: None,
            call,
            target: target.to_owned(),
            since: Instant::now(),
            is_left: false,
            number,
        });
        Ok(Ticket {
            children: self,
            number,
        })
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// The call is over, but its child is not gone: it is to be reaped by a later call.
    pub(super) fn leave(self, pid: Pid) {
        let mut known = self.children.known();
        for child in known.iter_mut().filter(|child| child.number == self.number) {
            child.pid = Some(pid);
            child.is_left = true;
        }
        drop(known);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut known = self.children.known();
        known.retain(|child| child.is_left || child.number != self.number);
    }
}

fn next_number(known: &[Known]) -> u64 {
    let last = known.iter().map(|child| child.number).max();
    last.map_or(0, |last| last.wrapping_add(1))
}

/// How long the child has been waited for that stands in this call's way.
fn refusing(known: &[Known], call: &'static str, target: &str) -> Option<Duration> {
    let same = |child: &&Known| child.call == call && child.target == target;
    let is_look = LOOKS.contains(&call);
    let is_slow = |child: &&Known| is_look && child.since.elapsed() >= UNUSUAL;
    let mut the_same = known.iter().filter(same);
    if let Some(child) = the_same.find(|child| child.is_left || is_slow(child)) {
        return Some(child.since.elapsed());
    }
    if !is_look {
        return None;
    }
    let left = known.iter().filter(|child| child.is_left);
    let looks: Vec<&Known> = left.filter(|child| LOOKS.contains(&child.call)).collect();
    let first = looks.first()?;
    let table = MountTable::of_this_process().ok()?;
    if looks.len() >= MOST_STUCK && table.is_mount_point(target) {
        return Some(first.since.elapsed());
    }
    on_the_same_mount(&table, &looks, target).map(|child| child.since.elapsed())
}

/// A look that is left behind on the mount through which `target` is reached. The root's own mount
/// does not count: nothing would be left to look at.
fn on_the_same_mount<'a>(
    table: &MountTable,
    looks: &[&'a Known],
    target: &str,
) -> Option<&'a Known> {
    let holder = |path: &str| {
        let mount = table.holding(Path::new(path))?;
        (mount.mount_point != Path::new("/")).then_some(mount.id)
    };
    let wanted = holder(target)?;
    let mut looks = looks.iter();
    looks
        .find(|child| holder(&child.target) == Some(wanted))
        .copied()
}
