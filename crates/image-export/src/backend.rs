//! The open image and what all requests on it share.
//!
//! Every request is handed to librbd and answered from librbd's completion, so a thread that reads
//! requests from the kernel never waits for Ceph (only for room in the byte budget).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ceph::Image;
use fuser::Errno;

use crate::budget::{Budget, Share};
use crate::reports::{Failure, Reports};

/// Bytes that may be between the kernel and librbd at once.
const IN_FLIGHT: usize = 32 << 20;

/// The most that is zeroed by one call of librbd, which turns it into one operation per object all
/// at once: 64 objects of the usual 4 MiB.
const ZERO_STEP: u64 = 256 << 20;

/// The open image.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) image: Image,
    size: AtomicU64,
    budget: Arc<Budget>,
    reports: Reports,
}

/// What a completion holds on to. The image goes first when it is dropped, so that whoever waits
/// for the budget to drain afterwards finds no completion holding the image.
struct Under {
    backend: Arc<Backend>,
    _share: Share,
}

impl Backend {
    pub(crate) fn new(image: Image, size: u64, reports: Reports) -> Arc<Self> {
        Arc::new(Self {
            image,
            size: AtomicU64::new(size),
            budget: Budget::new(IN_FLIGHT),
            reports,
        })
    }

    /// The image's size in bytes, as last seen.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Remembers a new size; answers whether it differs from the last.
    pub(crate) fn resized(&self, size: u64) -> bool {
        self.size.swap(size, Ordering::AcqRel) != size
    }

    /// How many requests the image has refused.
    pub(crate) fn failures(&self) -> u64 {
        self.reports.count()
    }

    /// Waits until librbd has answered every request.
    pub(crate) fn drained(&self) {
        self.budget.drained();
    }

    /// How many of `length` bytes at `offset` lie inside the image.
    pub(crate) fn inside(&self, offset: u64, length: u64) -> u64 {
        self.size().saturating_sub(offset).min(length)
    }

    fn under(self: &Arc<Self>, bytes: usize) -> Under {
        Under {
            _share: self.budget.take(bytes),
            backend: Arc::clone(self),
        }
    }

    /// Reads `length` bytes and hands them to `done`.
    pub(crate) fn read(
        self: &Arc<Self>,
        offset: u64,
        length: usize,
        done: impl FnOnce(Result<&[u8], Errno>) + Send + 'static,
    ) {
        let under = self.under(length);
        self.image.aio_read(
            offset,
            length,
            Box::new(move |outcome| {
                match outcome {
                    Ok(data) => done(Ok(&data)),
                    Err(error) => done(Err(under.refused("read", offset, len(length), &error))),
                }
                drop(under);
            }),
        );
    }

    /// Writes `data`; with `stable`, is done only when the data is safe.
    pub(crate) fn write(
        self: &Arc<Self>,
        offset: u64,
        data: &[u8],
        stable: bool,
        done: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        let length = len(data.len());
        let under = self.under(data.len());
        self.image.aio_write(
            offset,
            data.to_vec(),
            Box::new(move |outcome| match outcome {
                Ok(()) if stable => Arc::clone(&under.backend).flush(done),
                Ok(()) => done(Ok(())),
                Err(error) => done(Err(under.refused("write", offset, length, &error))),
            }),
        );
    }

    /// Makes every completed write safe.
    pub(crate) fn flush(self: &Arc<Self>, done: impl FnOnce(Result<(), Errno>) + Send + 'static) {
        let under = self.under(0);
        self.image.aio_flush(Box::new(move |outcome| {
            done(outcome.map_err(|error| under.refused("flush", 0, 0, &error)));
            drop(under);
        }));
    }

    /// Makes a range read as zeroes and gives its space back where whole objects allow it.
    ///
    /// This is `write_zeroes`, not `discard`: a discard may leave old data in the parts of objects
    /// it does not free, and what is discarded here must read as zeroes.
    pub(crate) fn zero(
        self: &Arc<Self>,
        offset: u64,
        length: u64,
        done: impl FnOnce(Result<(), Errno>) + Send + 'static,
    ) {
        if length == 0 {
            return done(Ok(()));
        }
        // Steps end on multiples of their size, so that they do not cut objects in two.
        let step = length.min(ZERO_STEP.saturating_sub(offset % ZERO_STEP));
        let under = self.under(0);
        self.image.aio_write_zeroes(
            offset,
            step,
            Box::new(move |outcome| match outcome {
                Ok(()) => {
                    let (offset, rest) = (offset.saturating_add(step), length.saturating_sub(step));
                    Arc::clone(&under.backend).zero(offset, rest, done);
                }
                Err(error) => done(Err(under.refused("zero", offset, step, &error))),
            }),
        );
    }
}

impl Under {
    /// Notes a failed request; answers the errno for the kernel.
    fn refused(
        &self,
        request: &'static str,
        offset: u64,
        length: u64,
        error: &ceph::Error,
    ) -> Errno {
        let errno = error.errno().get();
        self.backend.reports.failed(Failure {
            request,
            offset,
            length,
            errno,
        });
        Errno::from_i32(errno)
    }
}

fn len(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
