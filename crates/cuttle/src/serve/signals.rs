//! The signals that end the process: the first one in order, the second one at once.

use std::io;

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// SIGTERM and SIGINT, listened to from now on.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Stream,
    interrupt: Stream,
}

impl Signals {
    /// Starts listening. Must be called inside the runtime.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the first signal; from then on a second one ends the process at once.
    pub(super) async fn first(mut self) {
        let name = self.next().await;
        tracing::info!(signal = name, "asked to end; a second signal ends at once");
        tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!(signal = name, "ending at once");
            end_at_once();
        });
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Ends the process without running anything more: exit handlers of libraries may wait for a
/// cluster that does not answer.
pub(super) fn end_at_once() {
    if let Err(error) = kill_process(getpid(), Signal::KILL) {
        tracing::error!(%error, "cannot end");
    }
}
