//! Where everything of a staged volume lies under its staging directory.
//!
//! ```text
//! <staging>/image-meta.json      what is staged here (see the stash)
//! <staging>/.image-meta.json.new the same while it is being written
//! <staging>/image-export.fuse    mounter fuse: the image as a file (our FUSE mount over an empty file)
//! <staging>/<volume id>          directory (filesystem) or file (raw block) with the device mounted on it
//! ```
//!
//! The first and last are ceph-csi's names, so either driver finds what the other has staged.

use std::borrow::Cow;
use std::fmt;

use cuttle_host::{AbsolutePath, PathRefused};
use cuttle_model::names::shorten;
use cuttle_model::{Class, Code, Explain};

pub(crate) const STASH: &str = "image-meta.json";
const STASH_IN_WRITING: &str = ".image-meta.json.new";
const EXPORT: &str = "image-export.fuse";

/// A volume's identifier exactly as the request gave it: it is the name of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId(String);

/// A volume identifier that cannot be the name of a file in a staging directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("volume id \"{shown}\" {rule}")]
pub struct VolumeIdError {
    shown: String,
    rule: &'static str,
}

impl VolumeId {
    /// Checks that the text can name a file and is none of the names used otherwise.
    ///
    /// # Errors
    /// When it cannot; the error says why.
    pub fn new(text: impl Into<String>) -> Result<Self, VolumeIdError> {
        let text = text.into();
        let rule = if text.is_empty() {
            "must not be empty"
        } else if text.len() > 255 {
            "must be at most 255 bytes long, to name a file"
        } else if text.contains('/') || text.chars().any(char::is_control) {
            "must not contain '/' or control characters, to name a file"
        } else if [".", "..", STASH, STASH_IN_WRITING, EXPORT].contains(&text.as_str()) {
            "is a name with another meaning in the staging directory"
        } else {
            return Ok(Self(text));
        };
        Err(VolumeIdError {
            shown: shorten(&text),
            rule,
        })
    }

    /// The text of the request.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Explain for VolumeIdError {
    fn code(&self) -> Code {
        Code::new(1501)
    }
    fn class(&self) -> Class {
        Class::Invalid
    }
    fn remedy(&self) -> Option<Cow<'static, str>> {
        Some("correct volumeHandle in the PersistentVolume".into())
    }
}

/// The paths of one volume in one staging directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The volume.
    pub volume: VolumeId,
    /// The staging directory.
    pub root: AbsolutePath,
    /// The stash.
    pub stash: AbsolutePath,
    /// The file over which the FUSE export of the image is mounted.
    pub export: AbsolutePath,
    /// The directory (filesystem) or file (raw block) on which the device is mounted.
    pub mount_point: AbsolutePath,
}

impl Layout {
    /// The layout of `volume` in the staging directory `root`, which must be its real path: mounts
    /// and loop devices are found by the paths the kernel tells.
    ///
    /// # Errors
    /// When a path below `root` would be longer than the kernel takes.
    pub fn new(root: AbsolutePath, volume: VolumeId) -> Result<Self, PathRefused> {
        Ok(Self {
            stash: root.join(STASH)?,
            export: root.join(EXPORT)?,
            mount_point: root.join(volume.as_str())?,
            volume,
            root,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_are_ceph_csis() {
        let root = AbsolutePath::new("/var/lib/kubelet/x/globalmount").unwrap();
        let layout = Layout::new(root, VolumeId::new("0001-h").unwrap()).unwrap();
        let text = |path: &AbsolutePath| path.to_string();
        assert_eq!(
            text(&layout.stash),
            "/var/lib/kubelet/x/globalmount/image-meta.json"
        );
        assert_eq!(
            text(&layout.mount_point),
            "/var/lib/kubelet/x/globalmount/0001-h"
        );
    }

    #[test]
    fn ids_that_would_leave_the_directory_are_refused() {
        for text in [
            "",
            ".",
            "..",
            "a/b",
            "/etc",
            "a\0b",
            "image-meta.json",
            "image-export.fuse",
        ] {
            assert!(VolumeId::new(text).is_err(), "{text:?}");
        }
        VolumeId::new("x".repeat(256)).unwrap_err();
        assert_eq!(VolumeId::new("pvc-1").unwrap().to_string(), "pvc-1");
    }

    #[test]
    fn a_huge_id_makes_a_short_message() {
        let message = VolumeId::new("x".repeat(1_000_000))
            .unwrap_err()
            .to_string();
        assert!(message.len() < 300, "{}", message.len());
    }
}
