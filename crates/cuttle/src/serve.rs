//! Serving: settings become sockets, doors and services, and everything ends in order.

mod liveness;
mod pages;
mod parts;
mod registration;
mod signals;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cuttle_model::{Class, ClusterTable, Code, Explain};
use cuttle_server::dispatch::{DispatchOptions, Dispatcher, LaneLimits};
use cuttle_server::{
    CallFigures, ClusterDirectory, DriverServices, Pages, Readiness, ServeOptions,
};

use crate::config::{ClusterFile, Watch, refresh};
use crate::listener::{self, BoundSocket, ListenError, SocketFile};
use crate::metrics::Sources;
use crate::settings::{DriverSettings, HttpSettings, Settings};
use crate::version::VERSION;
use parts::Parts;

/// Threads that move bytes between sockets and the dispatcher; the work itself runs on lanes.
const WORKERS: usize = 2;

/// The stack of those threads.
const STACK: usize = 512 << 10;

/// When start-up counts as over.
const SETTLED: Duration = Duration::from_secs(1);

/// How long the process may take to end once nothing is served any more: closing connections to a
/// dead cluster must not keep it.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

/// Why the process cannot serve (any more).
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A socket cannot be served.
    #[error("cannot serve driver {driver}")]
    Listen {
        /// The driver.
        driver: String,
        /// What stands in the way.
        #[source]
        source: ListenError,
    },
    /// The environment names an address to serve HTTP on that is none.
    #[error("POD_IP is \"{given}\", which is no IP address")]
    PodIp {
        /// What it is.
        given: String,
    },
    /// The runtime or one of its threads cannot be started.
    #[error("cannot start {part}")]
    Start {
        /// What could not be started.
        part: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The directory of a driver's socket cannot hold what nodes keep beside it.
    #[error("cannot keep records beside the socket of driver {driver}")]
    Place {
        /// The driver.
        driver: String,
        /// What is wrong with the path.
        #[source]
        source: cuttle_host::PathRefused,
    },
    /// A server ended by itself.
    #[error("the server ended by itself")]
    Server(#[source] cuttle_server::ServeError),
}

impl Explain for ServeError {
    fn code(&self) -> Code {
        match self {
            Self::Listen { source, .. } => source.code(),
            Self::PodIp { .. } => Code::new(1110),
            Self::Start { .. } => Code::new(1107),
            Self::Server(_) => Code::new(1108),
            Self::Place { .. } => Code::new(1119),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Listen { source, .. } => source.class(),
            Self::PodIp { .. } => Class::Invalid,
            Self::Start { .. } => Class::Full,
            Self::Server(_) => Class::Bug,
            Self::Place { .. } => Class::Invalid,
        }
    }

    fn remedy(&self) -> Option<std::borrow::Cow<'static, str>> {
        match self {
            Self::Listen { source, .. } => source.remedy(),
            Self::PodIp { .. } => Some(
                "take it from the pod's status.podIP, or leave it out to serve metrics and health \
                 on all addresses"
                    .into(),
            ),
            Self::Start { .. } => Some("raise the limits on processes and open files".into()),
            Self::Place { .. } => Some("choose another --endpoint".into()),
            Self::Server(_) => None,
        }
    }
}

/// Serves until a signal asks for the end, then lets running work finish within its limit.
///
/// `program` is this program itself, to be started for exports; `pod_ip` is the address to serve
/// HTTP on, all addresses without it.
///
/// # Errors
/// When that is no address, a socket cannot be served or a part cannot be started. Nothing is left behind then.
///
/// # Blocking
/// For the life of the process.
pub fn run(settings: &Settings, program: &Path, pod_ip: Option<&str>) -> Result<(), ServeError> {
    for warning in &settings.warnings {
        tracing::warn!(warning, "command line");
    }
    let http = settings.http.as_ref();
    let http = http.map(|http| Ok((http, pages::address(http, pod_ip)?)));
    let http = http.transpose()?;
    if let (Some(probed), Some((http, address))) = (&settings.liveness, http) {
        return liveness::run(probed, http, address);
    }
    // The socket comes first: kubelet's and the sidecars' first calls wait in its backlog.
    let sockets = bind_all(&settings.drivers)?;
    let files: Vec<SocketFile> = sockets.iter().map(|socket| socket.file.clone()).collect();
    let ended = serve_on(settings, sockets, program, http);
    for file in files {
        if let Err(error) = file.remove() {
            tracing::warn!(%error, "a socket is left behind; the next start replaces it");
        }
    }
    tracing::info!("ended");
    ended
}

fn bind_all(drivers: &[DriverSettings]) -> Result<Vec<BoundSocket>, ServeError> {
    let mut bound: Vec<BoundSocket> = Vec::with_capacity(drivers.len());
    for driver in drivers {
        match listener::bind(&driver.socket) {
            Ok(socket) => bound.push(socket),
            Err(source) => {
                for socket in bound {
                    // The error that stopped us is the one to tell.
                    let _left = socket.file.remove();
                }
                return Err(ServeError::Listen {
                    driver: driver.name.to_string(),
                    source,
                });
            }
        }
    }
    Ok(bound)
}

fn serve_on(
    settings: &Settings,
    sockets: Vec<BoundSocket>,
    program: &Path,
    http: Option<(&HttpSettings, SocketAddr)>,
) -> Result<(), ServeError> {
    let mut file = ClusterFile::new(&settings.config);
    let clusters = ClusterDirectory::new(refresh(&mut file).unwrap_or_default());
    let parts = Parts::new(settings, clusters.clone(), program);
    let dispatcher = Dispatcher::new(dispatch_options(settings));
    let (figures, config_in_use) = (CallFigures::default(), file.is_whole());
    let runtime = runtime()?;
    let watch = Watch::start(file, move |table: ClusterTable| clusters.replace(table)).map_err(
        |source| ServeError::Start {
            part: "the watch on the configuration",
            source,
        },
    )?;
    give_back_later();
    let ended = runtime.block_on(async {
        let drivers = settings
            .drivers
            .iter()
            .zip(sockets)
            .map(|(driver, socket)| services(driver, socket, &parts))
            .collect::<Result<Vec<_>, _>>()?;
        let options = ServeOptions {
            drivers,
            dispatcher: dispatcher.clone(),
            figures: figures.clone(),
            drain: settings.drain_timeout,
        };
        let signals = signals::Signals::listen().map_err(|source| ServeError::Start {
            part: "the signal handlers",
            source,
        })?;
        for driver in &settings.drivers {
            tracing::info!(
                driver = %driver.name, socket = %driver.socket.display(), version = VERSION,
                controller = driver.controller_service, node = driver.node_service, "serving"
            );
        }
        let registrations = registration::Registrations::begin(&settings.drivers);
        let sources = Sources {
            calls: figures,
            dispatcher,
            outside: parts.outside(),
            config_in_use,
            registrations: registrations.standings(),
        };
        let pages = http.map(|(http, address)| {
            let served = pages_of(http, &settings.drivers, sources);
            tokio::spawn(pages::serve(address, served))
        });
        let ended = cuttle_server::serve(options, signals.first()).await;
        if let Some(pages) = pages {
            pages.abort();
        }
        registrations.end().await;
        ended.map_err(ServeError::Server)
    });
    watch.stop();
    runtime.shutdown_background();
    end_in_time();
    let running = ended?;
    if running > 0 {
        tracing::warn!(
            running,
            "ending while work still runs; repeating the requests finishes it"
        );
    }
    Ok(())
}

fn pages_of(http: &HttpSettings, drivers: &[DriverSettings], sources: Sources) -> Pages {
    Pages {
        metrics_path: http.path.clone(),
        metrics: Arc::new(move || sources.exposition()),
        sockets: drivers.iter().map(|driver| driver.socket.clone()).collect(),
        probe_limit: http.probe_limit,
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, ServeError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("rim")
        .thread_stack_size(STACK)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .map_err(|source| ServeError::Start {
            part: "the runtime",
            source,
        })
}

fn services(
    driver: &DriverSettings,
    socket: BoundSocket,
    parts: &Parts,
) -> Result<DriverServices, ServeError> {
    let listener = tokio::net::UnixListener::from_std(socket.listener).map_err(|source| {
        ServeError::Start {
            part: "the listener",
            source,
        }
    })?;
    let node = driver.node_service.then(|| parts.node(driver)).transpose();
    let node = node.map_err(|source| ServeError::Place {
        driver: driver.name.to_string(),
        source,
    })?;
    Ok(DriverServices {
        name: driver.name.clone(),
        version: VERSION.to_owned(),
        listener,
        readiness: Readiness::new(),
        controller: driver.controller_service.then(|| parts.controller(driver)),
        node,
    })
}

fn dispatch_options(settings: &Settings) -> DispatchOptions {
    let usual = DispatchOptions::default();
    DispatchOptions {
        cluster: LaneLimits {
            threads: usize::from(settings.lane_size),
            ..usual.cluster
        },
        longest_job: settings.job_timeout,
        ..usual
    }
}

/// Gives back what only start-up needed, once the first calls have been answered: for about ten
/// milliseconds the process runs slower while its pages come back.
fn give_back_later() {
    let give_back = || {
        thread::sleep(SETTLED);
        ceph::release_startup_pages();
        let _gave = cuttle_host::trim_heap();
    };
    let thread = thread::Builder::new()
        .name("give-back".to_owned())
        .stack_size(128 << 10);
    if let Err(error) = thread.spawn(give_back) {
        tracing::debug!(%error, "memory of the start-up is kept");
    }
}

/// Sees to it that the process ends even when a library's exit handlers wait for a dead cluster.
fn end_in_time() {
    let patience = || {
        thread::sleep(LAST_PATIENCE);
        signals::end_at_once();
    };
    let watching = thread::Builder::new()
        .name("last-patience".to_owned())
        .stack_size(64 << 10);
    if let Err(error) = watching.spawn(patience) {
        tracing::warn!(%error, "the end of the process is not watched");
    }
}
