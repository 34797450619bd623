//! RBD volumes: one image each.
//!
//! ```text
//!  RbdController ── create ───▶ reserve name ▶ record ‖ image ▶ commit ‖ metadata
//!                ── delete ───▶ look up ▶ in use? ▶ trash ▶ manager's task ▶ name ▶ record
//!                ── expand, validate, capacity, list, get
//! ```

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
mod remains;
mod validate;

pub use capability::Refusal;
pub use capacity::{CapacityError, CapacityOf};
pub use controller::RbdController;
pub use create::{CreateError, CreateVolume, Created};
pub use delete::{DeleteError, DeleteVolume, Deleted};
pub use expand::{ExpandError, ExpandVolume, Expanded};
pub use get::{GetError, GetVolume, Volume};
pub use list::{ListError, ListSource, ListVolumes, ListedVolume, VolumePage};
pub use validate::{ValidateError, ValidateVolume, Validation};
