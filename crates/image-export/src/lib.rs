//! One RBD image as a regular file: a FUSE export that runs as its own process.

mod answer;
mod request;

pub use answer::{Answer, AnswerError, Refusal, parse_ready_line};
pub use request::{ExportRequest, LogSettings, MAX_REQUEST, RequestError};
