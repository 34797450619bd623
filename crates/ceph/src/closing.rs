//! Closing connections, images and mounts in the background, and getting the process out alive.
//!
//! `rados_shutdown`, `rbd_close` and `ceph_unmount` may block, so dropped handles are closed on threads of their
//! own. `exit` then destroys the C++ libraries' globals under the feet of whatever thread still
//! uses them, ours or the libraries', and the process dies by a signal instead of its exit status
//! (seen with Ceph 16.2: SIGABRT from `rados_connect`, SIGSEGV from a messenger's thread). So an
//! exit handler waits a moment for what is being closed, and if a connection is still open or
//! being made then, ends the process at once with the status it was to have.
//!
//! A young connection is closed with a delay: while the manager's session is being made, which
//! begins after `rados_connect`, `rados_shutdown` takes its ground away, and an exception on a
//! messenger's thread ends the process (`MgrClient::shutdown` against
//! `ProtocolV2::handle_auth_done`, seen with Ceph 16.2).
//!
//! This is the crate's only process-wide state, because the exit is process-wide.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libc::{c_int, c_void};
use tracing::warn;

/// How long the process's end waits for what is being closed. A cluster that does not answer must
/// not keep the process.
const PATIENCE: Duration = Duration::from_secs(2);

/// How old a connection is when its manager's session has surely been made.
const SETTLED: Duration = Duration::from_secs(5);

struct State {
    /// Connections that are open, being made or being closed.
    connections: usize,
    /// Images and mounts that a thread is closing.
    closing: usize,
}

static STATE: Mutex<State> = Mutex::new(State {
    connections: 0,
    closing: 0,
});
static CLOSED: Condvar = Condvar::new();

unsafe extern "C" {
    /// glibc's: as `atexit`, and the handler is given the exit status.
    fn on_exit(function: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one connection; kept with it until it is closed.
#[derive(Debug)]
pub(crate) struct Alive(());

impl Alive {
    pub(crate) fn new() -> Self {
        let mut state = state();
        state.connections = state.connections.saturating_add(1);
        Self(())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let mut state = state();
        state.connections = state.connections.saturating_sub(1);
    }
}

/// Counts one image or mount being closed, also when that panics.
struct Closing;

impl Closing {
    fn new() -> Self {
        let mut state = state();
        state.closing = state.closing.saturating_add(1);
        Self
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let mut state = state();
        state.closing = state.closing.saturating_sub(1);
        if state.closing == 0 {
            CLOSED.notify_all();
        }
    }
}

/// How often the exit handler has been registered.
static GUARDED: AtomicUsize = AtomicUsize::new(0);
/// How often that is of use: the libraries set up their globals with the first connections.
const GUARDED_MOST: usize = 4;

/// Registers the exit handler. To be called when the libraries have set up what `exit` would take
/// down: handlers run in the opposite order, and some of the globals (OpenSSL's, the messenger's)
/// are only made by the first connection, so once at the start is not enough.
pub(crate) fn guard_exit() {
    if GUARDED.fetch_add(1, Ordering::Relaxed) >= GUARDED_MOST {
        return;
    }
    // SAFETY: the handler takes any status and ignores its argument; it does not unwind.
    let refused = unsafe { on_exit(before_exit, std::ptr::null_mut()) } != 0;
    if refused {
        warn!("no exit handler for Ceph's libraries");
    }
}

/// Closes an image on a thread of its own.
pub(crate) fn image(close: impl FnOnce() + Send + 'static) {
    counted("rbd-close", close);
}

/// Ends a mount on a thread of its own. One that is not ended in order keeps its session, and what
/// it holds, until the MDS loses patience.
pub(crate) fn mount(end: impl FnOnce() + Send + 'static) {
    counted("cephfs-close", end);
}

fn counted(thread_name: &str, close: impl FnOnce() + Send + 'static) {
    let closing = Closing::new();
    in_background(thread_name, move || {
        close();
        drop(closing);
    });
}

/// Closes a connection on a thread of its own, once it has had time to settle since it was made.
pub(crate) fn connection(
    made: Option<Instant>,
    alive: Option<Alive>,
    close: impl FnOnce() + Send + 'static,
) {
    in_background("ceph-close", move || {
        if let Some(made) = made {
            thread::sleep(SETTLED.saturating_sub(made.elapsed()));
        }
        close();
        drop(alive);
    });
}

fn in_background(thread_name: &str, close: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new()
        .name(thread_name.to_owned())
        .spawn(close)
    {
        warn!(%error, thread_name, "no thread to close with; it stays open");
    }
}

extern "C" fn before_exit(status: c_int, _argument: *mut c_void) {
    let waited = CLOSED.wait_timeout_while(state(), PATIENCE, |state| state.closing > 0);
    let (state, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
    if state.connections > 0 || state.closing > 0 {
        // SAFETY: null flushes all of C's output streams; Rust has flushed its own before `exit`.
        unsafe { libc::fflush(std::ptr::null_mut()) };
        // SAFETY: ends the process; nothing is run after it.
        unsafe { libc::_exit(status) };
    }
}
