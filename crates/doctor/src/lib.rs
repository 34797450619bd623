//! Checks before trouble: a cluster, a node or a class is looked at, and what is wrong is named
//! with the evidence, its meaning and the remedy.
//!
//! * [`cluster`]: monitors and daemons in reach, versions, the manager's modules, pools and file
//!   systems, and what the configured user may do.
//! * [`node`]: what the kernel and the host offer, and how kubelet's directory is mounted.
//! * [`class`]: StorageClasses and VolumeSnapshotClasses, without a cluster.
//!
//! Nothing is changed anywhere. Abilities are tried by calls that change nothing even when they
//! are allowed; versions are only hints. A question that could not be asked is said to be
//! unknown, never good.
//!
//! Reading configuration and printing is not here.

mod address;
mod capabilities;
mod ceph_conf;
mod class;
mod cluster;
mod file_systems;
mod health;
mod manager;
mod node;
mod pairs;
mod pools;
mod reach;
mod report;
mod secrets;
mod versions;

pub use class::classes;
pub use cluster::{ClusterPlan, Purpose, cluster};
pub use node::{NodePlan, node};
pub use report::{Check, Finding, Report, Severity, Told};
