//! The journal of volumes and snapshots in RADOS, byte-compatible with ceph-csi.
//!
//! Two kinds of objects, all of their contents in omap:
//!
//! ```text
//!  csi.volumes.<instance>   csi.volume.<name given by the orchestrator> = <uuid>      the directory
//!  csi.volume.<uuid>        csi.volname, csi.imagename, csi.imageid, …                a record
//! ```
//!
//! Snapshots have the same under other names: `csi.snaps.<instance>` and `csi.snap.<uuid>`.
//!
//! The directory makes the orchestrator's names unique; a volume's handle leads to its record. The
//! order in which the two are written, and what is repaired when a process dies in between, is the
//! heart of the driver's promises: see `docs/formats.md` and `docs/decisions/0001-journal-order.md`.
//!
//! Volumes, images and errors of operations are not here; this crate knows only names and records.

mod cephfs;
mod entry;
mod error;
mod journal;
pub mod layout;
mod locate;
mod record;

pub use cephfs::{Committing, SubvolumeJournal, SubvolumeRecord};
pub use entry::DirectoryEntry;
pub use error::JournalError;
pub use journal::{DirectoryPage, ForgettingName, Journal, Reserved};
pub use layout::Kind;
pub use locate::{
    LocateError, Located, follow, follow_along, locate, locate_along, locate_snapshot,
};
pub use record::{Record, RecordError};
