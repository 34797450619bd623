//! The subvolumes of a group, seen through Ceph's own program: the witness of CephFS volumes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{Cluster, Error};

/// One subvolume, as the manager's module tells about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subvolume {
    /// The directory of its data.
    pub path: String,
    /// Its quota in bytes; `None` is no limit.
    pub quota: Option<u64>,
    /// Its state, such as `complete`.
    pub state: String,
    /// Its data pool.
    pub data_pool: String,
}

impl Cluster {
    /// Makes a group of subvolumes in the file system `cephfs`. Idempotent.
    ///
    /// # Errors
    /// When the command fails.
    pub fn subvolume_group(&self, group: &str) -> Result<(), Error> {
        self.json(&["fs", "subvolumegroup", "create", "cephfs", group])
            .map(drop)
    }

    /// The names of all subvolumes in a group of `cephfs`; none when there is no such group.
    ///
    /// # Errors
    /// When the command fails otherwise.
    pub fn subvolume_names(&self, group: &str) -> Result<BTreeSet<String>, Error> {
        /// What `ceph` ends with for ENOENT.
        const ABSENT: Option<i32> = Some(2);
        let words = ["-f", "json", "fs", "subvolume", "ls", "cephfs", group];
        let output = self.program("ceph").args(words).run()?;
        if output.status.code() == ABSENT {
            return Ok(BTreeSet::new());
        }
        Ok(names(&output.json()?))
    }

    /// A subvolume of a group of `cephfs`.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn subvolume(&self, group: &str, name: &str) -> Result<Subvolume, Error> {
        let info = self.json(&["fs", "subvolume", "info", "cephfs", name, group])?;
        let text = |key: &str| {
            let value = info.get(key).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        Ok(Subvolume {
            path: text("path"),
            quota: info.get("bytes_quota").and_then(Value::as_u64),
            state: text("state"),
            data_pool: text("data_pool"),
        })
    }

    /// The metadata of a subvolume of `cephfs`.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn subvolume_metadata(
        &self,
        group: &str,
        name: &str,
    ) -> Result<BTreeMap<String, String>, Error> {
        let listed = self.json(&["fs", "subvolume", "metadata", "ls", "cephfs", name, group])?;
        let entries = listed.as_object().into_iter().flatten();
        Ok(entries
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect())
    }
}

fn names(listed: &Value) -> BTreeSet<String> {
    let entries = listed.as_array().into_iter().flatten();
    entries
        .filter_map(|entry| Some(entry.get("name")?.as_str()?.to_owned()))
        .collect()
}
