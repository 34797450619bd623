//! Controller operations: create, delete, expand, list and validate volumes.
//!
//! ```text
//!  RbdController ── create ───▶ reserve name ▶ record ‖ image ▶ commit ‖ metadata
//!                ── delete ───▶ look up ▶ in use? ▶ trash ▶ manager's task ▶ name ▶ record
//!                ── expand, validate, capacity, list, get
//! ```
//!
//! Straight-line blocking code over the Ceph door. Requests are checked values of `model`; errors
//! say what failed, what is left behind and what to do. Every operation may be repeated after any
//! crash and converges: the states in between are those of `docs/formats.md`.
//!
//! Claims, deadlines and concurrency are the dispatcher's; nothing here knows the wire.

mod capability;
mod capacity;
mod context;
mod controller;
mod create;
mod delete;
mod expand;
mod get;
mod header;
mod in_use;
mod list;
mod reach;
mod remains;
mod validate;

pub use capability::Refusal;
pub use capacity::{CapacityError, CapacityOf};
pub use controller::{ControllerSettings, RbdController};
pub use create::{CreateError, CreateVolume, Created};
pub use delete::{DeleteError, DeleteVolume, Deleted};
pub use expand::{ExpandError, ExpandVolume, Expanded};
pub use get::{GetError, GetVolume, Volume};
pub use list::{ListError, ListSource, ListVolumes, ListedVolume, VolumePage};
pub use reach::ReachError;
pub use validate::{ValidateError, ValidateVolume, Validation};
