//! What a node's operations on CephFS volumes need to know beside the request.

use std::path::PathBuf;
use std::time::Duration;

use cuttle_host::AbsolutePath;

/// The settings of a node for CephFS volumes.
#[derive(Debug, Clone)]
pub struct CephfsNodeSettings {
    /// The program that keeps a ceph-fuse mount.
    pub keeper: OwnProgram,
    /// The program that has the sessions of dead clients ended, if there is one.
    pub ender: Option<OwnProgram>,
    /// Where keepers are found, and ceph-csi's records of what it has staged.
    pub directory: AbsolutePath,
    /// The ceph.conf of ceph-fuse.
    pub ceph_conf: Option<PathBuf>,
    /// Whether keepers log in JSON.
    pub json_log: bool,
    /// Options of ceph-fuse for clusters whose entry has none.
    pub fuse_mount_options: String,
    /// How long things may take.
    pub patience: FsPatience,
}

/// A program of ours and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnProgram {
    /// Its absolute path.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// How long the steps of an operation may take; a job's deadline cuts each of them shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsPatience {
    /// Mounting, until the mount answers.
    pub mount: Duration,
    /// The end of ceph-fuse after its last mount is gone: it hands back what it holds.
    pub end: Duration,
    /// A keeper's answer to a question.
    pub keeper: Duration,
    /// How often a keeper looks at a mount that works.
    pub look_every: Duration,
}

impl Default for FsPatience {
    fn default() -> Self {
        Self {
            mount: Duration::from_secs(60),
            end: Duration::from_secs(30),
            keeper: Duration::from_secs(5),
            look_every: Duration::from_secs(10),
        }
    }
}
