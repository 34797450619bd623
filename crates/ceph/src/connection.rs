//! One connection to a cluster: made with an id and a key, closed when its last user is gone.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ceph_sys::rados;
use cuttle_model::{Credentials, Monitors};
use tracing::warn;
use zeroize::Zeroize;

use crate::bounded::Bound;
use crate::closing::{self, Alive};
use crate::error::Errno;
use crate::settings::{ConnectOptions, QUIET, TUNING, seconds};

/// librados's own limit for commands. Ours ([`ConnectOptions::monitor_timeout`]) is shorter and
/// is what callers see. This one only ends what was given up, and is long on purpose: when
/// librados itself gives up a manager command, a late answer is written to memory it has freed
/// (`RadosClient::mgr_command`, Ceph 16 to 20).
const COMMAND_BACKSTOP: Duration = Duration::from_secs(3600);

/// A connected `rados_t`. Dropping the last hold closes it in the background.
#[derive(Debug)]
pub(crate) struct Connection {
    handle: rados::rados_t,
    /// Helper threads for calls without a time-out of their own.
    pub(crate) bound: Bound,
    /// Set when the cluster has fenced this client; the connection is of no more use.
    fenced: AtomicBool,
    /// When the connection was made; not for a failed one.
    made: Option<Instant>,
    /// Handed to the thread that closes the connection.
    alive: Option<Alive>,
}

// SAFETY: librados's functions may be called from any thread, several at once on one handle.
unsafe impl Send for Connection {}
// SAFETY: as above.
unsafe impl Sync for Connection {}

/// Why a connection was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) errno: Errno,
    pub(crate) detail: Option<Box<str>>,
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self {
            errno,
            detail: None,
        }
    }
}

impl Refused {
    fn new(errno: i32, detail: String) -> Self {
        Self {
            errno: Errno::new(errno),
            detail: Some(detail.into()),
        }
    }
}

impl Connection {
    /// Connects. Blocks for up to `client_mount_timeout`, which is not quite reliable (name
    /// service, a monitor that accepts but never answers): callers bound it from outside.
    pub(crate) fn open(
        monitors: &Monitors,
        credentials: &Credentials,
        options: &ConnectOptions,
    ) -> Result<Self, Refused> {
        if !is_key(credentials.key.expose()) {
            let detail = "the key is not the base64 text of a cephx key".to_owned();
            return Err(Refused::new(libc::EKEYREJECTED, detail));
        }
        let mut connection = Self::create(credentials)?;
        if let Some(path) = &options.ceph_conf {
            connection.read_file(path)?;
        }
        connection.configure(monitors, credentials, options)?;
        // SAFETY: the handle is live and not yet connected; no other thread knows it.
        let result = Errno::check(unsafe { rados::rados_connect(connection.handle) });
        closing::guard_exit();
        match result {
            Ok(_) => {}
            // No answer of a cluster, least of all "absent": the key has been looked at above, so
            // it is the addresses that librados can make nothing of.
            Err(errno) if matches!(errno.get(), libc::EINVAL | libc::ENOENT) => {
                let detail = "an address of the monitors cannot be read or resolved".to_owned();
                return Err(Refused::new(libc::EADDRNOTAVAIL, detail));
            }
            Err(errno) => return Err(errno.into()),
        }
        connection.made = Some(Instant::now());
        // The first map is waited for here, where the wait is bounded, and not by whichever call
        // needs it first.
        connection.wait_for_latest_map()?;
        Ok(connection)
    }

    /// Reads a configuration file.
    fn read_file(&self, path: &Path) -> Result<(), Refused> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_nul| einval())?;
        // SAFETY: the handle is live and not connected; the path is NUL-terminated.
        let result = unsafe { rados::rados_conf_read_file(self.handle, name.as_ptr()) };
        Errno::check(result).map(drop).map_err(|errno| {
            let detail = format!("{} cannot be read: {errno}", path.display());
            Refused::new(libc::EINVAL, detail)
        })
    }

    fn create(credentials: &Credentials) -> Result<Self, Errno> {
        let user = text(&format!("client.{}", credentials.user))?;
        closing::guard_exit();
        let alive = Alive::new();
        let mut handle = ptr::null_mut();
        // SAFETY: the handle is written on success; the names are NUL-terminated and copied.
        let result =
            unsafe { rados::rados_create2(&raw mut handle, c"ceph".as_ptr(), user.as_ptr(), 0) };
        Errno::check(result)?;
        Ok(Self {
            handle,
            bound: Bound::default(),
            fenced: AtomicBool::new(false),
            made: None,
            alive: Some(alive),
        })
    }

    fn configure(
        &self,
        monitors: &Monitors,
        credentials: &Credentials,
        options: &ConnectOptions,
    ) -> Result<(), Errno> {
        let quiet = QUIET
            .iter()
            .map(|subsystem| (format!("debug_{subsystem}"), "0/0".to_owned()));
        let tuning = TUNING
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        for (name, value) in quiet.chain(tuning).chain(options.overrides.iter().cloned()) {
            match self.set(&name, &value) {
                Ok(()) => {}
                // Options come and go with Ceph's versions.
                Err(errno) if errno.get() == libc::ENOENT => {}
                Err(errno) => warn!(option = name, value, %errno, "Ceph option refused"),
            }
        }
        self.set("mon_host", &monitors.joined())?;
        self.set("rados_osd_op_timeout", &seconds(options.operation_timeout))?;
        self.set("rados_mon_op_timeout", &seconds(COMMAND_BACKSTOP))?;
        self.set("client_mount_timeout", &seconds(options.connect_timeout))?;
        self.set("key", credentials.key.expose())
    }

    /// Sets one option; the value's copy is wiped, for it may be the key.
    fn set(&self, name: &str, value: &str) -> Result<(), Errno> {
        let name = text(name)?;
        let value = text(value)?;
        // SAFETY: the handle is live; both strings are NUL-terminated and copied.
        let result = unsafe { rados::rados_conf_set(self.handle, name.as_ptr(), value.as_ptr()) };
        value.into_bytes().zeroize();
        Errno::check(result).map(drop)
    }

    /// The C handle, live as long as `self`.
    pub(crate) fn handle(&self) -> rados::rados_t {
        self.handle
    }

    /// Waits until the client's map is as new as the monitors'. May hang; bound it.
    pub(crate) fn wait_for_latest_map(&self) -> Result<(), Errno> {
        // SAFETY: the handle is live and connected.
        Errno::check(unsafe { rados::rados_wait_for_latest_osdmap(self.handle) }).map(drop)
    }

    /// Remembers that the cluster fenced this client, so that nobody is given it again.
    pub(crate) fn note(&self, errno: Errno) {
        if errno.get() == libc::ESHUTDOWN {
            self.fenced.store(true, Ordering::Release);
        }
    }

    /// Whether the cluster has fenced this client.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }
}

/// The handle on its way to the thread that shuts it down.
struct Closing(rados::rados_t);

// SAFETY: librados's handles may be used from any thread, and this one has no other user left.
unsafe impl Send for Closing {}

impl Closing {
    fn close(self) {
        // SAFETY: the last user is gone: no call is under way, no I/O context is left.
        unsafe { rados::rados_shutdown(self.0) };
    }
}

impl Drop for Connection {
    /// Closes in the background: `rados_shutdown` waits for the cluster in some states, and the
    /// last user may be a librados thread, which must not wait for itself.
    fn drop(&mut self) {
        let closing = Closing(self.handle);
        closing::connection(self.made, self.alive.take(), move || closing.close());
    }
}

/// A text for C; EINVAL when it holds a NUL.
pub(crate) fn text(text: &str) -> Result<CString, Errno> {
    CString::new(text).map_err(|_nul| einval())
}

fn einval() -> Errno {
    Errno::new(libc::EINVAL)
}

/// Whether a text is a cephx key: base64 of type, time of creation, length and secret. The
/// library's own errno does not tell a malformed key from other mistakes.
fn is_key(key: &str) -> bool {
    /// `u16` type, `u32` seconds, `u32` nanoseconds, `u16` length (`CryptoKey::encode`).
    const HEAD: usize = 12;
    let digits = key.trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len().is_multiple_of(4)
        && key.len().saturating_sub(digits.len()) <= 2
        && digits.bytes().all(is_digit)
        && digits.len() / 4 * 3 > HEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_other_texts() {
        assert!(is_key("AQBdOwFrAAAAABAAAAAAAAAAAAAAAAAAAAAAAA=="));
        let others = [
            "",
            "====",
            "AQ==",
            "not base64 at all",
            "AQBdOwFrAAAAABAAAAAAAAAAAAAAAAAAAAAAAA",
        ];
        for other in others {
            assert!(!is_key(other), "{other}");
        }
        assert!(!is_key("AQBdOwFrAAAA\0BAAAAAAAAAAAAAAAAAAAAAAAA=="));
    }
}
