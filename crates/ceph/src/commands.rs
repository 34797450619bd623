//! Commands to the monitors, JSON in and out; those to the manager go the same way, through its gate.

use std::ffi::CString;
use std::ptr;
use std::sync::Arc;

use ceph_sys::rados;
use cuttle_model::{ByteSize, Fsid, PoolName};
use libc::{c_char, c_int, size_t};
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::bounded::Started;
use crate::clusters::Cluster;
use crate::connection::Connection;
use crate::error::{Errno, Error};

/// The answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The data; null when the command answers none.
    pub json: Value,
    /// The status text, for people.
    pub text: String,
}

/// How full a pool is, as `ceph df` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUsage {
    /// What can still be written, after replication, until the first OSD is full.
    pub max_avail: ByteSize,
    /// What users have stored, before replication.
    pub stored: ByteSize,
    /// The pool's quota in bytes, if one is set.
    pub quota: Option<ByteSize>,
    /// The objects in the pool.
    pub objects: u64,
}

/// `rados_mon_command` or `rados_mgr_command`.
pub(crate) type Send = unsafe extern "C" fn(
    rados::rados_t,
    *mut *const c_char,
    size_t,
    *const c_char,
    size_t,
    *mut *mut c_char,
    *mut size_t,
    *mut *mut c_char,
    *mut size_t,
) -> c_int;

impl Cluster {
    /// The cluster's fsid.
    ///
    /// # Errors
    /// Only if the connection is broken in itself; the monitors are not asked.
    pub fn fsid(&self) -> Result<Fsid, Error> {
        let mut fsid = vec![0_u8; 64];
        let (start, length) = (fsid.as_mut_ptr().cast(), fsid.len());
        let handle = self.inner.connection.handle();
        // SAFETY: the connection is live; `start` is valid for writing `length` bytes.
        let result = unsafe { rados::rados_cluster_fsid(handle, start, length) };
        let written = Errno::check(result)
            .and_then(|n| usize::try_from(n).map_err(|_negative| Errno::new(libc::EBADMSG)))
            .map_err(|errno| Error::new("rados.fsid", &self.inner.label, errno))?;
        fsid.truncate(written);
        let text = String::from_utf8_lossy(&fsid);
        Fsid::parse(&text).map_err(|error| {
            let errno = Errno::new(libc::EBADMSG);
            Error::new("rados.fsid", &self.inner.label, errno).with_detail(&error.to_string())
        })
    }

    /// This client's number in the cluster, as watchers show it.
    #[must_use]
    pub fn instance_id(&self) -> u64 {
        // SAFETY: the connection is live.
        unsafe { rados::rados_get_instance_id(self.inner.connection.handle()) }
    }

    /// Sends a command (`{"prefix": "osd tree"}`) to the monitors. `"format": "json"` is added.
    ///
    /// # Errors
    /// The command's errno with the monitors' text; EBADMSG when the answer is not JSON;
    /// `is_timeout` after the monitor time-out: the command may still be carried out.
    ///
    /// # Blocking
    /// Up to the monitor time-out.
    pub fn mon_command(&self, command: &Value) -> Result<Reply, Error> {
        self.ask_monitors("mon.command", command)
    }

    /// As [`Cluster::mon_command`], for a command that changes nothing.
    ///
    /// # Errors
    /// As [`Cluster::mon_command`]; after a time-out nothing is left running.
    pub fn mon_query(&self, command: &Value) -> Result<Reply, Error> {
        self.ask_monitors("mon.query", command)
    }

    /// How full a pool is; `None` when the monitors list no such pool.
    ///
    /// # Errors
    /// As [`Cluster::mon_command`].
    pub fn pool_usage(&self, pool: &PoolName) -> Result<Option<PoolUsage>, Error> {
        let reply = self.mon_command(&serde_json::json!({"prefix": "df", "detail": "detail"}))?;
        let df = Df::deserialize(&reply.json).map_err(|error| {
            let errno = Errno::new(libc::EBADMSG);
            Error::new("mon.command", "df", errno).with_detail(&error.to_string())
        })?;
        let found = df
            .pools
            .into_iter()
            .find(|entry| entry.name == pool.as_str());
        Ok(found.map(|entry| PoolUsage {
            max_avail: ByteSize::from_bytes(entry.stats.max_avail),
            stored: ByteSize::from_bytes(entry.stats.stored),
            quota: match entry.stats.quota_bytes {
                0 => None,
                bytes => Some(ByteSize::from_bytes(bytes)),
            },
            objects: entry.stats.objects,
        }))
    }

    fn ask_monitors(&self, call: &'static str, command: &Value) -> Result<Reply, Error> {
        let inner = &self.inner;
        let target = self.command_target(command);
        inner.door.call(call, &target, || {
            let limit = inner.options.monitor_timeout;
            let raw = self.send(rados::rados_mon_command, command);
            let raw = raw.and_then(|sent| sent.wait(limit));
            let raw = raw.map_err(|errno| Error::new(call, &target, errno))?;
            if let Err(errno) = Errno::check(raw.result) {
                inner.connection.note(errno);
            }
            raw.read(call, &target)
        })
    }

    /// How a command is named in errors: its prefix and the cluster.
    pub(crate) fn command_target(&self, command: &Value) -> String {
        let prefix = command.get("prefix").and_then(Value::as_str).unwrap_or("?");
        format!("{prefix} at {}", self.inner.label)
    }

    /// Sends a command on a helper thread.
    pub(crate) fn send(&self, send: Send, command: &Value) -> Result<Started<Raw>, Errno> {
        let mut command = command.clone();
        if let Some(fields) = command.as_object_mut() {
            fields.entry("format").or_insert_with(|| "json".into());
        }
        let command = CString::new(command.to_string()).map_err(|_nul| Errno::new(libc::EINVAL))?;
        let connection = Arc::clone(&self.inner.connection);
        let bound = &self.inner.connection.bound;
        bound.start(move || Ok(exchange(&connection, send, &command)))
    }
}

/// What a command came back with.
#[derive(Debug)]
pub(crate) struct Raw {
    result: c_int,
    /// Wiped: it may hold a user's key.
    output: Zeroizing<Vec<u8>>,
    status: Vec<u8>,
}

impl Raw {
    /// The answer as JSON, or the error it tells.
    pub(crate) fn read(&self, call: &'static str, target: &str) -> Result<Reply, Error> {
        let failed = |errno| Error::new(call, target, errno);
        let text = String::from_utf8_lossy(&self.status).into_owned();
        match Errno::check(self.result) {
            Err(errno) => Err(failed(errno).with_detail(&text)),
            Ok(_) if self.output.is_empty() => Ok(Reply {
                json: Value::Null,
                text,
            }),
            Ok(_) => match serde_json::from_slice(&self.output) {
                Ok(json) => Ok(Reply { json, text }),
                Err(error) => {
                    let errno = Errno::new(libc::EBADMSG);
                    Err(failed(errno).with_detail(&error.to_string()))
                }
            },
        }
    }
}

fn exchange(connection: &Connection, send: Send, command: &CString) -> Raw {
    let mut words = [command.as_ptr()];
    let (mut output, mut status) = (Answer::new(), Answer::new());
    // SAFETY: the connection is live; the one word is NUL-terminated; there is no input; the four
    // places for the answers are valid for writing.
    let result = unsafe {
        send(
            connection.handle(),
            words.as_mut_ptr(),
            1,
            ptr::null(),
            0,
            &raw mut output.start,
            &raw mut output.length,
            &raw mut status.start,
            &raw mut status.length,
        )
    };
    Raw {
        result,
        output: Zeroizing::new(output.bytes()),
        status: status.bytes(),
    }
}

/// A buffer that librados allocates; freed on drop.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) start: *mut c_char,
    pub(crate) length: size_t,
}

impl Answer {
    pub(crate) fn new() -> Self {
        Self {
            start: ptr::null_mut(),
            length: 0,
        }
    }

    /// A copy of the bytes; empty when nothing was written.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        if self.start.is_null() {
            return Vec::new();
        }
        // SAFETY: librados wrote the start and length of an allocation that is ours until drop.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.length) }.to_vec()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the buffer is librados's allocation or null, and is freed once.
        unsafe { rados::rados_buffer_free(self.start) };
    }
}

#[derive(Debug, Deserialize)]
struct Df {
    pools: Vec<DfPool>,
}

#[derive(Debug, Deserialize)]
struct DfPool {
    name: String,
    stats: DfStats,
}

#[derive(Debug, Deserialize)]
struct DfStats {
    max_avail: u64,
    stored: u64,
    objects: u64,
    #[serde(default)]
    quota_bytes: u64,
}
