//! The Ceph door: a safe blocking client for rados, rbd, cephfs and cluster commands.
//!
//! ```text
//!  Clusters ── connect ──▶ Cluster ── io ──▶ Io ── open_image ──▶ Image
//!  (the pool of            commands,         objects, omap,       size, metadata, watchers,
//!   connections)           pools, users      images, trash        asynchronous data
//!                            │
//!                            └─ mount_file_system ──▶ FileSystem   directories, attributes
//! ```
//!
//! * Every call passes the [`Door`](cuttle_door::Door): counted, timed, bounded, breakable.
//! * Every call blocks, for at most the connection's time-outs ([`ConnectOptions`]).
//! * Every failure is an [`Error`] with the call, its target and the errno by name. "Absent" is
//!   only ever the cluster's own answer, never a guess about one that does not answer.
//! * All types are `Send` and `Sync`; handles are cheap to clone.
//!
//! The keys of the journal, the order of its writes and the meaning of volumes are not here.
#![allow(
    unsafe_code,
    reason = "this crate is the safe wrapper of the C libraries"
)]

mod aio;
mod bounded;
mod clone_plan;
mod closing;
mod clusters;
mod commands;
mod connection;
mod encoding;
mod error;
mod file_system;
mod file_systems;
mod gate;
mod image;
mod image_options;
mod image_plan;
mod images;
mod io;
mod library;
mod listing;
mod manager;
mod pages;
mod pools;
mod read;
mod settings;
mod snap_id;
mod snapshots;
mod subvolumes;
mod trash;
mod users;
mod write;

pub use clone_plan::{CloneParent, ClonePlan};
pub use clusters::{Cluster, Clusters};
pub use commands::{PoolUsage, Reply};
pub use error::{Errno, Error};
pub use file_system::{DirectoryEntry, FileSystem};
pub use file_systems::{FsInfo, FsRef};
pub use image::data::{Done, Read};
pub use image::{Image, ImageStat, OpenMode, Snapshot, Watcher};
pub use image_options::ImageOptions;
pub use image_plan::ImagePlan;
pub use images::{ImagePage, header_object, id_object};
pub use io::Io;
pub use library::{LateSymbol, Versions, versions};
pub use listing::Objects;
pub use manager::StartedCommand;
pub use pages::release_startup_pages;
pub use pools::PoolRef;
pub use read::{OmapPage, ReadOp, ReadReply, read_many};
pub use settings::ConnectOptions;
pub use snap_id::{SnapId, StartedSnapId};
pub use snapshots::{Child, HeaderSnapshot, Parent, SnapshotOf, snapshot_ids_read};
pub use subvolumes::{StartedInfo, SubvolumeInfo, Subvolumes};
pub use trash::TrashEntry;
pub use users::{Capabilities, CephUser};
pub use write::{StartedWrite, WriteOp, write_many};
