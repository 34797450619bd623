//! The program as a list of phases: arguments, settings, logs, socket, configuration, doors,
//! services, serving, and a bounded end.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cuttle_model::{Explain, chain};

use crate::doctor::{self, DoctorCommand};
use crate::flags::{FLAGS, Given};
use crate::invocation::{Invocation, USAGE};
use crate::settings::{CommandLineError, Settings};
use crate::share::{self, Caller, ShareCommand};
use crate::{serve, version};

/// Exit status of a wrong command line (`EX_USAGE` of sysexits).
const USAGE_STATUS: u8 = 64;

/// Runs the program.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let program = arguments.next().map(PathBuf::from).unwrap_or_default();
    match Invocation::read(&program, arguments) {
        Invocation::Serve(flags) => serve_with(flags),
        Invocation::ImageExport => {
            keep_memory_private();
            cuttle_image_export::main_from_stdin()
        }
        Invocation::Keeper => cuttle_keeper::main_from_stdin(),
        Invocation::EndSession => {
            keep_memory_private();
            crate::end_session::main_from_stdin()
        }
        Invocation::Share(caller, arguments) => share_with(caller, &arguments),
        Invocation::Doctor(arguments) => doctor_with(&arguments),
        Invocation::Help => {
            print(USAGE);
            ExitCode::SUCCESS
        }
        Invocation::Unknown(word) => {
            complain(&format!("\"{word}\" is not a command\n\n{USAGE}"));
            ExitCode::from(USAGE_STATUS)
        }
    }
}

fn serve_with(flags: Vec<String>) -> ExitCode {
    let given = Given::parse(flags);
    if given.help {
        print(&flags_help());
        return ExitCode::SUCCESS;
    }
    if given.switch("version") {
        print(&version::report());
        return ExitCode::SUCCESS;
    }
    let settings = match Settings::from_flags(&given) {
        Ok(settings) => settings,
        Err(error) => return refuse(&error),
    };
    // Each arena keeps freed memory of its own, and most threads wait for Ceph most of the time.
    // This must come before the first thread.
    let _agreed = cuttle_host::limit_arenas(2);
    crate::logging::start(settings.log);
    keep_memory_private();
    match serve::run(&settings, &own_program(), environment("POD_IP").as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(
                code = %error.code(), error = chain(&error), remedy = error.remedy().as_deref(),
                "cannot serve"
            );
            ExitCode::FAILURE
        }
    }
}

/// Nothing is logged: programs read standard error together with standard output.
fn share_with(caller: Caller, arguments: &[String]) -> ExitCode {
    keep_memory_private();
    let command = match ShareCommand::read(caller, arguments, &environment) {
        Ok(command) => command,
        Err(error) => {
            explain(&error);
            return match caller {
                Caller::Cuttle => ExitCode::from(USAGE_STATUS),
                Caller::OldTool => ExitCode::FAILURE,
            };
        }
    };
    match share::run(&command) {
        Ok(text) => {
            print(text.expose());
            ExitCode::SUCCESS
        }
        Err(error) => {
            explain(&*error);
            ExitCode::FAILURE
        }
    }
}

/// As with shares nothing is logged; what was found is on standard output.
fn doctor_with(arguments: &[String]) -> ExitCode {
    keep_memory_private();
    let command = match DoctorCommand::read(arguments) {
        Ok(Some(command)) => command,
        Ok(None) => {
            print(doctor::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            complain(&format!("{error}\n\n{}", doctor::USAGE));
            return ExitCode::from(USAGE_STATUS);
        }
    };
    let (text, status) = doctor::run(&command);
    print(&text);
    ExitCode::from(status)
}

/// A variable of the environment; bytes that are no text are replaced.
fn environment(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?;
    Some(value.to_string_lossy().into_owned())
}

/// Tells an error with its causes, its remedy and its code.
fn explain(error: &dyn Explain) {
    let remedy = error.remedy().map(|remedy| format!("; {remedy}"));
    let code = error.code();
    complain(&format!(
        "{}{} [{code}]\n",
        chain(error),
        remedy.unwrap_or_default()
    ));
}

/// Keeps other processes out of this one's memory, where they are kept out.
fn keep_memory_private() {
    if let Err(error) = cuttle_host::keep_memory_private() {
        tracing::warn!(
            error = chain(&error),
            "keys in memory are less private than they could be"
        );
    }
}

/// The path of this program, to start its own subcommands.
fn own_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_error| Path::new("/proc/self/exe").to_owned())
}

fn refuse(error: &CommandLineError) -> ExitCode {
    let remedy = error.remedy().unwrap_or_default();
    complain(&format!("{}: {error}\n{remedy}\n", error.code()));
    ExitCode::from(USAGE_STATUS)
}

fn flags_help() -> String {
    let mut text = format!("{USAGE}\nFlags:\n");
    for flag in FLAGS.iter().filter(|flag| !flag.hidden) {
        text.push_str("  --");
        text.push_str(flag.name);
        if !flag.default.is_empty() {
            text.push('=');
            text.push_str(flag.default);
        }
        text.push_str("\n      ");
        text.push_str(flag.meaning);
        text.push('\n');
    }
    text
}

/// Writes to standard output. A reader that is gone has no use for the rest.
fn print(text: &str) {
    let _gone = io::stdout().write_all(text.as_bytes());
}

/// Writes to standard error before there is a log.
fn complain(text: &str) {
    let _gone = write!(io::stderr(), "cuttle: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_all_but_hidden_flags() {
        let help = flags_help();
        for flag in FLAGS {
            let line = format!("\n  --{}", flag.name);
            let listed = help.lines().any(|l| {
                l.trim_start() == format!("--{}", flag.name)
                    || l.trim_start().starts_with(&format!("--{}=", flag.name))
            });
            assert_eq!(listed, !flag.hidden, "{line}");
        }
    }
}
