//! The Ceph door: a safe blocking client for rados, rbd and cluster commands.
