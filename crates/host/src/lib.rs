//! The host door: mounts, block devices, file systems and child processes.
