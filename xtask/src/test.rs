//! `cargo xtask test`: all tests, with a cluster that is there only for them.

use std::path::PathBuf;
use std::time::Instant;

use cuttle_testbed::{Cluster, SHARED_CLUSTER, StartOptions};

use crate::child;
use crate::screen::{Screen, seconds};
use crate::{Failure, environment};

/// Runs `cargo nextest` on the whole workspace, or as `arguments` say.
///
/// Uses the cluster that the environment names; starts one otherwise and stops it at the end. The
/// kernel stops it if this process is killed.
pub(crate) fn run(arguments: &[String], screen: &mut Screen) -> Result<(), Failure> {
    // Building first keeps the cluster's clock out of it and tells compile errors at once.
    let all = ["--workspace".to_owned()];
    let arguments = if arguments.is_empty() {
        &all[..]
    } else {
        arguments
    };
    nextest(arguments, None, &["--no-run"])?;

    let start = Instant::now();
    screen.begin("starting Ceph");
    let cluster = test_cluster()?;
    screen.done(
        "Ceph is up",
        start.elapsed(),
        &cluster.dir().display().to_string(),
    );
    let start = Instant::now();
    let result = nextest(arguments, Some(cluster.dir().to_owned()), &[]);
    let took = seconds(start.elapsed());
    match &result {
        Ok(()) => screen.done("all tests", start.elapsed(), ""),
        Err(_) => screen.line(&format!(
            "tests failed after {took}; Ceph's logs are in {}",
            cluster.dir().join("log").display()
        )),
    }
    if result.is_ok() && environment::shared_cluster().is_none() {
        cluster.stop()?;
    }
    result
}

fn test_cluster() -> Result<Cluster, Failure> {
    if let Some(dir) = environment::shared_cluster() {
        return Ok(Cluster::find(&dir)?);
    }
    let dir = environment::working_dir("test-cluster");
    Ok(Cluster::start(&StartOptions {
        dir: Some(dir),
        ..StartOptions::default()
    })?)
}

fn nextest(arguments: &[String], cluster: Option<PathBuf>, more: &[&str]) -> Result<(), Failure> {
    let mut command = child::command("cargo");
    command
        .args(["nextest", "run", "--locked"])
        .args(arguments)
        .args(more);
    command.current_dir(environment::workspace_root());
    if let Some(dir) = cluster {
        command.env(SHARED_CLUSTER, dir);
    }
    if !environment::is_root() {
        // Tests mount file systems; building does not need root.
        command.env(
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER",
            "sudo --preserve-env",
        );
        command.env(
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
            "sudo --preserve-env",
        );
    }
    child::run(command)
}
