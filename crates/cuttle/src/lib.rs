//! The cuttle program: flags and configuration files become typed settings, settings become a
//! running driver.
//!
//! No decision about volumes is made here. `flags` knows how arguments are spelled, `settings` what
//! they must be, `config` what `config.json` says; `run` and `serve` are the list of phases.

pub mod config;
pub mod doctor;
mod end_session;
pub mod flags;
pub mod invocation;
mod key_file;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod run;
pub mod serve;
pub mod settings;
pub mod share;
pub mod version;
