//! `cargo xtask down`: remove whatever a demo or a development cluster left, also after a crash.
//!
//! Order matters: a mounted file system needs its loop device, that needs its export, and that
//! needs Ceph. So the volumes go first, then the devices, then the processes, then Ceph; and what
//! does not let go in time is detached by force, because all of it is throw-away.

use std::path::Path;
use std::time::Duration;

use cuttle_testbed::{Cluster, Program, Residue, host_residue, remove_tree, until};
use rustix::process::{Pid, Signal};

use crate::installation::Places;
use crate::screen::Screen;
use crate::{Failure, cluster, environment, guest};

/// The directory of the demo.
pub(crate) fn demo_dir() -> std::path::PathBuf {
    environment::working_dir("demo")
}

/// Removes the demo, the benchmark and the development cluster.
pub(crate) fn run(screen: &mut Screen) -> Result<(), Failure> {
    for dir in [demo_dir(), environment::working_dir("bench")] {
        remove(&dir)?;
        screen.line(&format!("nothing is left at {}", dir.display()));
    }
    for dir in [
        cluster::default_dir(),
        environment::working_dir("test-cluster"),
        guest::cluster_dir(),
    ] {
        Cluster::remove(&dir)?;
        screen.line(&format!("nothing is left at {}", dir.display()));
    }
    guest::remove_old_runs()
}

/// Removes one installation. Idempotent.
pub(crate) fn remove(dir: &Path) -> Result<(), Failure> {
    if !dir.exists() {
        return Ok(());
    }
    let places = Places {
        dir: dir.to_owned(),
    };
    stop(dir, "serve", Signal::TERM)?;
    // Without Ceph an unmount would wait for ever for its last writes; the end of the export
    // process turns them into errors.
    if Cluster::find(&places.cluster()).is_ok() {
        unmount(dir, false);
        detach(dir);
    }
    stop(dir, "", Signal::TERM)?;
    unmount(dir, true);
    detach(dir);
    Cluster::remove(&places.cluster())?;
    remove_tree(dir)?;
    Ok(())
}

/// Ends the processes whose program lies below `dir` and whose arguments contain `word`.
fn stop(dir: &Path, word: &str, first: Signal) -> Result<(), Failure> {
    let running = || -> Vec<i32> {
        let Residue { processes, .. } = host_residue(&[dir], &[]);
        let ours = |words: &[String]| word.is_empty() || words.iter().any(|w| w == word);
        processes
            .into_iter()
            .filter(|p| ours(&p.words))
            .map(|p| p.pid)
            .collect()
    };
    for (signal, patience) in [(first, 10), (Signal::KILL, 10)] {
        for pid in running().into_iter().filter_map(Pid::from_raw) {
            // It may end between the look and the signal; the wait below tells.
            rustix::process::kill_process(pid, signal).unwrap_or_default();
        }
        let ended = until("processes end", Duration::from_secs(patience), || {
            if running().is_empty() {
                Ok(())
            } else {
                Err(format!("{:?}", running()))
            }
        });
        if ended.is_ok() {
            return Ok(());
        }
    }
    Err(Failure::new(format!(
        "processes {:?} do not end",
        running()
    )))
}

/// Unmounts what is below `dir`, deepest first; with `all`, exports too and by force if needed.
fn unmount(dir: &Path, all: bool) {
    for mount in host_residue(&[dir], &[]).mounts.into_iter().rev() {
        if mount.file_system.starts_with("fuse") && !all {
            continue;
        }
        let gentle = Program::new("umount").arg("--").arg(&mount.target);
        if gentle.limit(Duration::from_secs(15)).ok().is_err() && all {
            let force = Program::new("umount")
                .args(["--lazy", "--force", "--"])
                .arg(&mount.target);
            // What is still there makes the removal of the directory fail, with its name.
            drop(force.limit(Duration::from_secs(15)).ok());
        }
    }
}

fn detach(dir: &Path) {
    for device in host_residue(&[dir], &[]).loop_devices {
        let detach = Program::new("losetup").arg("--detach").arg(&device);
        // A device that is busy goes when its mount does.
        drop(detach.limit(Duration::from_secs(15)).ok());
    }
}
