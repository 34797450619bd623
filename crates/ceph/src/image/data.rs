//! Asynchronous I/O on an open image.
//!
//! Each operation takes a function that is called exactly once with its outcome, on a thread of
//! librbd's (or, when the operation could not begin, on the caller's). It must not block for long
//! and must not close an image; a panic in it is logged and goes no further.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::{Arc, PoisonError};

use ceph_sys::rbd;
use cuttle_door::OpenCall;
use libc::{c_int, size_t, ssize_t};
use tracing::error;

use super::{Image, Open};
use crate::error::{Errno, Error};
use crate::io::Io;

/// Told the outcome of an operation that answers nothing.
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;
/// Told the outcome of a read.
pub type Read = Box<dyn FnOnce(Result<Vec<u8>, Error>) + Send>;

/// An operation under way; owned by librbd's callback once it has begun.
struct Pending {
    call: &'static str,
    door: OpenCall,
    io: Io,
    target: Box<str>,
    open: Arc<Open>,
    buffer: Vec<u8>,
    then: Then,
}

enum Then {
    Done(Done),
    Read(Read),
}

impl Then {
    fn tell(self, outcome: Result<Vec<u8>, Error>) {
        let told = catch_unwind(AssertUnwindSafe(|| match self {
            Self::Done(done) => done(outcome.map(drop)),
            Self::Read(read) => read(outcome),
        }));
        if told.is_err() {
            error!("a panic in the function told of an I/O's end was stopped");
        }
    }
}

impl Pending {
    /// Ends the operation with librbd's result and tells the caller.
    fn end(mut self, result: ssize_t) {
        let outcome = match usize::try_from(result) {
            Ok(read) => {
                // Only a read answers with a count; it never exceeds the buffer.
                if matches!(self.then, Then::Read(_)) {
                    self.buffer.truncate(read);
                }
                Ok(std::mem::take(&mut self.buffer))
            }
            Err(_negative) => Err(Errno::new(
                i32::try_from(result.saturating_neg()).unwrap_or(libc::EIO),
            )),
        };
        let Self {
            call,
            door,
            io,
            target,
            open,
            then,
            buffer: _,
        } = self;
        door.end(outcome.as_ref().err().map(|errno| errno.get()));
        then.tell(outcome.map_err(|errno| io.error(call, &target, errno)));
        // Last, because closing the image waits for it.
        open.leave();
    }
}

impl Open {
    fn enter(&self) {
        let mut count = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_add(1);
    }

    fn leave(&self) {
        let mut count = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.idle.notify_all();
        }
    }
}

/// Called by librbd when an operation has ended.
unsafe extern "C" fn ended(completion: rbd::rbd_completion_t, argument: *mut c_void) {
    // SAFETY: the argument is the box that `begin` gave away; librbd gives it back once.
    let pending = *unsafe { Box::from_raw(argument.cast::<Pending>()) };
    // SAFETY: the completion is live and its operation has ended.
    let result = unsafe { rbd::rbd_aio_get_return_value(completion) };
    // SAFETY: the completion is live; the callback is allowed to give it up.
    unsafe { rbd::rbd_aio_release(completion) };
    if catch_unwind(AssertUnwindSafe(|| pending.end(result))).is_err() {
        error!("a panic at an I/O's end was stopped");
    }
}

impl Image {
    /// Begins to read `length` bytes at `offset`.
    pub fn aio_read(&self, offset: u64, length: usize, then: Read) {
        let buffer = vec![0; length];
        self.begin(
            "rbd.aio_read",
            buffer,
            Then::Read(then),
            |image, buffer, completion| {
                let (start, length) = (buffer.as_mut_ptr().cast(), buffer.len());
                // SAFETY: the image is open; the buffer is owned by the pending operation until the
                // completion fires.
                unsafe { rbd::rbd_aio_read2(image, offset, length, start, completion, 0) }
            },
        );
    }

    /// Begins to write `data` at `offset`.
    pub fn aio_write(&self, offset: u64, data: Vec<u8>, then: Done) {
        self.begin(
            "rbd.aio_write",
            data,
            Then::Done(then),
            |image, buffer, completion| {
                let (start, length) = (buffer.as_ptr().cast(), buffer.len());
                // SAFETY: the image is open; the buffer is owned by the pending operation until the
                // completion fires.
                unsafe { rbd::rbd_aio_write2(image, offset, length, start, completion, 0) }
            },
        );
    }

    /// Begins to discard a range, which need not read as zero afterwards.
    pub fn aio_discard(&self, offset: u64, length: u64, then: Done) {
        self.begin(
            "rbd.aio_discard",
            Vec::new(),
            Then::Done(then),
            |image, _, completion| {
                // SAFETY: the image is open.
                unsafe { rbd::rbd_aio_discard(image, offset, length, completion) }
            },
        );
    }

    /// Begins to zero a range, freeing the objects it covers.
    pub fn aio_write_zeroes(&self, offset: u64, length: u64, then: Done) {
        let Ok(length) = size_t::try_from(length) else {
            then(Err(self.io.error(
                "rbd.aio_write_zeroes",
                &self.target,
                Errno::new(libc::EINVAL),
            )));
            return;
        };
        self.begin(
            "rbd.aio_write_zeroes",
            Vec::new(),
            Then::Done(then),
            |image, _, completion| {
                // SAFETY: the image is open.
                unsafe { rbd::rbd_aio_write_zeroes(image, offset, length, completion, 0, 0) }
            },
        );
    }

    /// Begins to flush all writes that have ended before.
    pub fn aio_flush(&self, then: Done) {
        self.begin(
            "rbd.aio_flush",
            Vec::new(),
            Then::Done(then),
            |image, _, completion| {
                // SAFETY: the image is open.
                unsafe { rbd::rbd_aio_flush(image, completion) }
            },
        );
    }

    fn begin(
        &self,
        call: &'static str,
        buffer: Vec<u8>,
        then: Then,
        start: impl FnOnce(rbd::rbd_image_t, &mut Vec<u8>, rbd::rbd_completion_t) -> c_int,
    ) {
        let Some(open) = &self.open else {
            then.tell(Err(self.closed(call)));
            return;
        };
        let door = match self
            .io
            .cluster
            .inner
            .door
            .begin::<Error>(call, &self.target)
        {
            Ok(door) => door,
            Err(refused) => {
                then.tell(Err(refused));
                return;
            }
        };
        open.enter();
        let pending = Box::new(Pending {
            call,
            door,
            io: self.io.clone(),
            target: self.target.clone(),
            open: Arc::clone(open),
            buffer,
            then,
        });
        Self::send(open.handle, pending, start);
    }

    fn send(
        image: rbd::rbd_image_t,
        pending: Box<Pending>,
        start: impl FnOnce(rbd::rbd_image_t, &mut Vec<u8>, rbd::rbd_completion_t) -> c_int,
    ) {
        let argument = Box::into_raw(pending);
        let mut completion = ptr::null_mut();
        // SAFETY: the completion is written on success; the argument is given away to `ended`.
        let made = unsafe {
            rbd::rbd_aio_create_completion(argument.cast(), Some(ended), &raw mut completion)
        };
        let result = if made < 0 {
            made
        } else {
            // SAFETY: nothing else uses the box before the operation begins.
            let buffer = unsafe { &raw mut (*argument).buffer };
            // SAFETY: as above; the operation uses the heap memory behind the vector, not the
            // vector itself, so that the borrow may end while it is under way.
            let buffer = unsafe { &mut *buffer };
            start(image, buffer, completion)
        };
        if result < 0 {
            if made >= 0 {
                // SAFETY: the operation did not begin, so the completion is only ours.
                unsafe { rbd::rbd_aio_release(completion) };
            }
            // SAFETY: the operation did not begin, so `ended` is not called and the box is ours.
            let pending = *unsafe { Box::from_raw(argument) };
            pending.end(ssize_t::try_from(result).unwrap_or(-1));
        }
    }
}
