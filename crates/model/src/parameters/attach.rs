//! The parameters that tell a node how to attach and format an image.
//!
//! They are written in the StorageClass, checked there, and read again by the node from the volume
//! context.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::boolean;
use crate::image::{LogStrategy, Mounter};
use crate::map_options::MapOptions;
use crate::mistakes::Mistakes;

/// How nodes attach the images of a StorageClass, and format them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AttachParameters {
    /// The way of attaching.
    pub mounter: Mounter,
    /// Whether rbd-nbd may stand in when the kernel's client lacks a feature of the image.
    pub try_other_mounters: bool,
    /// Options for attaching.
    pub map_options: MapOptions,
    /// Options for detaching.
    pub unmap_options: MapOptions,
    /// Arguments of mkfs in place of the driver's own; `None` when not given.
    pub mkfs_options: Option<Vec<String>>,
    /// Where rbd-nbd logs; `None` means `/var/log/ceph`.
    pub ceph_log_dir: Option<PathBuf>,
    /// What becomes of that log when the volume is detached.
    pub ceph_log_strategy: LogStrategy,
}

impl AttachParameters {
    /// Reads these parameters out of a StorageClass's parameters or a volume context. An empty
    /// value counts as not given, as with ceph-csi.
    pub(crate) fn read(given: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Self {
        let filled = |key: &str| {
            given
                .get(key)
                .map(String::as_str)
                .filter(|text| !text.is_empty())
        };
        let mut read = Self::default();
        if let Some(name) = filled("mounter") {
            match Mounter::from_name(name) {
                Some(mounter) => read.mounter = mounter,
                None => mistakes.add(
                    "mounter",
                    "must be rbd, rbd-nbd or fuse",
                    "remove it for the kernel's client (rbd)",
                ),
            }
        }
        if let Some(text) = filled("tryOtherMounters") {
            match boolean(text) {
                Some(value) => read.try_other_mounters = value,
                None => mistakes.add(
                    "tryOtherMounters",
                    "must be true or false",
                    "write \"true\" or \"false\"",
                ),
            }
        }
        read.map_options = options(filled("mapOptions"), "mapOptions", mistakes);
        read.unmap_options = options(filled("unmapOptions"), "unmapOptions", mistakes);
        read.mkfs_options =
            filled("mkfsOptions").map(|text| text.split_whitespace().map(str::to_owned).collect());
        if let Some(directory) = filled("cephLogDir") {
            let plain = |part: Component<'_>| !matches!(part, Component::ParentDir);
            let path = Path::new(directory);
            if path.is_absolute() && path.components().all(plain) && !directory.contains('\0') {
                read.ceph_log_dir = Some(path.to_owned());
            } else {
                mistakes.add(
                    "cephLogDir",
                    "must be an absolute path without \"..\"",
                    "write it as /var/log/ceph",
                );
            }
        }
        if let Some(name) = filled("cephLogStrategy") {
            match LogStrategy::from_name(name) {
                Some(strategy) => read.ceph_log_strategy = strategy,
                None => mistakes.add(
                    "cephLogStrategy",
                    "must be remove, compress or preserve",
                    "remove it for remove",
                ),
            }
        }
        read
    }
}

fn options(text: Option<&str>, key: &str, mistakes: &mut Mistakes) -> MapOptions {
    match MapOptions::parse(text.unwrap_or_default()) {
        Ok(options) => options,
        Err(wrong) => {
            for error in wrong {
                mistakes.add(
                    key,
                    error.to_string(),
                    "write krbd:<option>,<option>;nbd:<option>,<option>",
                );
            }
            MapOptions::default()
        }
    }
}
