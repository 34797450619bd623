//! `cargo xtask test`: all tests, with a cluster that is there only for them.

mod newer_ceph;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use cuttle_testbed::{Cluster, SHARED_CLUSTER, StartOptions};

use crate::child;
use crate::screen::{Screen, seconds};
use crate::{Failure, environment};

/// Which tests run, and on which Ceph.
#[derive(Debug, Args)]
pub(crate) struct TestOptions {
    /// Another Ceph than the installed one, in a system of its own.
    #[arg(long, value_parser = clap::value_parser!(u8).range(18..=18))]
    ceph: Option<u8>,
    /// Run what was built and handed over in this directory.
    #[arg(long, hide = true)]
    prebuilt: Option<PathBuf>,
    /// Arguments for `cargo nextest run` [default: --workspace].
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs `cargo nextest` on the whole workspace, or as `arguments` say.
///
/// Uses the cluster that the environment names; starts one otherwise and stops it at the end. The
/// kernel stops it if this process is killed.
pub(crate) fn run(options: &TestOptions, screen: &mut Screen) -> Result<(), Failure> {
    if options.ceph.is_some() {
        return newer_ceph::run(&options.arguments);
    }
    let all = ["--workspace".to_owned()];
    let prebuilt = options.prebuilt.as_deref();
    let arguments = match (&options.arguments[..], prebuilt) {
        ([], None) => &all[..],
        (arguments, _) => arguments,
    };
    if prebuilt.is_none() {
        // Building first keeps the cluster's clock out of it and tells compile errors at once.
        nextest(None, arguments, None, &["--no-run"])?;
    }

    let start = Instant::now();
    screen.begin("starting Ceph");
    let cluster = test_cluster(prebuilt)?;
    screen.done(
        "Ceph is up",
        start.elapsed(),
        &cluster.dir().display().to_string(),
    );
    let start = Instant::now();
    let result = nextest(prebuilt, arguments, Some(cluster.dir()), &[]);
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

fn test_cluster(prebuilt: Option<&Path>) -> Result<Cluster, Failure> {
    if let Some(dir) = environment::shared_cluster() {
        return Ok(Cluster::find(&dir)?);
    }
    let dir = environment::working_dir(if prebuilt.is_some() {
        "ceph-18-cluster"
    } else {
        "test-cluster"
    });
    Ok(Cluster::start(&StartOptions {
        dir: Some(dir),
        ..StartOptions::default()
    })?)
}

fn nextest(
    prebuilt: Option<&Path>,
    arguments: &[String],
    cluster: Option<&Path>,
    more: &[&str],
) -> Result<(), Failure> {
    let mut command = match prebuilt {
        Some(place) => newer_ceph::nextest(place),
        None => {
            let mut cargo = child::command("cargo");
            cargo.args(["nextest", "run", "--locked"]);
            cargo
        }
    };
    command.args(arguments).args(more);
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
