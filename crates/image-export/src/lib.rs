//! One RBD image as a regular file: a FUSE export that runs as its own process.
//!
//! For nodes whose kernel has neither `rbd` nor `nbd`: the node crate puts a loop device with
//! direct I/O on the file and treats it as it would a mapped image.
//!
//! ```text
//!  file system ── loop device ── file (FUSE) ── this process ── librbd ── OSDs
//!      fsync    →    flush     →   FSYNC     →  rbd_aio_flush
//!      discard  →    discard   →  FALLOCATE  →  rbd_aio_write_zeroes
//! ```
//!
//! The life of an export:
//!
//! 1. The starter runs a process that calls [`main_from_stdin`] and writes an [`ExportRequest`] as
//!    one line to its standard input.
//! 2. The process opens the image, takes its exclusive lock if it is to be the only writer, mounts
//!    it over the given regular file and answers `ready <size> <client> <lock>` or
//!    `error <errno> <text>` on its standard output ([`parse_ready_line`]).
//! 3. It serves until the file is unmounted, whatever becomes of its starter.
//! 4. It flushes and closes the image. Its exit status says whether all went well ([`ExitStatus`]).
//!
//! Starting the process is the node crate's business (through `cuttle-host`), not this crate's.
//! So is the mount point: this crate mounts over an existing file and creates and removes none.

mod answer;
mod backend;
mod budget;
mod error;
mod export;
mod file;
mod logging;
mod mount;
mod process;
mod reports;
mod request;
mod run;
mod sizes;

pub use answer::{Answer, AnswerError, Refusal, parse_ready_line};
pub use error::ExportError;
pub use mount::{FILE_SYSTEM_TYPE, MountError, SOURCE_PREFIX};
pub use request::{ExportRequest, LogSettings, MAX_REQUEST, RequestError};
pub use run::{ExitStatus, main_from_stdin};

/// The largest read or write the kernel makes of one request, in bytes.
const MAX_REQUEST_BYTES: u32 = 1 << 20;
