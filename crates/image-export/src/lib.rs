//! One RBD image as a regular file: a FUSE export that runs as its own process.
