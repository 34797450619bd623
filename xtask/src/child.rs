//! Children that the developer watches: cargo and its kin, on our own terminal.

pub(crate) use std::process::Command as Child;

use crate::Failure;

/// Runs a command on our terminal and fails when it does.
pub(crate) fn run(mut command: Child) -> Result<(), Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .map_err(|error| Failure::because(format!("cannot start {name}"), &error))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!("{name} ended with {status}")))
    }
}

/// A command of this name.
#[expect(
    clippy::disallowed_methods,
    reason = "cargo's output belongs on the developer's terminal, without a deadline"
)]
pub(crate) fn command(name: &str) -> Child {
    Child::new(name)
}
