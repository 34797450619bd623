//! Telling the log about failed I/O without letting the log hold up I/O.
//!
//! Completions run on librbd's threads, and standard error may be a pipe nobody reads. So they
//! leave a note and go on; a thread of its own writes the notes, at most one line a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use tracing::error;

/// Notes that may wait for the writing thread.
const WAITING: usize = 64;
/// The shortest time between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// One failed request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure {
    /// What was asked: `read`, `write`, `zero`, `flush`.
    pub(crate) request: &'static str,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) errno: i32,
}

/// Where completions leave their notes.
#[derive(Debug, Clone)]
pub(crate) struct Reports {
    notes: SyncSender<Failure>,
    failed: Arc<AtomicU64>,
}

impl Reports {
    /// Starts the writing thread; it ends with the last clone of the answer.
    ///
    /// # Errors
    /// When the system has no room for another thread.
    pub(crate) fn start(image_spec: String) -> io::Result<Self> {
        let (notes, arriving) = sync_channel(WAITING);
        let failed = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&failed);
        thread::Builder::new()
            .name("export-reports".to_owned())
            .spawn(move || write_down(&arriving, &count, &image_spec))?;
        Ok(Self { notes, failed })
    }

    /// Leaves a note; drops it when too many wait (it is counted all the same).
    pub(crate) fn failed(&self, failure: Failure) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        // A full channel loses the note's details, not its count.
        let _kept = self.notes.try_send(failure);
    }

    /// How many requests have failed.
    pub(crate) fn count(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

fn write_down(arriving: &Receiver<Failure>, failed: &AtomicU64, image: &str) {
    let mut last: Option<Instant> = None;
    while let Ok(Failure {
        request,
        offset,
        length,
        errno,
    }) = arriving.recv()
    {
        if last.is_some_and(|last| last.elapsed() < PAUSE) {
            continue;
        }
        last = Some(Instant::now());
        let errno = cuttle_door::errno_name(errno).unwrap_or("unknown");
        let so_far = failed.load(Ordering::Relaxed);
        error!(
            image,
            request, offset, length, errno, so_far, "the image did not serve a request"
        );
    }
}
