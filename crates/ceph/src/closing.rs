//! Closing connections and images in the background, and no later than the process's end.
//!
//! `rados_shutdown` and `rbd_close` may block, so dropped handles are closed on threads of their
//! own. The C++ libraries' globals are destroyed by `exit`; a thread that still closes something
//! then would bring the process down. So the first closing registers an exit handler that waits
//! for those under way (a moment: a cluster that does not answer must not keep the process) and
//! lets none begin any more. This is the crate's only process-wide state, because the exit is
//! process-wide.

use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::warn;

/// How long the process's end waits for what is being closed.
const PATIENCE: Duration = Duration::from_secs(2);

struct State {
    under_way: usize,
    exiting: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    under_way: 0,
    exiting: false,
});
static NONE_LEFT: Condvar = Condvar::new();
static AT_EXIT: Once = Once::new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts one closing under way, also when it panics.
struct UnderWay;

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = state();
        state.under_way = state.under_way.saturating_sub(1);
        if state.under_way == 0 {
            NONE_LEFT.notify_all();
        }
    }
}

/// Runs `close` on a thread of its own; not at all once the process is exiting.
pub(crate) fn in_background(thread_name: &str, close: impl FnOnce() + Send + 'static) {
    AT_EXIT.call_once(|| {
        // SAFETY: the handler is a plain function without arguments that does not unwind.
        let refused = unsafe { libc::atexit(before_exit) } != 0;
        if refused {
            warn!("no exit handler for closing Ceph connections");
        }
    });
    {
        let mut state = state();
        if state.exiting {
            return;
        }
        state.under_way = state.under_way.saturating_add(1);
    }
    let under_way = UnderWay;
    let spawned = thread::Builder::new()
        .name(thread_name.to_owned())
        .spawn(move || {
            close();
            drop(under_way);
        });
    if let Err(error) = spawned {
        warn!(%error, thread_name, "no thread to close with; it stays open");
    }
}

extern "C" fn before_exit() {
    let mut state = state();
    state.exiting = true;
    let waited = NONE_LEFT.wait_timeout_while(state, PATIENCE, |state| state.under_way > 0);
    drop(waited.unwrap_or_else(PoisonError::into_inner));
}
