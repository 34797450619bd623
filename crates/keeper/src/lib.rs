//! Keeps one ceph-fuse mount alive: starts it, watches it, mounts anew when it dies.
//!
//! ```text
//!  driver ──socket── keeper ──child── ceph-fuse ── staging path ══ targets of pods
//!    │ order, key      │ waits for its end                │            │
//!    ▼                 ▼                                  ▼            ▼
//!  may be restarted   starts it again, and puts the new mount over every dead one
//! ```
//!
//! A keeper is a process of its own, in its own session and outside the driver's cgroup, one for
//! each volume. It has the key in its memory, where nobody may look, and nowhere else; so it can
//! mount again without anybody's help, and nothing secret lies on a disk.
//!
//! The life of a keeper:
//!
//! 1. The driver makes the socket ([`Post::listen`]), starts a process that calls
//!    [`main_from_stdin`] with the listening socket as standard input, connects, and sends an
//!    [`Order`] ([`Contact::send`]). Whoever connects from then on finds the keeper.
//! 2. The keeper starts ceph-fuse and waits until its mount answers. When the driver hangs up
//!    before that, everything is taken down again.
//! 3. It serves: tells its [`Status`] to whoever asks, and in a file beside the socket.
//! 4. ceph-fuse ends with its last mount, and the keeper with it. When it ends before, it has died:
//!    it is started anew, and the mount put over every dead one, unless somebody holds the keeper
//!    ([`Question::Hold`]) to take the volume down.
//!
//! Starting the process, choosing ceph-fuse's arguments and all decisions about volumes are the
//! node crate's business.

mod contact;
mod conversation;
mod device;
mod heal;
mod keeper;
mod log;
mod order;
mod post;
mod run;
mod session;
mod start;
mod status;
mod surroundings;
mod sweep;
mod waiting;

pub use contact::{Contact, ContactError};
pub use order::{Adopted, MAX_ORDER, Order, OrderError};
pub use post::{Post, PostError};
pub use run::main_from_stdin;
pub use session::{DeadSession, Ender};
pub use status::{Answer, Phase, Question, Refused, Running, Status};

/// The attribute of every CephFS directory that a living, admitted client answers from the
/// cluster.
pub const PROBE_ATTRIBUTE: &str = "ceph.dir.rbytes";
