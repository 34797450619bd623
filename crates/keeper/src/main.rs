//! The keeper as a small program of its own; the driver's program can be called the same way.

use std::process::ExitCode;

fn main() -> ExitCode {
    cuttle_keeper::main_from_stdin()
}
