//! CephFS in the benchmark: a driver process of its own, beside bare commands to the manager.

use std::path::Path;
use std::time::Duration;

use cuttle_testbed::{Cluster, Driver, DriverOptions};

use super::apply;
use super::blocks::{CEPHFS, Plan, Run};
use super::contender::Contender;
use super::floor::SubvolumesOfGroup;
use super::report::Report;
use crate::Failure;
use crate::installation::Installation;
use crate::rpc::{Rpc, runtime};
use crate::screen::Screen;
use crate::workload::{Secrets, Workload};

/// The file system of the test cluster.
const FS: &str = "cephfs";

/// A class for subvolumes.
pub(super) fn workload(cluster: &str, secrets: Secrets) -> Workload {
    let mut workload = Workload::new(cluster, "", secrets);
    workload.parameters = [("clusterID", cluster), ("fsName", FS)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    workload.fs_type = String::new();
    workload
}

/// Starts Cuttle for CephFS on the cluster of an installation, measures, and ends it.
pub(super) fn measure_own(
    installation: &Installation,
    program: &Path,
    parameters: &[String],
    plan: &Plan,
    report: &mut Report,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let cluster = &installation.cluster;
    let user = "csi-cephfs-provisioner";
    let osd = format!("allow rw tag cephfs metadata={FS}, allow rw tag cephfs data={FS}");
    let mds = format!("allow r fsname={FS} path=/volumes, allow rws fsname={FS} path=/volumes/csi");
    let mon = format!("allow r fsname={FS}");
    let caps = [
        ("mon", mon.as_str()),
        ("mgr", "allow rw"),
        ("osd", &osd),
        ("mds", &mds),
    ];
    let secrets = Secrets {
        user: user.to_owned(),
        key: cluster.user(user, &caps)?,
    };
    let work = installation.places.work();
    let socket = work.join("cephfs.sock");
    let options = DriverOptions::new(program, &work)
        .name("cephfs")
        .socket(&socket)
        .arg("serve")
        .arg("--type=cephfs")
        .arg("--drivername=cephfs.csi.ceph.com")
        .arg("--nodeid=cephfs")
        .arg("--controllerserver=true")
        .arg(format!("--endpoint=unix://{}", socket.display()))
        .arg(format!("--config={}", work.join("config.json").display()))
        .arg(format!("--rundir={}", work.join("run/cephfs").display()));
    let mut driver = Driver::start(&options)?;
    let rpc = Rpc::connect_on(runtime()?, &socket, Duration::from_secs(10))?;
    let mut workload = workload(cluster.fsid(), secrets);
    apply(&mut workload, parameters);
    let contender = Contender::new(rpc, workload, driver.pid());
    measure(cluster, contender, plan, report, screen)?;
    driver.terminate(Duration::from_secs(60))?;
    Ok(())
}

/// Measures a driver beside the manager's own commands.
pub(super) fn measure(
    cluster: &Cluster,
    contender: Contender,
    plan: &Plan,
    report: &mut Report,
    screen: &mut Screen,
) -> Result<(), Failure> {
    // The manager carries out one command after the other: thousands would take minutes and tell
    // nothing more.
    let mut plan = plan.clone();
    plan.volumes.retain(|count| *count <= 1_000);
    Run {
        cluster,
        contender,
        floor: SubvolumesOfGroup::connect(cluster, FS)?,
        plan: &plan,
        title: "CephFS ",
        goals: CEPHFS,
    }
    .measure(report, screen)
}
