//! RBD volumes: one image each.
//!
//! ```text
//!  RbdController ── create ───▶ reserve name ▶ record ‖ image ▶ commit ‖ metadata
//!                ── delete ───▶ look up ▶ in use? ▶ trash ▶ manager's task ▶ name ▶ record
//!                ── expand, validate, capacity, list, get
//! ```

mod capability;
mod capacity;
mod chain;
mod clone;
mod context;
mod controller;
mod create;
mod delete;
mod expand;
mod flatten;
mod get;
mod header;
mod in_use;
mod labels;
mod limits;
mod list;
mod maker;
mod remains;
mod snapshot;
mod source;
mod temporary;
mod unfinished;
mod validate;

pub use capability::Refusal;
pub use capacity::{CapacityError, CapacityOf};
pub use controller::RbdController;
pub use create::{CreateError, CreateVolume};
pub use delete::DeleteError;
pub use expand::ExpandError;
pub use flatten::Progress;
pub use get::GetError;
pub use list::{ListError, ListSource};
pub use snapshot::{CreateSnapshot, CreateSnapshotError, GetSnapshotError};
pub use source::SourceError;
pub use validate::ValidateError;
