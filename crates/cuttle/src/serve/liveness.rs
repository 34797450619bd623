//! `--type=liveness`: probes a driver and tells `csi_liveness`, as ceph-csi's does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cuttle_model::chain;
use cuttle_server::{Pages, probe};

use super::{ServeError, pages, runtime, signals};
use crate::metrics::liveness_exposition;
use crate::settings::{HttpSettings, LivenessSettings};

/// Probes until a signal asks for the end.
pub(super) fn run(
    settings: &LivenessSettings,
    http: &HttpSettings,
    address: SocketAddr,
) -> Result<(), ServeError> {
    let alive = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&alive);
    let served = Pages {
        metrics_path: http.path.clone(),
        metrics: Arc::new(move || liveness_exposition(told.load(Ordering::Acquire))),
        // The process is well when it answers; how the driver is, is what the metric tells.
        sockets: Vec::new(),
        probe_limit: settings.limit,
    };
    runtime()?.block_on(async {
        let signals = signals::Signals::listen().map_err(|source| ServeError::Start {
            part: "the signal handlers",
            source,
        })?;
        tokio::select! {
            () = pages::serve(address, served) => {}
            () = keep_probing(settings, &alive) => {}
            () = signals.first() => {}
        }
        Ok(())
    })
}

async fn keep_probing(settings: &LivenessSettings, alive: &AtomicBool) {
    loop {
        let answer = probe(&settings.socket, settings.limit).await;
        match &answer {
            Ok(ready) => tracing::debug!(ready, "the driver answered"),
            Err(error) => tracing::error!(error = chain(error), "the driver does not answer"),
        }
        alive.store(answer.unwrap_or(false), Ordering::Release);
        tokio::time::sleep(settings.period).await;
    }
}
