//! CephFS volumes: one subvolume each, made by the manager's module `volumes`.
//!
//! ```text
//!  CephfsController ── create ───▶ reserve name ▶ record ▶ subvolume ▶ commit ‖ quota read back
//!                   ── delete ───▶ look up ▶ subvolume to the module's trash ▶ name ▶ record
//!                   ── expand, validate, capacity, list, get
//! ```
//!
//! Names and records are in the file system's metadata pool. What the manager answers is explained
//! in one place ([`FsError`]): an errno of it may mean the file system, the group, the subvolume,
//! the module or the cluster's age.

mod capability;
mod capacity;
mod context;
mod controller;
mod create;
mod delete;
mod error;
mod expand;
mod get;
mod list;
mod place;
mod validate;
mod whereabouts;

pub use capability::Refusal;
pub use capacity::{CapacityError, CapacityOf};
pub use controller::CephfsController;
pub use create::{CreateError, CreateVolume};
pub use delete::DeleteError;
pub use error::FsError;
pub use expand::ExpandError;
pub use get::GetError;
pub use list::{ListError, ListSource};
pub use validate::ValidateError;
