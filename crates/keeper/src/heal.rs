//! Mounting anew: making room at the mountpoint, starting ceph-fuse, covering what is dead, and
//! telling a mount that is shut out of the cluster from one that is slow.

use std::time::Duration;

use cuttle_door::FromErrno;
use cuttle_host::{DeviceNumber, EntryKind, Error as HostError, Limits, MountTable, Replaced};
use cuttle_model::chain;

use crate::PROBE_ATTRIBUTE;
use crate::keeper::{Client, Keeper};
use crate::start::{FILE_SYSTEM, StartFailure, Started};
use crate::status::Refused;
use crate::sweep::Sweep;

/// How long an answer to a look is waited for. No answer says nothing: the cluster may be slow.
const LOOK: Duration = Duration::from_secs(2);

/// How often in a row a client must say that the cluster shuts it out, to count as dead.
const SHUT_OUT: u32 = 2;

impl Keeper {
    /// Whether somebody still has use for the mount, although it is dead: it is seen somewhere, or
    /// it is we who took it from its place.
    pub(crate) fn is_wanted(&self) -> bool {
        let Ok(table) = self.host.mount_table() else {
            return true;
        };
        let is_seen = |dead: &DeviceNumber| table.of_device(*dead).next().is_some();
        if self.status.dead.iter().any(is_seen) {
            return true;
        }
        let is_there = match self.host.entry(&self.order.mountpoint) {
            Ok(entry) => entry.is_some_and(|entry| entry.kind == EntryKind::Directory),
            Err(error) => !error.is_absent(),
        };
        self.has_made_room && is_there
    }

    /// Makes room at the mountpoint and starts ceph-fuse there.
    ///
    /// # Errors
    /// As [`crate::start::start`]; when something else is mounted there, nothing is touched.
    pub(crate) fn mount_anew(&mut self) -> Result<Started, StartFailure> {
        let refused = |why: String| {
            StartFailure::Refused(Refused {
                why,
                said: String::new(),
                late: false,
            })
        };
        let told = |error: HostError| refused(chain(&error));
        let table = self.host.mount_table().map_err(told)?;
        let place = &self.order.mountpoint;
        if table.is_mount_point(place) {
            if let Some(other) = foreign_at(&table, place, &self.status.dead) {
                return Err(refused(format!("{other} is mounted at {place} instead")));
            }
            self.host.unmount_lazily(place).map_err(told)?;
            self.has_made_room = true;
        }
        self.start(Duration::from_millis(self.order.start_within_ms))
    }

    /// Puts the working mount over every dead one: here at once, in other mount namespaces beside
    /// what else there is to do.
    pub(crate) fn cover_the_dead(&mut self) {
        if self.status.dead.is_empty() {
            return;
        }
        let with = self.order.mountpoint.clone();
        let dead = self.status.dead.clone();
        let mut failed = false;
        for device in &dead {
            let here = self.host.replace_mounts(*device, &with);
            failed |= !self.is_covered(here);
        }
        match Sweep::start(&self.host, dead, &with) {
            Ok(sweep) => self.sweep = Some(sweep),
            Err(error) => {
                let facts = [("error", error.to_string())];
                let facts: Vec<_> = facts.iter().map(|(k, v)| (*k, v.as_str())).collect();
                self.log
                    .warn("the mounts of containers are not looked at", &facts);
            }
        }
        self.tell_dead(failed);
    }

    /// Takes note of what a sweep of other namespaces has come to.
    pub(crate) fn take_sweep(&mut self) {
        let Some(swept) = self.sweep.as_ref().and_then(Sweep::outcome) else {
            return;
        };
        self.sweep = None;
        let table = self.host.mount_table();
        for (device, outcome) in swept {
            let is_seen_here = table.as_ref().map_or(true, |table| is_seen(table, device));
            if self.is_covered(outcome) && !is_seen_here {
                self.status.dead.retain(|dead| *dead != device);
            }
        }
        self.tell_dead(!self.status.dead.is_empty());
    }

    /// Logs what was covered; answers whether nothing is left.
    fn is_covered(&self, outcome: Result<Replaced, HostError>) -> bool {
        let replaced = match outcome {
            Ok(replaced) => replaced,
            Err(error) => {
                let error = chain(&error);
                self.log.warn("dead mounts are left", &[("error", &error)]);
                return false;
            }
        };
        if replaced.places > 0 {
            let places = replaced.places.to_string();
            self.log
                .info("dead mounts are covered", &[("places", &places)]);
        }
        for (place, error) in &replaced.failed {
            let facts = [("place", place.as_str()), ("error", &chain(error))];
            self.log.warn("a dead mount is left", &facts);
        }
        replaced.failed.is_empty()
    }

    fn tell_dead(&mut self, are_left: bool) {
        self.status.trouble = are_left
            .then(|| "ceph-fuse was started anew, but some mounts are still dead".to_owned());
        self.tell();
    }

    /// Looks whether a working mount still works, and tries again where dead ones are left.
    pub(crate) fn look(&mut self) {
        let Some(device) = self.status.device else {
            return;
        };
        if !self.status.dead.is_empty() {
            self.cover_the_dead();
        }
        let place = &self.order.mountpoint;
        let table = self.host.mount_table();
        if !table.is_ok_and(|table| table.at(place).is_some_and(|top| top.device == device)) {
            return;
        }
        let looking = self.host.limited(Limits {
            look: LOOK,
            ..self.host.limits()
        });
        // What the client knows by itself says nothing: one that is shut out does not notice it
        // before it asks the cluster.
        let answer = looking.attribute(place, PROBE_ATTRIBUTE);
        match answer.map_err(|error| error.errno()) {
            Err(Some(libc::ESHUTDOWN)) => {
                self.shut_out += 1;
                if self.shut_out >= SHUT_OUT {
                    self.end_client("the cluster shuts ceph-fuse out (it was evicted)");
                } else {
                    self.look_again_soon();
                }
            }
            Err(Some(libc::ENOTCONN)) if matches!(self.client, Some(Client::Unknown)) => {
                self.end_client("the mount is dead");
            }
            Ok(_) | Err(_) => self.shut_out = 0,
        }
    }

    /// Ends a client that is of no use any more, so that it is started anew.
    fn end_client(&mut self, why: &str) {
        self.log.warn("ceph-fuse is ended", &[("reason", why)]);
        match &mut self.client {
            // Its end is noticed like any other.
            Some(Client::Child(program)) => program.kill(),
            Some(Client::Stranger(process, _)) => {
                if let Err(error) = self.host.kill_process((*process).into()) {
                    self.log
                        .warn("it could not be killed", &[("error", &chain(&error))]);
                }
            }
            Some(Client::Unknown) | None => self.died(),
        }
    }
}

/// What is mounted at a place, if any of it is neither dead nor a ceph-fuse of ours.
fn foreign_at(
    table: &MountTable,
    place: impl AsRef<std::path::Path>,
    dead: &[DeviceNumber],
) -> Option<String> {
    let at = table
        .mounts()
        .iter()
        .filter(|mount| mount.mount_point == place.as_ref());
    let foreign =
        |mount: &&cuttle_host::Mount| mount.fs_type != FILE_SYSTEM || !dead.contains(&mount.device);
    at.clone()
        .find(foreign)
        .map(|mount| format!("{} ({})", mount.source.to_string_lossy(), mount.fs_type))
}

/// Whether a file system is on top at some place of this namespace.
fn is_seen(table: &MountTable, device: DeviceNumber) -> bool {
    table.of_device(device).any(|mount| {
        let top = table.at(&mount.mount_point);
        top.is_some_and(|top| top.id == mount.id)
    })
}
