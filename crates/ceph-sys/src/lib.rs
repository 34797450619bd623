//! Declarations of the Ceph C libraries, the youngest looked up at run time.
//!
//! [`rados`] and [`rbd`] declare what exists since Ceph 16 and is linked; [`late`] finds what came
//! later; [`cephfs`] is loaded only when it is asked for. Only what Cuttle calls is declared. The crate holds no logic: the `ceph` crate is the
//! safe client above it. A test compares each declaration with the installed C headers.
//!
//! Rules that hold for all functions unless their comment says otherwise:
//!
//! * They may be called from any thread, and several at once on one handle.
//! * Strings passed in are NUL-terminated and copied; buffers passed in are borrowed for the call
//!   (synchronous calls) or until the completion fires (asynchronous ones).
//! * An `int` result is 0 (or a count) on success and a negative errno on failure.
#![allow(
    non_camel_case_types,
    unsafe_code,
    reason = "the C names are kept so that they can be compared with the headers"
)]

pub mod cephfs;
pub mod late;
pub mod rados;
pub mod rbd;
