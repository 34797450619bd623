//! `cuttle end-session`: has the session of a dead CephFS client ended, so that nobody waits for
//! what it still holds.
//!
//! Started by a keeper, which does without Ceph's libraries; it hands over the key on standard input.

use std::io::{Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use ceph::{Clusters, ConnectOptions};
use cuttle_door::{Doors, FaultPlan};
use cuttle_keeper::{DeadSession, MAX_ORDER};
use cuttle_model::{Credentials, Monitors, UserId, chain};

/// How long each step may take; the keeper waits a little longer.
const PATIENCE: Duration = Duration::from_secs(8);

/// Ends the session that standard input names. Whoever started the process reads why it could not.
pub(crate) fn main_from_stdin() -> ExitCode {
    match end() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _gone = writeln!(std::io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

fn end() -> Result<(), String> {
    // Never grows, so it leaves no copies of the key behind.
    let mut line = Vec::with_capacity(MAX_ORDER + 1);
    let limit = u64::try_from(MAX_ORDER).unwrap_or(u64::MAX);
    let read = std::io::stdin().lock().take(limit).read_to_end(&mut line);
    read.map_err(|error| error.to_string())?;
    let session = DeadSession::from_line(&line).map_err(|error| chain(&error));
    line.fill(0);
    let session = session?;
    let monitors = session.monitors.split(',').map(str::to_owned).collect();
    let monitors = Monitors::new(monitors).map_err(|error| chain(&error))?;
    let credentials = Credentials {
        user: UserId::new(session.user).map_err(|error| chain(&error))?,
        key: session.key,
    };
    let options = ConnectOptions {
        operation_timeout: PATIENCE,
        monitor_timeout: PATIENCE,
        connect_timeout: PATIENCE,
        ..ConnectOptions::default()
    };
    let clusters = Clusters::new(Doors::new(FaultPlan::none()).ceph, options);
    let cluster = clusters.connect(&monitors, &credentials);
    let cluster = cluster.map_err(|error| chain(&error))?;
    let ended = cluster.end_file_system_session(session.fs.as_deref(), &session.uuid);
    ended.map(drop).map_err(|error| chain(&error))
}
