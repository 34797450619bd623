//! The tests on a newer Ceph: the programs that were built here, against the libraries and daemons
//! of a system of their own.
//!
//! Here everything is built, listed and handed over; `scripts/ceph-18.sh` makes the system and
//! runs this program in it, which then starts the cluster and the tests that were listed.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::child::{self, Child};
use crate::{Failure, environment};

/// Below the build output: the system, and what is handed over to it.
const PLACE: &str = "ceph-18";

const NEXTEST: &str = "cargo-nextest";
const BINARIES: &str = "binaries.json";
const PACKAGES: &str = "packages.json";

/// Builds the tests, makes the system and runs the tests in it.
pub(super) fn run(arguments: &[String]) -> Result<(), Failure> {
    let place = environment::target_dir().join(PLACE);
    std::fs::create_dir_all(&place)
        .map_err(|error| Failure::because(format!("cannot make {}", place.display()), &error))?;
    hand_over(&place)?;
    child::run(in_system("make", &place))?;
    let mut tests = in_system("run", &place);
    tests
        .arg(environment::own_program())
        .args(["test", "--prebuilt"])
        .arg(&place)
        .args(arguments);
    child::run(tests)
}

/// The command that runs the tests which were handed over in `place`.
pub(super) fn nextest(place: &Path) -> Child {
    let mut command = child::command(&place.join(NEXTEST).display().to_string());
    command
        .args(["nextest", "run", "--profile", "newer-ceph"])
        .arg("--binaries-metadata")
        .arg(place.join(BINARIES))
        .arg("--cargo-metadata")
        .arg(place.join(PACKAGES));
    command
}

/// Builds the tests, all of them so that nothing is built twice, and writes down where they are.
fn hand_over(place: &Path) -> Result<(), Failure> {
    let mut list = child::command("cargo");
    list.args(["nextest", "list", "--locked", "--workspace"])
        .args(["--list-type", "binaries-only", "--message-format", "json"]);
    into_file(list, &place.join(BINARIES))?;
    let mut packages = child::command("cargo");
    packages.args(["metadata", "--locked", "--format-version", "1"]);
    into_file(packages, &place.join(PACKAGES))?;
    let program = nextest_program();
    std::fs::copy(&program, place.join(NEXTEST))
        .map(drop)
        .map_err(|error| Failure::because(format!("cannot copy {}", program.display()), &error))
}

fn into_file(mut command: Child, path: &Path) -> Result<(), Failure> {
    let file = File::create(path)
        .map_err(|error| Failure::because(format!("cannot write {}", path.display()), &error))?;
    command.current_dir(environment::workspace_root());
    command.stdout(file);
    child::run(command)
}

/// Where cargo finds its subcommand.
fn nextest_program() -> PathBuf {
    std::iter::once(environment::cargo_home().join("bin"))
        .chain(environment::program_dirs())
        .map(|dir| dir.join(NEXTEST))
        .find(|program| program.exists())
        .unwrap_or_else(|| PathBuf::from(NEXTEST))
}

/// The script with one of its actions, as root.
fn in_system(action: &str, place: &Path) -> Child {
    let script = environment::workspace_root().join("scripts/ceph-18.sh");
    let mut command = if environment::is_root() {
        child::command(&script.display().to_string())
    } else {
        let mut sudo = child::command("sudo");
        sudo.arg(script);
        sudo
    };
    command.arg(action).arg(place);
    command
}
