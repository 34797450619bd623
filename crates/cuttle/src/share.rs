//! `cuttle share`: the shares of the old provisioner `ceph.com/cephfs`, by its tool's arguments and
//! environment.
//!
//! Standard output has nothing but JSON; standard error is empty unless the command fails, because
//! the old provisioner read both as one.

mod command;
mod output;

use std::path::{Path, PathBuf};
use std::time::Duration;

use ceph::{Clusters, ConnectOptions};
use cuttle_door::Doors;
use cuttle_model::{Explain, Secret, ShareName, UserId};
use cuttle_volumes::share::{ShareError, Shares};

pub use command::{Action, Caller, ShareCommand, UsageError};

/// Longest wait for one call. A client that died keeps others waiting for up to a minute, until
/// the MDS takes back what it held.
const PATIENCE: Duration = Duration::from_secs(90);

/// Carries out a command and answers what is to be printed, which for a create holds a key.
///
/// # Errors
/// What stands in the way; nothing is printed then.
///
/// # Blocking
/// Until it is done.
pub fn run(command: &ShareCommand) -> Result<Secret, Box<dyn Explain>> {
    let doors = Doors::new(command.faults.clone());
    let options = ConnectOptions {
        operation_timeout: PATIENCE,
        ceph_conf: ceph_conf(&command.cluster_name),
        ..ConnectOptions::default()
    };
    let clusters = Clusters::new(doors.ceph, options);
    let cluster = clusters
        .connect(&command.monitors, &command.credentials)
        .map_err(boxed)?;
    let shares = Shares::open(cluster, command.place.clone()).map_err(boxed)?;
    let printed = match &command.action {
        Action::Create {
            share,
            user,
            size,
            isolated,
        } => shares
            .create(share, user, *size, *isolated)
            .map(|created| output::created(&created, user)),
        Action::Delete { share, user } => delete(&shares, share, user),
        Action::List { every_group } => shares
            .list(*every_group)
            .map(|shares| output::listed(&shares)),
    };
    printed.map(Secret::new).map_err(boxed)
}

fn delete(shares: &Shares, share: &ShareName, user: &UserId) -> Result<String, ShareError> {
    shares.delete(share, user).map(|()| String::new())
}

fn boxed(error: impl Explain) -> Box<dyn Explain> {
    Box::new(error)
}

/// The host's configuration of that cluster, if it has one.
fn ceph_conf(cluster: &str) -> Option<PathBuf> {
    let conf = Path::new("/etc/ceph").join(format!("{cluster}.conf"));
    conf.exists().then_some(conf)
}
