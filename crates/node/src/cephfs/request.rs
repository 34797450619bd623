//! What callers ask of a node about CephFS volumes: requests whose fields were checked one by one.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use cuttle_model::names::shorten;
use cuttle_model::{
    CephFsSettings, CephfsAttachParameters, Class, ClusterId, Code, ComposedHandle, Credentials,
    Explain, FsName, FsPath, Monitors, ToldSubvolume, VolumeCapability,
};

/// A volume's identifier exactly as the request gave it: any text, for nothing is named after it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FsVolumeId(String);

/// Text that is no volume's identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("volume id \"{shown}\" {rule}")]
pub struct FsVolumeIdError {
    shown: String,
    rule: &'static str,
}

impl FsVolumeId {
    const LONGEST: usize = 1024;

    /// Checks the text.
    ///
    /// # Errors
    /// When it is empty, longer than a kilobyte, or has control characters.
    pub fn new(text: impl Into<String>) -> Result<Self, FsVolumeIdError> {
        let text = text.into();
        let rule = if text.is_empty() {
            "must not be empty"
        } else if text.len() > Self::LONGEST {
            "must be at most 1024 bytes long"
        } else if text.chars().any(char::is_control) {
            "must not contain control characters"
        } else {
            return Ok(Self(text));
        };
        Err(FsVolumeIdError {
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

impl fmt::Display for FsVolumeId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl Explain for FsVolumeIdError {
    fn code(&self) -> Code {
        Code::new(1503)
    }
    fn class(&self) -> Class {
        Class::Invalid
    }
    fn remedy(&self) -> Option<Cow<'static, str>> {
        Some("correct volumeHandle in the PersistentVolume".into())
    }
}

/// Which directory a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FsVolume {
    /// Made by CreateVolume: the journal knows its subvolume.
    Provisioned {
        /// Where the journal has it.
        handle: ComposedHandle,
        /// The subvolume by the words of the volume context, which save a question to the manager.
        told: Option<ToldSubvolume>,
    },
    /// A path that somebody has named.
    Path {
        /// The file system; the cluster's default one when not given.
        fs: Option<FsName>,
        /// The path.
        root: FsPath,
    },
}

/// The cluster of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsCluster {
    /// Its entry in `config.json`; volumes that name their own monitors have none.
    pub id: Option<ClusterId>,
    /// Its monitors.
    pub monitors: Monitors,
    /// What is configured for CephFS.
    pub cephfs: CephFsSettings,
}

/// NodeStageVolume: mount the volume at the staging path.
#[derive(Debug, Clone)]
pub struct StageVolume {
    /// The volume's identifier.
    pub id: FsVolumeId,
    /// Which directory it is.
    pub volume: FsVolume,
    /// Its cluster.
    pub cluster: FsCluster,
    /// The Ceph user that mounts it.
    pub credentials: Credentials,
    /// The staging path; the caller has made the directory.
    pub staging_path: PathBuf,
    /// How the volume is going to be used.
    pub capability: VolumeCapability,
    /// How to mount it, from the volume's context.
    pub parameters: CephfsAttachParameters,
    /// Whether the context says that the volume is a snapshot.
    pub is_snapshot: bool,
}

/// NodeUnstageVolume: take the mount at the staging path down.
#[derive(Debug, Clone)]
pub struct UnstageVolume {
    /// The volume's identifier.
    pub id: FsVolumeId,
    /// The staging path.
    pub staging_path: PathBuf,
}

/// NodePublishVolume: make a staged volume visible where a container expects it.
#[derive(Debug, Clone)]
pub struct PublishVolume {
    /// The volume's identifier.
    pub id: FsVolumeId,
    /// The staging path.
    pub staging_path: PathBuf,
    /// Where the volume is to appear.
    pub target_path: PathBuf,
    /// How the volume is going to be used.
    pub capability: VolumeCapability,
    /// Whether this use is for reading only.
    pub read_only: bool,
}

/// NodeUnpublishVolume: take down what a publish has made.
#[derive(Debug, Clone)]
pub struct UnpublishVolume {
    /// The volume's identifier.
    pub id: FsVolumeId,
    /// Where the volume was made visible.
    pub target_path: PathBuf,
}

/// NodeGetVolumeStats: how full a volume is and whether it works.
#[derive(Debug, Clone)]
pub struct VolumeStats {
    /// The volume's identifier.
    pub id: FsVolumeId,
    /// Where the volume is published or staged.
    pub volume_path: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_may_be_any_short_text() {
        for text in ["0001-…", "a/b", "..", "static volume"] {
            assert_eq!(FsVolumeId::new(text).unwrap().as_str(), text);
        }
        for text in ["", "a\nb", &"x".repeat(1025)] {
            let error = FsVolumeId::new(text).unwrap_err();
            assert!(error.to_string().len() < 300, "{error}");
        }
    }
}
