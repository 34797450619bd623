//! `cargo xtask cluster`: a Ceph cluster to develop against.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Subcommand;
use cuttle_testbed::{Cluster, SHARED_CLUSTER, StartOptions};

use crate::screen::{Screen, seconds};
use crate::{Failure, environment};

/// What to do with the cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Start one that outlives this command; fine when it runs already.
    Up {
        /// Its directory [default: target/cluster].
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Stop it and remove its directory; fine when it is not there.
    Down {
        /// Its directory [default: target/cluster].
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Show how it is.
    Status {
        /// Its directory [default: target/cluster].
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// Carries the action out.
pub(crate) fn run(action: Action, screen: &mut Screen) -> Result<(), Failure> {
    let at = |dir: Option<PathBuf>| dir.unwrap_or_else(default_dir);
    match action {
        Action::Up { dir } => up(&at(dir), screen),
        Action::Down { dir } => {
            let dir = at(dir);
            Cluster::remove(&dir)?;
            screen.line(&format!("no cluster at {}", dir.display()));
            Ok(())
        }
        Action::Status { dir } => {
            let cluster = Cluster::find(&at(dir))?;
            let status = cluster.program("ceph").arg("status").ok()?;
            screen.line(&status.text());
            Ok(())
        }
    }
}

/// Where the development cluster is unless told otherwise.
pub(crate) fn default_dir() -> PathBuf {
    environment::working_dir("cluster")
}

fn up(dir: &Path, screen: &mut Screen) -> Result<(), Failure> {
    let cluster = match Cluster::find(dir) {
        Ok(cluster) => {
            screen.line(&format!("a cluster runs at {}", dir.display()));
            cluster
        }
        Err(_) => {
            let start = Instant::now();
            screen.begin("starting Ceph");
            let options = StartOptions {
                dir: Some(dir.to_owned()),
                detached: true,
                ..StartOptions::default()
            };
            let cluster = Cluster::start(&options)?;
            screen.done("Ceph is up", start.elapsed(), &cluster.monitors());
            screen.line(&format!("({} to be ready)", seconds(start.elapsed())));
            cluster
        }
    };
    screen.line(&format!(
        "\nexport {SHARED_CLUSTER}={}",
        cluster.dir().display()
    ));
    screen.line(&format!("ceph -c {} status", cluster.conf_path().display()));
    Ok(())
}
