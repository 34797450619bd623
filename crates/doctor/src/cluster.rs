//! One cluster as the driver sees it with its user, from here.

use ceph::{Cluster, Clusters, Error};
use cuttle_host::Host;
use cuttle_model::{ClusterSettings, Credentials, FsName, PoolName};

use crate::capabilities::{self, Needs};
use crate::report::{Check, Report, Severity, Told};
use crate::{file_systems, health, manager, pairs, pools, reach, versions};

/// Who uses the credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// The controller, which makes and deletes volumes.
    #[default]
    Provisioner,
    /// The node plugin, which attaches them.
    Node,
}

/// What of a cluster is to be looked at.
#[derive(Debug, Clone)]
pub struct ClusterPlan {
    /// Its entry in `config.json`.
    pub settings: ClusterSettings,
    /// The user; without one only what needs no login is looked at.
    pub credentials: Option<Credentials>,
    /// Who the user is for.
    pub purpose: Purpose,
    /// Pools of images and journal.
    pub pools: Vec<PoolName>,
    /// Pools of images' data alone.
    pub data_pools: Vec<PoolName>,
    /// File systems.
    pub file_systems: Vec<FsName>,
}

/// Looks at one cluster.
///
/// # Blocking
/// For some seconds; up to about a minute where daemons do not answer.
pub fn cluster(plan: &ClusterPlan, clusters: &Clusters, host: &Host, report: &mut Report) {
    let settings = &plan.settings;
    let network = settings.rbd.net_namespace_file.as_deref();
    let spoken = reach::monitors(host, &settings.monitors, network, report);
    versions::libraries(report);
    pairs::of_host(host, plan, spoken, report);
    let about = format!("cluster {}", settings.id);
    let Some(credentials) = &plan.credentials else {
        let told = Told::new("no user was given", "what needs a login was not looked at")
            .remedy("add --user=NAME --key-file=FILE, or --credentials=DIRECTORY of a Secret");
        return report.add(Severity::Unknown, Check::Login, about, told);
    };
    if !spoken.any() {
        let told = Told::new("no monitor answers", "no login was tried");
        return report.add(Severity::Unknown, Check::Login, about, told);
    }
    if credentials.user.as_str() == "admin" {
        let told = Told::new(
            "the user is client.admin",
            "whoever reads the Secret, or breaks into a node, owns the whole cluster",
        )
        .remedy(format!(
            "make a user of its own: {}",
            Needs::of(plan).creation()
        ));
        report.add(Severity::Warning, Check::UserPower, about.clone(), told);
    }
    let connected = match clusters.connect(&settings.monitors, credentials) {
        Ok(connected) => connected,
        Err(error) => return refused(plan, &error, about, report),
    };
    let fsid = connected
        .fsid()
        .map_or_else(|error| error.to_string(), |fsid| fsid.to_string());
    let evidence = format!("client.{} at cluster {fsid}", credentials.user);
    report.good(Check::Login, about, evidence);
    with_login(plan, &connected, host, report);
}

fn refused(plan: &ClusterPlan, error: &Error, about: String, report: &mut Report) {
    let creation = Needs::of(plan).creation();
    let told = if error.is_denied() {
        Told::new(
            error.to_string(),
            "the cluster does not know the user, its key is another one, or it may not ask the \
             monitors at all",
        )
        .remedy(format!(
            "compare the Secret with what this prints, or makes: {creation}"
        ))
    } else {
        Told::new(error.to_string(), "the driver cannot connect either").remedy(
            "see the monitors above; if they answer, look at `ceph -s` for their quorum, and give \
             the user the capability mon 'profile rbd' or mon 'allow r'",
        )
    };
    report.add(Severity::Error, Check::Login, about, told);
}

fn with_login(plan: &ClusterPlan, cluster: &Cluster, host: &Host, report: &mut Report) {
    let network = plan.settings.rbd.net_namespace_file.as_deref();
    reach::monitor_list(cluster, &plan.settings.monitors, report);
    let with_files = !plan.file_systems.is_empty();
    reach::daemons(host, cluster, network, with_files, report);
    health::look(cluster, report);
    let release = versions::cluster(cluster, report);
    pairs::of_cluster(host, plan, release, report);
    let needs_images = !plan.pools.is_empty() && plan.purpose == Purpose::Provisioner;
    let needs_subvolumes = !plan.file_systems.is_empty() && plan.purpose == Purpose::Provisioner;
    manager::look(cluster, needs_images, needs_subvolumes, report);
    for pool in &plan.pools {
        pools::look(cluster, pool, &plan.settings.rbd.namespace, report);
    }
    for pool in &plan.data_pools {
        pools::data(cluster, pool, report);
    }
    for fs in &plan.file_systems {
        file_systems::look(cluster, fs, &plan.settings.cephfs, plan.purpose, report);
    }
    capabilities::look(plan, cluster, report);
}

/// A finding for a question that was not answered: unknown, whatever the answer would have been.
pub(crate) fn unanswered(
    report: &mut Report,
    check: Check,
    about: impl Into<String>,
    error: &Error,
) {
    let meaning = if error.is_denied() {
        "the user may not ask this; see the checks of its capabilities"
    } else {
        "it is not known whether this is in order"
    };
    let told = Told::new(error.to_string(), meaning);
    report.add(Severity::Unknown, check, about, told);
}
