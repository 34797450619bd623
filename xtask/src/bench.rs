//! `cargo xtask bench`: speed and memory of a CSI driver, beside the bare library in the same run.
//!
//! A driver's own time is what it adds to the time that Ceph's library needs for the same work, so
//! that every figure stands beside one of the floor ([`floor`]): the same objects, keys and images
//! made by plain librados and librbd calls, on the same machine in turn with the driver's blocks.
//! Ratios can be compared between machines; absolute times cannot.
//!
//! Any CSI driver's socket can be measured with `--socket`. Without it a cluster and Cuttle are
//! started for the run and removed after it.

mod blocks;
mod cephfs;
mod contender;
mod figures;
mod floor;
mod report;
mod startup;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use cuttle_testbed::{Cluster, Driver};

use self::blocks::{Plan, RBD, Run};
use self::contender::Contender;
use self::floor::Images;
use self::report::Report;
use crate::installation::{Installation, Role};
use crate::rpc::{Rpc, runtime};
use crate::screen::Screen;
use crate::workload::{Secrets, Workload};
use crate::{Failure, down, environment};

/// What is measured, and how thoroughly.
#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    /// Cuttle's binary, a release build [default: target/release/cuttle].
    #[arg(long, conflicts_with = "socket")]
    driver: Option<PathBuf>,
    /// Measure the driver on this socket instead. It must know the cluster given by --cluster as
    /// a clusterID that is the cluster's fsid, or by --parameter.
    #[arg(long, requires = "cluster")]
    socket: Option<PathBuf>,
    /// The directory of a running test cluster (`cargo xtask cluster up`), for --socket.
    #[arg(long)]
    cluster: Option<PathBuf>,
    /// The kind of volumes [default: both; for --socket, images].
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// A StorageClass parameter, `name=value`; an empty value removes one of the defaults.
    #[arg(long = "parameter")]
    parameters: Vec<String>,
    /// A JSON file with `userID` and `userKey` [default: the cluster's administrator].
    #[arg(long)]
    secrets: Option<PathBuf>,
    /// A tenth of the work: to see that it runs, not to judge.
    #[arg(long)]
    quick: bool,
    /// How many volumes there are when a finished create is repeated.
    #[arg(long, value_delimiter = ',')]
    volumes: Option<Vec<usize>>,
    /// Fail when a target is missed.
    #[arg(long)]
    strict: bool,
}

/// A kind of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// RBD images.
    Rbd,
    /// CephFS subvolumes.
    Cephfs,
}

/// Runs the benchmark.
pub(crate) fn run(options: &BenchOptions, screen: &mut Screen) -> Result<(), Failure> {
    let plan = Plan::new(options.quick, options.volumes.clone());
    let report = match &options.socket {
        Some(socket) => measure_foreign(options, socket, &plan, screen)?,
        None => measure_own(options, &plan, screen)?,
    };
    report.show(screen);
    if options.strict && !report.is_met() {
        return Err(Failure::new("a target is missed"));
    }
    Ok(())
}

/// Starts a cluster and Cuttle, measures, and removes both.
fn measure_own(
    options: &BenchOptions,
    plan: &Plan,
    screen: &mut Screen,
) -> Result<Report, Failure> {
    let release = environment::target_dir().join("release/cuttle");
    let program = options.driver.clone().unwrap_or(release);
    let program = std::path::absolute(&program).unwrap_or(program);
    if !program.exists() {
        return Err(Failure::new(format!(
            "no driver at {}; run `make bench`, or `cargo build --release -p cuttle` first",
            program.display()
        )));
    }
    let dir = environment::working_dir("bench");
    down::remove(&dir)?;
    screen.line("starting Ceph and the driver");
    let installation = Installation::make(&dir, false)?;
    let mut report = Report::new(format!("cuttle, {}", program.display()), plan);
    if options.kind != Some(Kind::Cephfs) {
        measure_images(options, &installation, &program, plan, &mut report, screen)?;
    }
    if options.kind != Some(Kind::Rbd) {
        cephfs::measure_own(
            &installation,
            &program,
            &options.parameters,
            plan,
            &mut report,
            screen,
        )?;
    }
    drop(installation);
    down::remove(&dir)?;
    Ok(report)
}

/// Measures the start of the driver, and its work with images.
fn measure_images(
    options: &BenchOptions,
    installation: &Installation,
    program: &Path,
    plan: &Plan,
    report: &mut Report,
    screen: &mut Screen,
) -> Result<(), Failure> {
    startup::measure(installation, program, plan, report, screen)?;

    // As in production: no debug lines.
    let options_of_driver = installation.options(Role::Controller, program);
    let mut driver = Driver::start(&options_of_driver)?;
    let runtime = runtime()?;
    let socket = installation.places.socket(Role::Controller);
    let rpc = Rpc::connect_on(runtime, &socket, Duration::from_secs(10))?;
    let mut workload = installation.workload();
    apply(&mut workload, &options.parameters);
    let contender = Contender::new(rpc, workload.clone(), driver.pid());
    let floor = Images::connect(&installation.cluster, &workload)?;
    Run {
        cluster: &installation.cluster,
        contender,
        floor,
        plan,
        title: "",
        goals: RBD,
    }
    .measure(report, screen)?;
    driver.terminate(Duration::from_secs(60))?;
    Ok(())
}

/// Measures somebody else's driver, and removes the volumes made with it.
fn measure_foreign(
    options: &BenchOptions,
    socket: &Path,
    plan: &Plan,
    screen: &mut Screen,
) -> Result<Report, Failure> {
    let dir = options.cluster.as_deref().unwrap_or_else(|| Path::new(""));
    let cluster = Cluster::find(dir)?;
    let secrets = match &options.secrets {
        Some(file) => read_secrets(file)?,
        None => Secrets {
            user: "admin".to_owned(),
            key: cluster.admin_key(),
        },
    };
    let mut workload = Workload::new(cluster.fsid(), "rbd", secrets);
    workload.parameters.remove("mounter");
    apply(&mut workload, &options.parameters);
    let rpc = Rpc::connect_on(runtime()?, socket, Duration::from_secs(10))?;
    let pid = contender::process_behind(socket)?;
    let mut report = Report::new(format!("{}, process {pid}", socket.display()), plan);
    if options.kind == Some(Kind::Cephfs) {
        let mut workload = cephfs::workload(cluster.fsid(), workload.provisioner);
        apply(&mut workload, &options.parameters);
        let contender = Contender::new(rpc, workload, pid);
        cephfs::measure(&cluster, contender, plan, &mut report, screen)?;
        return Ok(report);
    }
    let floor = Images::connect(&cluster, &workload)?;
    let contender = Contender::new(rpc, workload, pid);
    Run {
        cluster: &cluster,
        contender,
        floor,
        plan,
        title: "",
        goals: RBD,
    }
    .measure(&mut report, screen)?;
    Ok(report)
}

fn apply(workload: &mut Workload, parameters: &[String]) {
    for parameter in parameters {
        workload.set_parameter(parameter);
    }
}

fn read_secrets(file: &Path) -> Result<Secrets, Failure> {
    let wrong = |what: &str| Failure::new(format!("{}: {what}", file.display()));
    let bytes = std::fs::read(file)
        .map_err(|error| Failure::because(format!("cannot read {}", file.display()), &error))?;
    // The parser's own message could quote the key.
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|_syntax| wrong("not JSON"))?;
    let text = |name: &str| -> Result<String, Failure> {
        let value = value.get(name).and_then(serde_json::Value::as_str);
        value
            .map(ToOwned::to_owned)
            .ok_or_else(|| wrong(&format!("no text `{name}`")))
    };
    Ok(Secrets {
        user: text("userID")?,
        key: text("userKey")?,
    })
}
