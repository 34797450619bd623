//! The instrumented door for outside calls: span, duration, deadline and fault injection.
//!
//! Everything Cuttle asks of the outside world passes through a [`Door`]: one for Ceph, one for
//! the host. A door
//!
//! * refuses a call whose job has run out of time ([`job`]),
//! * names the call as the job's present step, so that others can be told what it is doing,
//! * injects the faults of a [`FaultPlan`] *before* the call runs (kill, fail, hang),
//! * counts and times the call in a [`Ledger`], and
//! * writes one debug event (target `cuttle::door`) per call.
//!
//! The door knows nothing of Ceph or Linux beyond errno numbers; errors are built by the caller's
//! type through [`FromErrno`].

mod call;
mod errno;
mod fault;
pub mod job;
mod ledger;

pub use call::{Door, Doors, FromErrno, OpenCall};
pub use errno::{errno_from_name, errno_name};
pub use fault::{Effect, Fault, FaultPlan, FaultPlanError};
pub use ledger::{Entry, Ledger};
