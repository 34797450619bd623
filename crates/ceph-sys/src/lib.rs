//! Declarations of the Ceph C libraries, the youngest looked up at run time.
