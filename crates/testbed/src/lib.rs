//! A throw-away one-node Ceph cluster on loopback for tests, demo and benchmarks.
