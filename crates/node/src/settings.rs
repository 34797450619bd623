//! What a node plugin's operations need to know beside the request.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cuttle_image_export::LogSettings;

/// The settings of a node.
#[derive(Debug, Clone)]
pub struct NodeSettings {
    /// The program that exports an image (`mounter: fuse`), and its arguments.
    pub export_program: ExportProgram,
    /// Where and how export processes log.
    pub export_log: LogSettings,
    /// The ceph.conf of export processes.
    pub ceph_conf: Option<PathBuf>,
    /// The labels of this node that say where it is, for reading from near OSDs.
    pub node_labels: BTreeMap<String, String>,
    /// The labels to use where a cluster's settings name none.
    pub crush_location_labels: Vec<String>,
    /// How long things may take.
    pub patience: Patience,
}

impl NodeSettings {
    /// The settings of a node whose export program is this one; everything else is usual.
    #[must_use]
    pub fn new(export_program: ExportProgram) -> Self {
        Self {
            export_program,
            export_log: LogSettings::default(),
            ceph_conf: None,
            node_labels: BTreeMap::new(),
            crush_location_labels: Vec::new(),
            patience: Patience::default(),
        }
    }
}

/// A program that serves an image on standard input's request, such as
/// `/usr/local/bin/cuttle image-export`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportProgram {
    /// The program's absolute path.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// How long the steps of an operation may take; a job's deadline cuts each of them shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Waiting for another user of an image to let it go, before the request is refused.
    pub in_use: Duration,
    /// Starting an export: connecting, opening the image, mounting.
    pub export_start: Duration,
    /// An export's end after its file was unmounted: flushing and closing the image.
    pub export_end: Duration,
    /// Mapping or unmapping an image through the kernel.
    pub map: Duration,
    /// A new size of an image reaching its device.
    pub resize: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            in_use: Duration::from_secs(5),
            export_start: Duration::from_secs(30),
            export_end: Duration::from_secs(60),
            map: Duration::from_secs(90),
            resize: Duration::from_secs(15),
        }
    }
}
