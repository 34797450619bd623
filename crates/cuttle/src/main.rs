//! The cuttle binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    cuttle_app::run::run(std::env::args_os())
}
