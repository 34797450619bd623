//! The program with directories of a test's own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cuttle_testbed::{Driver, DriverOptions, until};
use tempfile::TempDir;

pub(crate) const NAME: &str = "rbd.csi.ceph.com";

/// How long anything may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Where a driver is tried.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("rim-").tempdir().unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("csi.sock")
    }

    /// Options of a driver, to which flags can be added.
    pub(crate) fn options(&self, flags: &[&str]) -> DriverOptions {
        let options = self
            .bare(flags)
            .arg(format!("--drivername={NAME}"))
            .arg("--type=rbd")
            .arg("--nodeid=node-1")
            .arg(format!("--config={}", self.path("config.json").display()));
        options.socket(self.socket())
    }

    /// Options with nothing but the endpoint.
    pub(crate) fn bare(&self, flags: &[&str]) -> DriverOptions {
        let mut options = DriverOptions::new(env!("CARGO_BIN_EXE_cuttle"), self.path("driver"));
        options = options.arg(format!("--endpoint=unix://{}", self.socket().display()));
        for flag in flags {
            options = options.arg(*flag);
        }
        options
    }

    /// A driver that serves.
    pub(crate) fn start(&self, flags: &[&str]) -> Driver {
        Driver::start(&self.options(flags)).unwrap()
    }
}

/// Waits until the look succeeds.
pub(crate) fn wait<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    until(what, PATIENCE, look).unwrap()
}

pub(crate) fn gone(path: &Path) -> Result<(), String> {
    if path.exists() {
        Err(format!("{} is there", path.display()))
    } else {
        Ok(())
    }
}

/// A runtime for clients.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}
