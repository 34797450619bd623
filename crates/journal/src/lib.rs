//! The volume journal in RADOS, byte-compatible with ceph-csi.
