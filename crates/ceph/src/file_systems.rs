//! The cluster's file systems: their numbers, names and pools.
//!
//! Unlike the map of pools this one is not kept up to date by librados. It is asked for, kept for a
//! while, and asked for anew before something counts as absent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cuttle_model::{FsId, FsName, PoolId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clusters::Cluster;
use crate::error::{Errno, Error};

/// For how long a file system that was in the map is taken to be there still.
const FRESH: Duration = Duration::from_secs(30);

/// One file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsInfo {
    /// Its number (fscid).
    pub id: FsId,
    /// Its name.
    pub name: FsName,
    /// The pool of its metadata.
    pub metadata_pool: PoolId,
    /// The pools of its data; the first is the default one.
    pub data_pools: Vec<PoolId>,
}

/// A file system, named one way or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsRef<'a> {
    /// By number.
    Id(FsId),
    /// By name.
    Name(&'a FsName),
}

impl FsRef<'_> {
    fn is(self, fs: &FsInfo) -> bool {
        match self {
            Self::Id(id) => fs.id == id,
            Self::Name(name) => fs.name == *name,
        }
    }
}

/// The file systems as they were last told, and when.
#[derive(Debug, Default)]
pub(crate) struct FsMap {
    known: Mutex<Option<(Instant, Arc<[FsInfo]>)>>,
}

impl FsMap {
    fn known(&self) -> MutexGuard<'_, Option<(Instant, Arc<[FsInfo]>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// The file system of that number or name; `None` is the monitors' own answer to a question
    /// asked now.
    ///
    /// # Errors
    /// As [`Cluster::mon_query`].
    ///
    /// # Blocking
    /// Not for one that was there half a minute ago; else one question to the monitors.
    pub fn file_system(&self, wanted: FsRef<'_>) -> Result<Option<FsInfo>, Error> {
        let known = self.inner.file_systems.known().clone();
        if let Some((asked, known)) = known
            && asked.elapsed() < FRESH
            && let Some(found) = known.iter().find(|fs| wanted.is(fs))
        {
            return Ok(Some(found.clone()));
        }
        let now = self.file_systems_now()?;
        Ok(now.iter().find(|fs| wanted.is(fs)).cloned())
    }

    /// All file systems the user may know of, asked for now.
    ///
    /// # Errors
    /// As [`Cluster::mon_query`].
    ///
    /// # Blocking
    /// One question to the monitors.
    pub fn file_systems_now(&self) -> Result<Arc<[FsInfo]>, Error> {
        let reply = self.mon_query(&json!({"prefix": "fs dump"}))?;
        let now: Arc<[FsInfo]> = read(&reply.json)
            .map_err(|error| {
                let errno = Errno::new(libc::EBADMSG);
                Error::new("mon.query", "fs dump", errno).with_detail(&error.to_string())
            })?
            .into();
        *self.inner.file_systems.known() = Some((Instant::now(), Arc::clone(&now)));
        Ok(now)
    }
}

fn read(dump: &Value) -> Result<Vec<FsInfo>, serde_json::Error> {
    let dump = Dump::deserialize(dump)?;
    let known = dump.filesystems.into_iter().filter_map(|entry| {
        // A name that no command could carry cannot be asked for either.
        let name = FsName::new(entry.mdsmap.fs_name).ok()?;
        Some(FsInfo {
            id: FsId::new(entry.id),
            name,
            metadata_pool: PoolId::new(entry.mdsmap.metadata_pool),
            data_pools: entry
                .mdsmap
                .data_pools
                .into_iter()
                .map(PoolId::new)
                .collect(),
        })
    });
    Ok(known.collect())
}

#[derive(Debug, Deserialize)]
struct Dump {
    filesystems: Vec<DumpedFs>,
}

#[derive(Debug, Deserialize)]
struct DumpedFs {
    id: i64,
    mdsmap: MdsMap,
}

#[derive(Debug, Deserialize)]
struct MdsMap {
    fs_name: String,
    metadata_pool: i64,
    data_pools: Vec<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_read_and_what_else_it_says_is_passed_over() {
        let dump = json!({"epoch": 4, "default_fscid": 1, "standbys": [], "filesystems": [
            {"id": 1, "mdsmap": {"fs_name": "a", "metadata_pool": 2, "data_pools": [3, 4],
                                 "in": [0]}},
            {"id": 7, "mdsmap": {"fs_name": "b c", "metadata_pool": 5, "data_pools": [6]}},
        ]});
        let found = read(&dump).unwrap();
        assert_eq!(
            found,
            [FsInfo {
                id: FsId::new(1),
                name: FsName::new("a").unwrap(),
                metadata_pool: PoolId::new(2),
                data_pools: vec![PoolId::new(3), PoolId::new(4)],
            }]
        );
        read(&json!({"filesystems": [{"id": 1}]})).unwrap_err();
    }
}
