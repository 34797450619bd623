//! What the user may do, tried by calls that change nothing even where they are allowed, and the
//! exact command that gives it what it lacks.

use std::collections::BTreeMap;

use ceph::{Cluster, WriteOp};
use cuttle_model::{PoolName, RadosNamespace};
use serde_json::json;

use crate::cluster::{ClusterPlan, Purpose, unanswered};
use crate::pools::was_allowed;
use crate::report::{Check, Report, Severity, Told};

/// An object, image and subvolume that nobody has.
const NOBODY: &str = "cuttle.doctor.nobody";

/// What the monitors take for an address by its form and cannot read, so that nothing is fenced.
const NO_ADDRESS: &str = "cuttle-doctor/0";

/// All that a user needs, by daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    user: String,
    by_daemon: BTreeMap<&'static str, Vec<String>>,
}

impl Needs {
    /// What the plan needs.
    pub(crate) fn of(plan: &ClusterPlan) -> Self {
        let user = plan
            .credentials
            .as_ref()
            .map_or("USER", |known| known.user.as_str());
        // A user of its own is to take the administrator's place.
        let user = if user == "admin" { "csi" } else { user };
        let mut by_daemon: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        let mut need = |daemon, text: String| {
            let texts = by_daemon.entry(daemon).or_default();
            if !texts.contains(&text) {
                texts.push(text);
            }
        };
        let provisions = plan.purpose == Purpose::Provisioner;
        let namespace = &plan.settings.rbd.namespace;
        let within = if namespace.is_default() {
            String::new()
        } else {
            format!(" namespace={namespace}")
        };
        if plan.file_systems.is_empty() || !plan.pools.is_empty() {
            need("mon", "profile rbd".to_owned());
        }
        if provisions && !plan.file_systems.is_empty() {
            need("mgr", "allow rw".to_owned());
        }
        for pool in &plan.pools {
            let here = format!("profile rbd pool={pool}{within}");
            if provisions && plan.file_systems.is_empty() {
                need("mgr", here.clone());
            }
            need("osd", here);
        }
        for pool in &plan.data_pools {
            need("osd", format!("profile rbd pool={pool}{within}"));
        }
        for fs in &plan.file_systems {
            let group = &plan.settings.cephfs.subvolume_group;
            need("mon", format!("allow r fsname={fs}"));
            if provisions {
                need("osd", format!("allow rw tag cephfs metadata={fs}"));
            }
            need("osd", format!("allow rw tag cephfs data={fs}"));
            need("mds", format!("allow r fsname={fs} path=/volumes"));
            need(
                "mds",
                format!("allow rws fsname={fs} path=/volumes/{group}"),
            );
        }
        Self {
            user: user.to_owned(),
            by_daemon,
        }
    }

    fn words(&self) -> String {
        let words = self
            .by_daemon
            .iter()
            .map(|(daemon, texts)| format!(" {daemon} '{}'", texts.join(", ")));
        words.collect()
    }

    /// The command that makes the user.
    pub(crate) fn creation(&self) -> String {
        format!(
            "ceph auth get-or-create client.{}{}",
            self.user,
            self.words()
        )
    }

    /// The command that gives an existing user all of this, and nothing else.
    pub(crate) fn command(&self) -> String {
        format!("ceph auth caps client.{}{}", self.user, self.words())
    }
}

/// Tries everything that the plan needs.
pub(crate) fn look(plan: &ClusterPlan, cluster: &Cluster, report: &mut Report) {
    let user = plan
        .credentials
        .as_ref()
        .map_or("?", |known| known.user.as_str());
    let mut trial = Trial {
        about: format!("client.{user}"),
        command: Needs::of(plan).command(),
        denied: BTreeMap::new(),
        tried: BTreeMap::new(),
        report,
    };
    let provisions = plan.purpose == Purpose::Provisioner;
    let maps = cluster.mon_query(&json!({"prefix": "osd dump"})).map(drop);
    trial.note(Check::CapsMonitor, "read the maps", was_allowed(maps));
    if !plan.pools.is_empty() {
        trial.note(
            Check::CapsMonitor,
            "fence clients (osd blocklist)",
            fences(cluster),
        );
    }
    let namespace = &plan.settings.rbd.namespace;
    for pool in plan.pools.iter().chain(&plan.data_pools) {
        trial.pool(cluster, pool, namespace);
    }
    if provisions {
        for pool in &plan.pools {
            let within = if namespace.is_default() {
                String::new()
            } else {
                format!("{namespace}/")
            };
            let order = json!({
                "prefix": "rbd task add trash remove",
                "image_id_spec": format!("{pool}/{within}{NOBODY}"),
            });
            let asked = cluster.mgr_command(&order).map(drop);
            let what = format!("have images removed from the trash of pool {pool}");
            trial.note(Check::CapsManager, &what, was_allowed(asked));
        }
        for fs in &plan.file_systems {
            let order = json!({
                "prefix": "fs subvolume resize", "vol_name": fs.as_str(), "sub_name": NOBODY,
                "group_name": plan.settings.cephfs.subvolume_group.as_str(), "new_size": "4194304",
            });
            let asked = cluster.mgr_command(&order).map(drop);
            let what = format!("change subvolumes of file system {fs}");
            trial.note(Check::CapsManager, &what, was_allowed(asked));
            trial.journal(plan, cluster, fs);
        }
    }
    trial.end();
}

/// Whether the monitors let this user fence. They look at the capability before the address.
fn fences(cluster: &Cluster) -> Result<bool, ceph::Error> {
    let order = json!({"prefix": "osd blocklist", "blocklistop": "add", "addr": NO_ADDRESS});
    match cluster.mon_command(&order) {
        Ok(_) => Ok(true),
        Err(error) if error.errno().name() == "EINVAL" => Ok(true),
        Err(error) => was_allowed(Err(error)),
    }
}

struct Trial<'a> {
    about: String,
    command: String,
    denied: BTreeMap<Check, Vec<String>>,
    tried: BTreeMap<Check, usize>,
    report: &'a mut Report,
}

impl Trial<'_> {
    fn note(&mut self, check: Check, what: &str, outcome: Result<bool, ceph::Error>) {
        *self.tried.entry(check).or_default() += 1;
        match outcome {
            Ok(true) => {}
            Ok(false) => self.denied.entry(check).or_default().push(what.to_owned()),
            Err(error) => {
                let about = format!("{}: {what}", self.about);
                unanswered(self.report, check, about, &error);
                self.tried.remove(&check);
            }
        }
    }

    fn pool(&mut self, cluster: &Cluster, pool: &PoolName, namespace: &RadosNamespace) {
        let io = match cluster.io(pool, namespace) {
            Ok(io) => io,
            // That it does not exist is told by another check.
            Err(error) if error.is_absent() => return,
            Err(error) => {
                return self.note(Check::CapsOsd, &format!("use pool {pool}"), Err(error));
            }
        };
        let read = was_allowed(io.read(NOBODY, 1).map(drop));
        self.note(Check::CapsOsd, &format!("read in pool {pool}"), read);
        self.note(
            Check::CapsOsd,
            &format!("write in pool {pool}"),
            writes(&io),
        );
        // The number of a snapshot follows; nobody's image has none.
        let class = io
            .exec(NOBODY, "rbd", "get_size", &u64::MAX.to_le_bytes())
            .map(drop);
        let what = format!("call RBD's classes in pool {pool}");
        self.note(Check::CapsOsd, &what, was_allowed(class));
    }

    /// The journal of CephFS lies in the pool of the file system's metadata.
    fn journal(&mut self, plan: &ClusterPlan, cluster: &Cluster, fs: &cuttle_model::FsName) {
        let what = format!("write the journal in the metadata pool of {fs}");
        let io = match cluster.file_system(ceph::FsRef::Name(fs)) {
            Ok(Some(info)) => cluster.io(info.metadata_pool, &plan.settings.cephfs.namespace),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let outcome = io.and_then(|io| writes(&io));
        self.note(Check::CapsOsd, &what, outcome);
    }

    fn end(self) {
        let Self {
            about,
            command,
            denied,
            tried,
            report,
        } = self;
        for (check, count) in tried {
            match denied.get(&check) {
                None => {
                    let evidence = format!("{count} of {count} calls were let through");
                    report.good(check, about.clone(), evidence);
                }
                Some(denied) => {
                    let evidence = format!("the cluster refuses to {}", denied.join("; to "));
                    let meaning = "what needs this fails with EACCES or EPERM, perhaps only later";
                    let told = Told::new(evidence, meaning).remedy(command.clone());
                    report.add(Severity::Error, check, about.clone(), told);
                }
            }
        }
    }
}

/// An operation that would write, guarded so that it never does.
fn writes(io: &ceph::Io) -> Result<bool, ceph::Error> {
    was_allowed(io.write(NOBODY, WriteOp::new().assert_exists().create()))
}
