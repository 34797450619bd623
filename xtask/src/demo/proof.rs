//! The proof that nothing is left, by witnesses that share no code with the driver.

use std::time::Duration;

use cuttle_testbed::{Contents, Leftover, Residue, host_residue, until};
use serde_json::{Value, json};

use crate::Failure;
use crate::installation::Installation;

/// How long the manager gets to empty the trash in the background.
const TRASH_PATIENCE: Duration = Duration::from_secs(120);

/// What is left, in Ceph and on the host.
#[derive(Debug)]
pub(crate) struct Proof {
    ceph: Vec<Leftover>,
    host: Residue,
}

impl Proof {
    /// Looks everywhere. Images in the trash are removed by a task of Ceph's manager some moments
    /// after the delete was answered, so that Ceph is looked at until it is clean or time is up.
    ///
    /// `alive` are the processes of the driver that are meant to run.
    pub(crate) fn take(
        installation: &Installation,
        before: &Contents,
        alive: &[i32],
    ) -> Result<Self, Failure> {
        let look = || installation.cluster.rbd_namespace_contents("rbd", "");
        let mut ceph = Vec::new();
        // The last look counts, whether it was clean or not.
        drop(until("Ceph is clean", TRASH_PATIENCE, || {
            ceph = look()
                .map_err(|error| error.to_string())?
                .leftovers_since(before);
            if ceph.is_empty() {
                Ok(())
            } else {
                Err(format!("{ceph:?}"))
            }
        }));
        let secrets = [
            installation.provisioner.key.clone(),
            installation.node.key.clone(),
            installation.cephfs.key.clone(),
            installation.cluster.admin_key(),
        ];
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let mut host = host_residue(&[&installation.places.work()], &secrets);
        host.processes
            .retain(|process| !alive.contains(&process.pid));
        Ok(Self { ceph, host })
    }

    /// Whether nothing is left.
    pub(crate) fn is_clean(&self) -> bool {
        self.ceph.is_empty() && self.host.is_empty()
    }

    /// The counts: what, how many, seen with.
    fn counts(&self) -> [(&'static str, usize, &'static str); 8] {
        let ceph = |wanted: fn(&Leftover) -> bool| self.ceph.iter().filter(|l| wanted(l)).count();
        [
            (
                "images",
                ceph(|l| matches!(l, Leftover::Image(_))),
                "rbd ls",
            ),
            (
                "images in the trash",
                ceph(|l| matches!(l, Leftover::Trash(_))),
                "rbd trash ls --all",
            ),
            (
                "RADOS objects",
                ceph(|l| matches!(l, Leftover::Object(_))),
                "rados ls",
            ),
            (
                "omap keys",
                ceph(|l| matches!(l, Leftover::Key { .. })),
                "rados listomapkeys",
            ),
            ("mounts", self.host.mounts.len(), "/proc/self/mountinfo"),
            ("loop devices", self.host.loop_devices.len(), "/sys/block"),
            ("processes", self.host.processes.len(), "/proc/*/exe"),
            (
                "files or logs with a key",
                self.host.key_files.len(),
                "every file below work/",
            ),
        ]
    }

    /// The counts as rows of a table.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        self.counts()
            .into_iter()
            .map(|(what, count, how)| vec![what.to_owned(), count.to_string(), how.to_owned()])
            .collect()
    }

    /// The counts and the things themselves as JSON.
    pub(crate) fn json(&self) -> Value {
        let counts: serde_json::Map<String, Value> = self
            .counts()
            .into_iter()
            .map(|(what, count, _)| (what.replace(' ', "_"), json!(count)))
            .collect();
        json!({ "counts": counts, "details": self.details() })
    }

    /// Each thing that is left, in words.
    pub(crate) fn details(&self) -> Vec<String> {
        let ceph = self.ceph.iter().map(ToString::to_string);
        ceph.chain(self.host.to_string().lines().map(ToOwned::to_owned))
            .collect()
    }
}
