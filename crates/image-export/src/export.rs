//! The open image and its threads: from connecting to closing.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ceph::{Clusters, ConnectOptions, Image, OpenMode};
use cuttle_door::Doors;
use cuttle_model::{Explain, ImageFeatures, chain};
use tracing::error;

use crate::backend::Backend;
use crate::error::ExportError;
use crate::reports::Reports;
use crate::request::ExportRequest;
use crate::run::ExitStatus;
use crate::sizes::{Question, Sizes};

/// How long the last flush and the closing may take after the file was unmounted. The image's
/// users have flushed before; what remains is giving up the watch and the exclusive lock, which
/// the cluster does by itself some time after a client has gone.
const CLOSE_WITHIN: Duration = Duration::from_secs(60);

/// An image that is open, with the threads that serve it.
#[derive(Debug)]
pub(crate) struct Export {
    /// The image's specification.
    pub(crate) image: String,
    pub(crate) backend: Arc<Backend>,
    pub(crate) sizes: Sizes,
    /// The number under which the cluster knows this process.
    pub(crate) client: u64,
    /// Whether no other client can write.
    pub(crate) locked: bool,
    read_only: bool,
}

/// How connections of an export differ from a controller's.
fn connect_options(request: &ExportRequest) -> ConnectOptions {
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    ConnectOptions {
        // Data waits for the cluster to come back, as it does with krbd: an error after some time
        // would make the file system give up what a short outage had only delayed.
        operation_timeout: Duration::ZERO,
        connect_timeout: request.start_within,
        ceph_conf: request.ceph_conf.clone(),
        overrides: vec![
            // Without a cache a completed write is on the OSDs. With one, an error of a write that
            // was answered long ago would have to be told by some later flush. The kernel's page
            // cache is above us and does what a cache here would do.
            //
            // Writes are copied by librbd (`rbd_disable_zero_copy_writes`, its default) although their
            // buffers live long enough: librbd 16.2 never answers a write it need not copy if another
            // client keeps the exclusive lock.
            option("rbd_cache", "false"),
        ],
        ..ConnectOptions::default()
    }
}

/// Takes the image's exclusive lock if it is asked for and the image has one; answers whether this
/// client holds it.
fn lock(request: &ExportRequest, image: &Image) -> Result<bool, ExportError> {
    let failed = |source| ExportError::Open {
        image: request.image_spec(),
        source,
    };
    if !request.exclusive || request.read_only {
        return Ok(false);
    }
    let features = ImageFeatures::from_bits(image.features().map_err(failed)?);
    if !features.contains(ImageFeatures::EXCLUSIVE_LOCK) {
        return Ok(false);
    }
    match image.lock_exclusively() {
        Ok(()) => Ok(true),
        Err(error) if error.is_locked() => Err(ExportError::Locked {
            image: request.image_spec(),
        }),
        Err(error) => Err(failed(error)),
    }
}

impl Export {
    /// Opens the image on a thread of its own, which is left behind if it takes too long: there is
    /// nothing to do then but to say so and end the process.
    ///
    /// # Errors
    /// [`ExportError::Open`], [`ExportError::Locked`], [`ExportError::OpenTimedOut`],
    /// [`ExportError::Setup`].
    pub(crate) fn open_in_time(
        request: &ExportRequest,
        doors: &Doors,
    ) -> Result<Self, ExportError> {
        let (opened, opening) = channel();
        let (asked, doors) = (request.clone(), doors.clone());
        thread::Builder::new()
            .name("export-open".to_owned())
            .spawn(move || opened.send(Self::open(&asked, &doors)))
            .map_err(|source| ExportError::Setup {
                what: "start a thread",
                source,
            })?;
        match opening.recv_timeout(request.start_within) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(ExportError::OpenTimedOut {
                    image: request.image_spec(),
                    within: request.start_within,
                })
            }
        }
    }

    /// Connects, opens and locks the image and watches its header.
    fn open(request: &ExportRequest, doors: &Doors) -> Result<Self, ExportError> {
        let image = request.image_spec();
        let failed = |source| ExportError::Open {
            image: image.clone(),
            source,
        };
        let no_thread = |source| ExportError::Setup {
            what: "start a thread",
            source,
        };
        let mode = match request.read_only {
            true => OpenMode::ReadOnly,
            false => OpenMode::ReadWrite,
        };
        let clusters = Clusters::new(doors.ceph.clone(), connect_options(request));
        let cluster = clusters
            .connect(&request.monitors, &request.credentials)
            .map_err(failed)?;
        let opened = cluster
            .io(&request.pool, &request.namespace)
            .and_then(|io| io.open_image(&request.image, mode))
            .map_err(failed)?;
        let locked = lock(request, &opened)?;
        let size = opened.size().map_err(failed)?;
        let reports = Reports::start(image.clone()).map_err(no_thread)?;
        let backend = Backend::new(opened, size.bytes(), reports);
        let sizes = Sizes::start(Arc::clone(&backend), request.read_only).map_err(no_thread)?;
        let questions = sizes.questions.clone();
        backend
            .image
            .on_update(move || {
                // Without a listener the export is closing: nobody wants to know any more.
                let _told = questions.send(Question::HeaderChanged);
            })
            .map_err(failed)?;
        Ok(Self {
            image,
            backend,
            sizes,
            client: cluster.instance_id(),
            locked,
            read_only: request.read_only,
        })
    }

    /// Flushes and closes the image, within a limit. What failed is logged.
    pub(crate) fn close(self) -> ExitStatus {
        let image = self.image.clone();
        let (steps, done) = channel();
        let spawned = thread::Builder::new()
            .name("export-close".to_owned())
            .spawn(move || self.finish(&steps));
        if let Err(source) = spawned {
            let what = "start a thread";
            return ended(&ExportError::Setup { what, source }, ExitStatus::NotFlushed);
        }
        let deadline = Instant::now() + CLOSE_WITHIN;
        let next = || {
            let left = deadline.saturating_duration_since(Instant::now());
            done.recv_timeout(left)
        };
        match next() {
            Ok(Ok(())) => {}
            Ok(Err(source)) => {
                let status = ended(
                    &ExportError::Flush { image, source },
                    ExitStatus::NotFlushed,
                );
                // Whether it closes makes no difference any more, but it shall have the time.
                let _closed = next();
                return status;
            }
            Err(_late) => {
                let within = CLOSE_WITHIN;
                return ended(
                    &ExportError::FlushTimedOut { image, within },
                    ExitStatus::NotFlushed,
                );
            }
        }
        let problem = match next() {
            Ok(Ok(())) => return ExitStatus::Clean,
            Ok(Err(source)) => ExportError::Close { image, source },
            Err(_late) => {
                let within = CLOSE_WITHIN;
                ExportError::CloseTimedOut { image, within }
            }
        };
        ended(&problem, ExitStatus::NotClosed)
    }

    /// Sends two outcomes: of the flush and of the closing.
    fn finish(self, steps: &Sender<Result<(), ceph::Error>>) {
        // Nobody listens any more when the limit has passed.
        let tell = |outcome| drop(steps.send(outcome));
        self.backend.drained();
        tell(match self.read_only {
            true => Ok(()),
            false => self.backend.image.flush(),
        });
        self.sizes.end();
        tell(match Arc::into_inner(self.backend) {
            Some(backend) => backend.image.close(),
            // Somebody still holds the image, who then closes it in the background.
            None => Ok(()),
        });
    }
}

/// Logs how the export ended badly.
pub(crate) fn ended(error: &ExportError, status: ExitStatus) -> ExitStatus {
    error!(code = %error.code(), error = chain(error), remedy = ?error.remedy(), "the export did not end well");
    status
}
