//! Pools by number and by name, answered from the client's map of the cluster.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ceph_sys::rados;
use cuttle_model::{PoolId, PoolName};

use crate::clusters::Cluster;
use crate::connection::{Connection, text};
use crate::error::{Errno, Error};

/// A pool, named one way or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolRef<'a> {
    /// By number.
    Id(PoolId),
    /// By name.
    Name(&'a PoolName),
}

impl From<PoolId> for PoolRef<'_> {
    fn from(id: PoolId) -> Self {
        Self::Id(id)
    }
}

impl From<&PoolId> for PoolRef<'_> {
    fn from(id: &PoolId) -> Self {
        Self::Id(*id)
    }
}

impl<'a> From<&'a PoolName> for PoolRef<'a> {
    fn from(name: &'a PoolName) -> Self {
        Self::Name(name)
    }
}

/// What is known of a cluster's pools beyond its map.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// Names and numbers that were in the map once. librados waits for a newer map, without a
    /// limit, only for those that are not in it; these are asked for without a helper thread.
    seen: Mutex<HashSet<String>>,
    /// Pools known to be made for RBD.
    pub(crate) initialised: Mutex<HashSet<i64>>,
    /// Whether a pool and namespace has settings of its own for new images, and when that was
    /// read.
    pub(crate) settings: Mutex<HashMap<(i64, String), (Instant, bool)>>,
}

impl Pools {
    fn has_seen(&self, name: &str) -> bool {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(name)
    }

    fn note(&self, name: &str) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned());
    }
}

impl Cluster {
    /// The number of the pool of that name; `None` is the cluster's own answer, from a map newer
    /// than the question.
    ///
    /// # Errors
    /// `is_timeout` when the pool is not in the client's map and no newer map can be had.
    ///
    /// # Blocking
    /// Not for a pool in the client's map; else one exchange with the monitors.
    pub fn pool_id(&self, name: &PoolName) -> Result<Option<PoolId>, Error> {
        let name = name.as_str();
        let number = self.look_up(name, pool_number)?;
        Ok(number.map(PoolId::new))
    }

    /// The name of the pool of that number; otherwise as [`Cluster::pool_id`].
    ///
    /// # Errors
    /// As [`Cluster::pool_id`].
    pub fn pool_name(&self, id: PoolId) -> Result<Option<PoolName>, Error> {
        let number = id.get();
        let found = self.look_up(&format!("#{number}"), move |connection, _wanted| {
            pool_name(connection, number)
        })?;
        let checked = found.map(PoolName::new).transpose();
        checked.map_err(|error| {
            let errno = Errno::new(libc::EBADMSG);
            Error::new("rados.pool_name", id, errno).with_detail(&error.to_string())
        })
    }

    /// The highest number that the cluster has ever given to a pool; those of removed pools are not
    /// given again.
    ///
    /// # Errors
    /// As [`Cluster::mon_query`]; EBADMSG when the monitors do not tell.
    ///
    /// # Blocking
    /// One exchange with the monitors, whose answer grows with the cluster.
    pub fn highest_pool_id(&self) -> Result<PoolId, Error> {
        let reply = self.mon_query(&serde_json::json!({"prefix": "osd dump"}))?;
        let number = reply
            .json
            .get("pool_max")
            .and_then(serde_json::Value::as_i64);
        let untold = || Error::new("mon.query", "osd dump", Errno::new(libc::EBADMSG));
        number.map(PoolId::new).ok_or_else(untold)
    }

    /// Both the number and the name of a pool; ENOENT when the cluster has no such pool.
    pub(crate) fn resolve(&self, pool: PoolRef<'_>) -> Result<(i64, String), Error> {
        let absent =
            |target: &str| Error::new("rados.pool_lookup", target, Errno::new(libc::ENOENT));
        match pool {
            PoolRef::Id(id) => match self.pool_name(id)? {
                Some(name) => Ok((id.get(), name.as_str().to_owned())),
                None => Err(absent(&format!("pool {id}"))),
            },
            PoolRef::Name(name) => match self.pool_id(name)? {
                Some(id) => Ok((id.get(), name.as_str().to_owned())),
                None => Err(absent(&format!("pool {name}"))),
            },
        }
    }

    /// Asks the client's map; if the answer is no, fetches the newest map and asks again.
    fn look_up<T: Send + 'static>(
        &self,
        wanted: &str,
        ask: impl Fn(&Connection, &str) -> Result<Option<T>, Errno> + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let (inner, connection) = (&self.inner, &self.inner.connection);
        if inner.pools.has_seen(wanted)
            && let Ok(Some(found)) = ask(connection, wanted)
        {
            return Ok(Some(found));
        }
        let target = format!("pool {wanted} at {}", inner.label);
        let (mine, name) = (Arc::clone(connection), wanted.to_owned());
        let found = inner.door.call("rados.pool_lookup", &target, || {
            let looked_up = connection
                .bound
                .run(inner.options.monitor_timeout, move || {
                    match ask(&mine, &name)? {
                        Some(found) => Ok(Some(found)),
                        None => {
                            mine.wait_for_latest_map()?;
                            ask(&mine, &name)
                        }
                    }
                });
            looked_up.map_err(|errno| Error::new("rados.pool_lookup", &target, errno))
        })?;
        if found.is_some() {
            inner.pools.note(wanted);
        }
        Ok(found)
    }

    /// Waits, bounded, until the client's map is as new as the monitors'.
    pub(crate) fn refresh_map(&self) -> Result<(), Error> {
        let (inner, connection) = (&self.inner, &self.inner.connection);
        inner.door.call("rados.latest_map", &inner.label, || {
            let mine = Arc::clone(connection);
            let waited = connection
                .bound
                .run(inner.options.monitor_timeout, move || {
                    mine.wait_for_latest_map()
                });
            waited.map_err(|errno| Error::new("rados.latest_map", &inner.label, errno))
        })
    }
}

fn pool_number(connection: &Connection, name: &str) -> Result<Option<i64>, Errno> {
    let name = text(name)?;
    // SAFETY: the connection is live; the name is NUL-terminated and not kept.
    let number = unsafe { rados::rados_pool_lookup(connection.handle(), name.as_ptr()) };
    match i32::try_from(number) {
        Ok(negative) if negative == -libc::ENOENT => Ok(None),
        Ok(negative) if negative < 0 => Err(Errno::new(negative.saturating_neg())),
        _ => Ok(Some(number)),
    }
}

fn pool_name(connection: &Connection, number: i64) -> Result<Option<String>, Errno> {
    // Ceph limits pool names to far less.
    let mut name = vec![0_u8; 4096];
    let (start, length) = (name.as_mut_ptr().cast(), name.len());
    // SAFETY: the connection is live; `start` is valid for writing `length` bytes.
    let result =
        unsafe { rados::rados_pool_reverse_lookup(connection.handle(), number, start, length) };
    match Errno::check(result) {
        Err(errno) if errno.get() == libc::ENOENT => Ok(None),
        Err(errno) => Err(errno),
        Ok(_length) => {
            let malformed = || Errno::new(libc::EBADMSG);
            let name = CStr::from_bytes_until_nul(&name).map_err(|_no_nul| malformed())?;
            name.to_str()
                .map(|name| Some(name.to_owned()))
                .map_err(|_not_text| malformed())
        }
    }
}
