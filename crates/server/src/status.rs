//! The one table from a failure to a gRPC code, and the text that goes with it.
//!
//! Callers act on codes, so the table follows what they do:
//!
//! * external-provisioner takes Canceled, DeadlineExceeded, Unavailable and Aborted of CreateVolume
//!   as "a volume may be in the making": it remembers the node and keeps asking until it gets a
//!   volume, even for a deleted claim. Every other code ends the attempt, and with a deleted claim
//!   nobody asks again. So CreateVolume answers with one of those four when something may be left
//!   behind, and when the failure is one of reach or time ([`Class::Down`], [`Class::Late`],
//!   [`Class::Busy`]): such a failure proves nothing about what an earlier attempt has left, and
//!   asking again is what helps. A verdict on the request itself ends the attempt.
//! * external-snapshotter takes the same codes of CreateSnapshot as "a snapshot may be in the making"
//!   and keeps asking; so the same holds there.
//! * kubelet takes the same codes, and ResourceExhausted, of NodeStageVolume and NodePublishVolume
//!   as "perhaps mounted" and unmounts later; after any other code it does not. So these calls
//!   answer with one of those when something may be left behind.

use std::fmt;

use cuttle_model::{Class, Explain, Left, chain};
use tonic::{Code, Status};

use crate::rpc::Rpc;

/// The gRPC code for a failure of `class` in `rpc` that left `left` behind.
#[must_use]
pub fn code(rpc: Rpc, class: Class, left: Left) -> Code {
    let plain = plain(class);
    let maybe_left = left == Left::MaybeRunning;
    if maybe_left
        && matches!(
            rpc,
            Rpc::CreateVolume | Rpc::CreateSnapshot | Rpc::NodeStageVolume | Rpc::NodePublishVolume
        )
    {
        uncertain(plain)
    } else {
        plain
    }
}

/// The code for a class where the call does not matter.
const fn plain(class: Class) -> Code {
    match class {
        Class::Invalid => Code::InvalidArgument,
        Class::Absent => Code::NotFound,
        Class::Exists => Code::AlreadyExists,
        Class::Unmet => Code::FailedPrecondition,
        Class::OutOfRange => Code::OutOfRange,
        Class::Full => Code::ResourceExhausted,
        Class::Busy => Code::Aborted,
        Class::Denied => Code::PermissionDenied,
        Class::Unauthenticated => Code::Unauthenticated,
        Class::Unsupported => Code::Unimplemented,
        Class::Down => Code::Unavailable,
        Class::Late => Code::DeadlineExceeded,
        Class::Bug => Code::Internal,
    }
}

/// Whether external-provisioner takes the code as "may still be running".
const fn is_parking(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable | Code::Aborted
    )
}

/// A code that makes the caller ask again: the given one if it does, else Aborted, CSI's code for
/// a volume on which an operation is pending.
const fn uncertain(code: Code) -> Code {
    if is_parking(code) {
        code
    } else {
        Code::Aborted
    }
}

/// What a call was doing, to what: the beginning of every message.
#[derive(Debug, Clone)]
pub struct Doing(String);

impl Doing {
    /// Such as `create volume "pvc-1"`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Longest message in bytes. Clients refuse headers of 8 to 16 KiB and then show none of it, and
/// the message travels percent-encoded.
const LONGEST: usize = 3 * 1024;

/// The status of a failed call: what was being done, the chain of causes, the remedy, the code.
#[must_use]
pub fn status(rpc: Rpc, doing: &Doing, error: &dyn Explain) -> Status {
    Status::new(
        code(rpc, error.class(), error.left()),
        message(doing, error),
    )
}

/// `doing: cause: cause; remedy [CUTTLE-1234]`.
#[must_use]
pub fn message(doing: &Doing, error: &dyn Explain) -> String {
    let remedy = error.remedy();
    let mut text = format!("{doing}: {}", chain(error));
    if let Some(remedy) = &remedy {
        text.push_str("; ");
        text.push_str(remedy);
    }
    shorten(&mut text);
    text.push_str(&format!(" [{}]", error.code()));
    text
}

fn shorten(text: &mut String) {
    if text.len() > LONGEST {
        let cut = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(cut.unwrap_or(0));
        text.push('…');
    }
}

#[cfg(test)]
mod tests;
