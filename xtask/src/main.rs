//! Developer commands: a cluster, the tests, the demo, the benchmark and the checks of the house.
//!
//! `make` is what people type; see the Makefile for which target calls what.

mod bench;
mod check;
mod child;
mod cluster;
mod csi;
mod demo;
mod down;
mod environment;
mod failure;
mod guest;
mod installation;
mod manifests;
mod rpc;
mod screen;
mod test;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
pub(crate) use failure::Failure;
use screen::{Form, Screen};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Cuttle")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// The form of the result.
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value = "text",
        global = true
    )]
    output: Form,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A Ceph cluster to develop against.
    #[command(subcommand)]
    Cluster(cluster::Action),
    /// Run the tests (all, or as the arguments for `cargo nextest run` say) with a cluster of their own.
    Test(test::TestOptions),
    /// Lead one volume through its whole life on a throw-away Ceph cluster.
    Demo(demo::DemoOptions),
    /// Remove whatever a demo, a benchmark or a development cluster left.
    Down,
    /// Measure a driver's speed and memory beside the bare library.
    Bench(bench::BenchOptions),
    /// Make a CSI call by hand.
    Csi(csi::CsiOptions),
    /// Run a command in a virtual machine with a kernel that has Ceph's clients, beside a cluster.
    Guest(guest::GuestOptions),
    /// Run the driver's tests that need such a kernel.
    TestKernel(guest::TestOptions),
    /// What `guest` and `test-kernel` run in a network namespace of its own.
    #[command(hide = true)]
    GuestSession {
        /// The file that says what to do.
        plan: PathBuf,
    },
    /// Write what lies in deploy/: manifests, Helm chart, examples, alerts and dashboard.
    Manifests(manifests::ManifestsOptions),
    /// Check layers, tidiness, licences and the other rules of the house.
    Check,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut screen = Screen::new(arguments.output);
    let result = match arguments.command {
        Command::Cluster(action) => cluster::run(action, &mut screen),
        Command::Test(options) => test::run(&options, &mut screen),
        Command::Demo(options) => demo::run(&options, &mut screen),
        Command::Down => down::run(&mut screen),
        Command::Bench(options) => bench::run(&options, &mut screen),
        Command::Csi(options) => csi::run(options, &mut screen),
        Command::Manifests(options) => manifests::run(&options, &mut screen),
        Command::Check => check::run(&mut screen),
        Command::Guest(options) => return ended(guest::run(&options), &mut beside()),
        Command::TestKernel(options) => return ended(guest::test(&options), &mut beside()),
        Command::GuestSession { plan } => return ended(guest::session(&plan), &mut beside()),
    };
    ended(result.map(|()| ExitCode::SUCCESS), &mut screen)
}

/// A screen for commands whose standard output is a guest's.
fn beside() -> Screen {
    Screen::new(Form::Json)
}

/// The exit code to end with, after a failure was shown.
fn ended(result: Result<ExitCode, Failure>, screen: &mut Screen) -> ExitCode {
    result.unwrap_or_else(|failure| {
        let word = screen.judged(false, "error");
        screen.line(&format!("{word}: {failure}"));
        ExitCode::FAILURE
    })
}
