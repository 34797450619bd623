//! `cargo xtask test-kernel`: the driver's tests that need a kernel with Ceph's clients.
//!
//! They are the module `kernel` of the driver's system tests, built here like all others and run
//! in guests, one after the other in one process. The rest of the tests runs without a guest.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use cargo_metadata::Message;
use clap::Args;

use super::kernel::Kernel;
use super::machine::Command;
use super::session::{self, Plan, Run};
use super::{Hardware, check_programs, cluster_dir, network};
use crate::screen::{Form, Screen};
use crate::{Failure, child, environment};

/// The prefix of the tests that need a guest.
const PREFIX: &str = "kernel::";

/// Which tests run where.
#[derive(Debug, Args)]
pub(crate) struct TestOptions {
    #[command(flatten)]
    hardware: Hardware,
    /// Only these kernels [default: all].
    #[arg(long, value_enum)]
    kernel: Vec<Kernel>,
    /// How many seconds one guest may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    limit: u64,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// Builds the tests and runs them in guests.
pub(crate) fn run(options: &TestOptions) -> Result<ExitCode, Failure> {
    let mut screen = Screen::new(Form::Json);
    check_programs()?;
    let program = build()?;
    let kernels = match options.kernel.as_slice() {
        [] => &[Kernel::Trixie, Kernel::Bookworm][..],
        some => some,
    };
    let names = list(&program, options.filter.as_deref())?;
    if names.is_empty() {
        return Err(Failure::new("no test has such a name"));
    }
    let mut runs = Vec::new();
    for kernel in kernels {
        let mut words = vec![program.display().to_string(), "--exact".to_owned()];
        words.extend(names.iter().cloned());
        words.push("--test-threads=1".to_owned());
        runs.push(Run {
            title: Some(format!("kernel {kernel}")),
            machine: options.hardware.machine(*kernel, &mut screen)?,
            command: Command {
                words,
                environment: vec![("RUST_BACKTRACE".to_owned(), "1".to_owned())],
                directory: environment::workspace_root(),
                limit: Duration::from_secs(options.limit),
            },
        });
    }
    let plan = Plan {
        outside: network::namespace()?,
        dir: session::run_dir(),
        cluster: Some(cluster_dir()),
        runs,
    };
    plan.carry_out()
}

/// Builds the driver and its system tests; answers the tests' binary.
fn build() -> Result<PathBuf, Failure> {
    let mut command = child::command("cargo");
    command
        .args(["test", "--quiet", "--locked", "--no-run"])
        .args(["--package", "cuttle", "--test", "system"])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(environment::workspace_root())
        .stderr(std::process::Stdio::inherit());
    let output = command
        .output()
        .map_err(|error| Failure::because("cannot start cargo", &error))?;
    if !output.status.success() {
        return Err(Failure::new(format!("cargo ended with {}", output.status)));
    }
    Message::parse_stream(output.stdout.as_slice())
        .find_map(|message| {
            let Ok(Message::CompilerArtifact(artifact)) = message else {
                return None;
            };
            let is_ours = artifact.target.name == "system";
            artifact.executable.filter(|_| is_ours).map(PathBuf::from)
        })
        .ok_or_else(|| Failure::new("cargo has built no system tests"))
}

/// The names of the tests.
fn list(program: &PathBuf, filter: Option<&str>) -> Result<Vec<String>, Failure> {
    let output = cuttle_testbed::Program::new(program)
        .args(["--list", "--format=terse"])
        .ok()?;
    let names = output.text();
    Ok(names
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|name| name.starts_with(PREFIX))
        .filter(|name| filter.is_none_or(|part| name.contains(part)))
        .map(str::to_owned)
        .collect())
}
