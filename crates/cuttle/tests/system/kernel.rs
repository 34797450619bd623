//! The driver on kernels that have Ceph's own clients. These tests run in a guest, one after the
//! other (`make test-kernel`); all share one corner of the cluster, because each of Ceph's programs
//! costs a second on an emulated processor.

mod krbd;
mod krbd_cuts;
mod volume;
