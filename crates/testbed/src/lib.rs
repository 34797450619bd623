//! A throw-away one-node Ceph cluster on loopback for tests, demo and benchmarks.
//!
//! The cluster is a real one: a monitor, a manager with the modules `rbd_support` and `volumes`,
//! an OSD that keeps its data in memory and an MDS, all on 127.0.0.1 with free ports (or on an
//! address of their own, for guests), cephx on, and everything they write below one directory. Several clusters run side by side. One starts
//! in about three seconds.
//!
//! * [`shared_cluster`] finds the cluster that `make test` or `cargo xtask cluster up` started.
//! * [`Cluster::start`] starts one more; it stops when the value is dropped.
//! * [`Contents`] and [`Residue`] look at what a driver left behind in Ceph and on the host, with
//!   Ceph's own programs and the kernel's own tables, so that our code never vouches for itself.
//! * [`Switchboard`] lets a test in a guest pause the daemons and cut the network, which are on the
//!   other side.
//! * [`Driver`] runs the driver's binary the way a pod would: a process, a socket and a log.
//!
//! Deliberately absent: any of our own crates. What checks them must not be built from them.

mod boot;
mod cluster;
mod config;
mod contents;
mod daemon;
mod driver;
mod error;
mod poll;
mod process_use;
mod program;
mod removal;
mod residue;
mod state;
mod subvolumes;
mod switchboard;

pub use cluster::{Cluster, Network, StartOptions, shared_cluster};
pub use contents::{Contents, Leftover};
pub use driver::{Driver, DriverOptions};
pub use error::Error;
pub use poll::until;
pub use process_use::ProcessUse;
pub use program::{Output, Program};
pub use removal::remove_tree;
pub use residue::{Mount, Process, Residue, host_residue};
pub use subvolumes::Subvolume;
pub use switchboard::{Switch, Switchboard, answer_switches};

/// The environment variable that names the directory of the shared cluster.
pub const SHARED_CLUSTER: &str = "CUTTLE_TEST_CLUSTER";

/// The environment variable that names the directory of a guest's switchboard.
pub const SWITCHBOARD: &str = "CUTTLE_TEST_SWITCHBOARD";
