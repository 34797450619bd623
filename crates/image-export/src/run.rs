//! The export process from its first to its last step.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use cuttle_door::{Door, Doors};
use cuttle_model::{ByteSize, Explain, chain};
use fuser::{Config, Session, SessionACL};
use tracing::{error, info, warn};

use crate::answer::{Answer, Refusal};
use crate::error::ExportError;
use crate::export::{Export, ended};
use crate::file::ImageFile;
use crate::request::{ExportRequest, Order};
use crate::sizes::Question;
use crate::{logging, mount, process};

/// Threads that read requests from the kernel. Each copies the data of writes.
const READERS: usize = 2;

/// How an export process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// Unmounted, flushed, closed.
    Clean,
    /// Never became ready; the answer line said why.
    NotStarted,
    /// Unmounted, but the last flush failed or did not end: writes may be lost.
    NotFlushed,
    /// Flushed, but the connection to the kernel broke or the image did not close.
    NotClosed,
    /// Flushed and closed, but the image refused requests meanwhile; each was told so.
    Refused,
}

impl ExitStatus {
    /// The exit code of the process.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::NotStarted => 1,
            Self::NotFlushed => 2,
            Self::NotClosed => 3,
            Self::Refused => 4,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

/// Runs a whole export: reads the request from standard input, serves until the file is unmounted.
///
/// To be called by a process that does nothing else, before it starts a thread.
///
/// # Blocking
/// Until the file is unmounted and the image is closed.
#[must_use]
pub fn main_from_stdin() -> ExitCode {
    export().into()
}

fn export() -> ExitStatus {
    process::own_session();
    let started = Order::read_line(io::stdin().lock())
        .map_err(ExportError::Request)
        .and_then(Mounted::start);
    let (mounted, size) = match started {
        Ok(started) => started,
        Err(error) => return refuse(&error),
    };
    let ready = Answer::Ready {
        size,
        client: mounted.export.client,
        locked: mounted.export.locked,
    };
    if let Err(error) = answer(&ready) {
        // Whoever asked has gone or given up, and will not look after this mount.
        warn!(%error, "nobody reads the answer, taking the export away");
        mounted.abandon();
        return ExitStatus::NotStarted;
    }
    if let Err(error) = process::let_go_of_pipes() {
        warn!(%error, "could not let go of standard input and output");
    }
    info!(image = mounted.export.image, %size, "serving");
    mounted.serve()
}

/// Tells why there is no export.
fn refuse(error: &ExportError) -> ExitStatus {
    let text = format!("{}: {}", error.code(), chain(error));
    error!(code = %error.code(), error = text, "the export did not start");
    let errno = error.errno();
    if let Err(error) = answer(&Answer::Refused(Refusal { errno, text })) {
        warn!(%error, "nobody reads the answer");
    }
    ExitStatus::NotStarted
}

fn answer(answer: &Answer) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{answer}")?;
    stdout.flush()
}

/// An export whose file is there.
struct Mounted {
    export: Export,
    session: Session<ImageFile>,
    host: Door,
    path: PathBuf,
}

impl Mounted {
    /// Sets the process up, opens the image and mounts it.
    fn start(order: Order) -> Result<(Self, ByteSize), ExportError> {
        let Order { request, faults } = order;
        let setup = |what| move |source| ExportError::Setup { what, source };
        logging::start(&request.log).map_err(setup("open the log file"))?;
        process::declare_io_flusher();
        process::avoid_oom_killer();
        let doors = Doors::new(faults);
        let export = Export::open_in_time(&request, &doors)?;
        let size = ByteSize::from_bytes(export.backend.size());
        match Self::mount(&request, &doors.host, &export) {
            Ok(session) => {
                let mounted = Self {
                    export,
                    session,
                    host: doors.host,
                    path: request.mountpoint,
                };
                Ok((mounted, size))
            }
            Err(error) => {
                export.close();
                Err(error)
            }
        }
    }

    fn mount(
        request: &ExportRequest,
        host: &Door,
        export: &Export,
    ) -> Result<Session<ImageFile>, ExportError> {
        let failed = |source| ExportError::Mount {
            image: export.image.clone(),
            source,
        };
        let (path, read_only) = (&request.mountpoint, request.read_only);
        let device =
            mount::mount_over_file(host, path, &export.image, read_only).map_err(failed)?;
        let questions = export.sizes.questions.clone();
        let file = ImageFile::new(Arc::clone(&export.backend), questions, read_only);
        let mut config = Config::default();
        config.n_threads = Some(READERS);
        match Session::from_fd(file, device, SessionACL::Owner, config) {
            Ok(session) => {
                export.sizes.ask(Question::Mounted(session.notifier()));
                Ok(session)
            }
            Err(source) => {
                take_away(host, path);
                Err(ExportError::Session(source))
            }
        }
    }

    /// Takes the file away before anybody has used it.
    fn abandon(self) {
        take_away(&self.host, &self.path);
        drop(self.session);
        self.export.close();
    }

    /// Answers the kernel until the file is unmounted, then closes the image.
    fn serve(self) -> ExitStatus {
        let image = self.export.image.clone();
        let served = self.session.run().map_err(ExportError::Session);
        let refused = self.export.backend.failures();
        let closed = self.export.close();
        info!(image, refused, ?closed, "unmounted");
        let served = match served {
            Err(error) => ended(&error, ExitStatus::NotClosed),
            Ok(()) if refused > 0 => ExitStatus::Refused,
            Ok(()) => ExitStatus::Clean,
        };
        match closed {
            ExitStatus::Clean => served,
            ExitStatus::NotStarted
            | ExitStatus::NotFlushed
            | ExitStatus::NotClosed
            | ExitStatus::Refused => closed,
        }
    }
}

fn take_away(host: &Door, path: &Path) {
    if let Err(error) = mount::take_away(host, path) {
        warn!(error = chain(&error), "could not take the mount away");
    }
}
