//! The file that tells other processes where a cluster is: `state.json` in its directory.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;

/// What a process needs to use a cluster that another one started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) fsid: String,
    pub(crate) monitors: String,
    pub(crate) admin_key: String,
    pub(crate) conf: PathBuf,
    pub(crate) pids: BTreeMap<String, i32>,
    /// The machine that the daemons run on.
    pub(crate) machine: String,
}

/// What tells this machine from others, and from itself before it was started anew.
pub(crate) fn machine() -> Result<String, Error> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    Ok(text.trim().to_owned())
}

/// The state file of the cluster in `dir`.
pub(crate) fn path_in(dir: &Path) -> PathBuf {
    dir.join("state.json")
}

impl State {
    /// Reads the state of the cluster in `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        let path = path_in(dir);
        let bytes = std::fs::read(&path).map_err(Error::file("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|source| Error::State { path, source })
    }

    /// Writes the state; it appears whole or not at all, and only its owner may read it.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = path_in(dir);
        let text = serde_json::to_vec_pretty(self).map_err(|source| Error::State {
            path: path.clone(),
            source,
        })?;
        let fresh = dir.join("state.json.new");
        write_private(&fresh, &text)?;
        std::fs::rename(&fresh, &path).map_err(Error::file("write", &path))
    }
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(Error::file("write", path))
}
