//! The numbers of snapshots, which the monitors give out.
//!
//! A number costs a round of the monitors (up to `paxos_propose_interval`, 1 s by default); those
//! that are asked for at the same time share one. So a number can be asked for while something
//! else that needs a round is under way.

use std::fmt;

use ceph_sys::rados;
use cuttle_door::OpenCall;

use crate::aio::Completion;
use crate::error::Error;
use crate::io::Io;

/// The number of a snapshot; unique in the pool with the image's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapId(u64);

impl SnapId {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SnapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number on its way, begun by [`Io::start_snap_id`].
///
/// Dropping it waits for its end. A number that nobody uses costs nothing: it is only counted.
#[must_use = "the number comes from `wait`"]
pub struct StartedSnapId {
    io: Io,
    open: OpenCall,
    completion: Completion,
    /// Boxed, because librados writes into it until the completion fires; after it, so that it
    /// is dropped after it.
    number: Box<u64>,
}

impl fmt::Debug for StartedSnapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StartedSnapId").field(&self.io).finish()
    }
}

const CALL: &str = "rados.snap_id";

impl Io {
    /// Asks for a number for a snapshot of an image whose data is in this pool, and returns at
    /// once.
    ///
    /// # Errors
    /// When the door refuses it or it cannot be sent.
    pub fn start_snap_id(&self) -> Result<StartedSnapId, Error> {
        let target = self.name("*");
        let open = self.cluster.inner.door.begin::<Error>(CALL, &target)?;
        let completion = match Completion::new() {
            Ok(completion) => completion,
            Err(errno) => {
                open.end(Some(errno.get()));
                return Err(self.error(CALL, &target, errno));
            }
        };
        let mut number = Box::new(0);
        // SAFETY: context and completion are live; the number is boxed and outlives the operation,
        // because the completion is dropped, and so waited for, first.
        unsafe {
            rados::rados_aio_ioctx_selfmanaged_snap_create(
                self.handle(),
                &raw mut *number,
                completion.handle(),
            );
        }
        completion.began();
        Ok(StartedSnapId {
            io: self.clone(),
            open,
            completion,
            number,
        })
    }
}

impl StartedSnapId {
    /// Waits for the number.
    ///
    /// # Errors
    /// `is_timeout` when the monitors do not answer; `is_denied` without the capability
    /// (`mon 'profile rbd'`).
    pub fn wait(self) -> Result<SnapId, Error> {
        let outcome = self.completion.wait();
        self.open
            .end(outcome.as_ref().err().map(|errno| errno.get()));
        match outcome {
            Ok(()) => Ok(SnapId::new(*self.number)),
            Err(errno) => Err(self.io.error(CALL, &self.io.name("*"), errno)),
        }
    }
}
