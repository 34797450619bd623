//! What is mounted at a path, and which keeper stands behind it.

use std::borrow::Cow;
use std::path::Path;

use cuttle_host::{AbsolutePath, DeviceNumber, Mount, MountTable};
use cuttle_keeper::{Contact, Phase, Post, Question, Status};
use cuttle_model::chain;
use tracing::warn;

use super::node::CephfsNode;
use super::request::FsVolumeId;
use crate::host_failure::HostFailure;
use crate::verdict::{Verdict, explain_by_verdict};

/// What ceph-fuse and the kernel's client call their file systems in the mount table.
const FUSE: &str = "fuse.ceph-fuse";
const KERNEL: &str = "ceph";

/// Why it could not be found out what is mounted.
#[derive(Debug, thiserror::Error)]
pub enum SeenError {
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
    /// The keepers' directory cannot be read.
    #[error("could not read {path}")]
    Posts {
        /// The directory.
        path: AbsolutePath,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl SeenError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Host(failure) => failure.verdict(),
            Self::Posts { .. } => Verdict::Own(1504, cuttle_model::Class::Unmet),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Host(_) => None,
            Self::Posts { .. } => Some("see to it that the plugin may read the directory".into()),
        }
    }
}

explain_by_verdict!(SeenError);

/// Whether a mount is of CephFS, by either client.
pub(super) fn is_cephfs(mount: &Mount) -> bool {
    mount.fs_type == KERNEL || is_fuse(mount)
}

/// Whether a mount is of ceph-fuse.
pub(super) fn is_fuse(mount: &Mount) -> bool {
    mount.fs_type == FUSE
}

/// A mount in words.
pub(super) fn described(mount: &Mount) -> String {
    let source = mount.source.to_string_lossy();
    format!("a {} filesystem of {source}", mount.fs_type)
}

/// A keeper as it was found.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) post: Post,
    /// What it has told last, in its file; a living keeper can be asked.
    pub(super) status: Status,
}

impl Keeping {
    /// Whether it says that this file system is, or was, the one it keeps.
    fn knows(&self, device: DeviceNumber) -> bool {
        self.status.device == Some(device) || self.status.dead.contains(&device)
    }
}

impl CephfsNode {
    /// What a post's file says, if it was written in this run of the machine.
    pub(super) fn told(&self, post: &Post) -> Result<Option<Status>, HostFailure> {
        let directory = &self.settings.directory;
        let status = post.status(&self.host);
        let status = status.map_err(HostFailure::at("read a keeper's status in", directory))?;
        let Some(status) = status else {
            return Ok(None);
        };
        let boot = self.host.boot_id();
        let boot = boot.map_err(HostFailure::at("read", "the id of this boot"))?;
        Ok(Some(status).filter(|status| status.boot == boot))
    }

    /// The keeper behind a mount of ceph-fuse that is seen somewhere, of whichever volume.
    pub(super) fn keeping(
        &self,
        table: &MountTable,
        mount: &Mount,
        id: &FsVolumeId,
    ) -> Result<Option<Keeping>, SeenError> {
        // Staged where another mount of the same file system is, as a rule.
        for other in table.of_device(mount.device) {
            if let Some(keeping) = self.kept_at(id, &other.mount_point)? {
                return Ok(Some(keeping));
            }
        }
        // A dead one is still seen here while the staging path has a new one already.
        for post in self.posts()? {
            if let Some(status) = self.told(&post)? {
                let keeping = Keeping { post, status };
                if keeping.knows(mount.device) {
                    return Ok(Some(keeping));
                }
            }
        }
        Ok(None)
    }

    /// The keeper of a volume that is staged at this path.
    pub(super) fn kept_at(
        &self,
        id: &FsVolumeId,
        path: &Path,
    ) -> Result<Option<Keeping>, SeenError> {
        let Ok(path) = AbsolutePath::try_from(path) else {
            return Ok(None);
        };
        let post = self.post(id, &path)?;
        let status = self.told(&post)?;
        Ok(status.map(|status| Keeping { post, status }))
    }

    /// All posts of this node.
    pub(super) fn posts(&self) -> Result<Vec<Post>, SeenError> {
        let directory = &self.settings.directory;
        Post::all(directory).map_err(|source| SeenError::Posts {
            path: directory.clone(),
            source,
        })
    }

    /// How it stands with a mount, by the keeper's own word; `None` when nobody answers.
    pub(super) fn ask(&self, post: &Post) -> Option<Status> {
        let mut contact = self.reach(post)?;
        match contact.ask(Question::Status) {
            Ok(status) => Some(status),
            Err(error) => {
                warn!(error = chain(&error), "a keeper does not tell its status");
                None
            }
        }
    }

    /// Keeps a keeper from mounting anything for as long as the answer is kept; `None` when there
    /// is none. One that does not answer is told in the log, and cannot be waited for.
    pub(super) fn hold(&self, post: &Post) -> Option<Held> {
        let mut contact = self.reach(post)?;
        match contact.ask(Question::Hold) {
            Ok(status) => Some(Held { contact, status }),
            // It has ended.
            Err(cuttle_keeper::ContactError::Ended) => None,
            Err(error) => {
                warn!(error = chain(&error), "a keeper does not hold still");
                None
            }
        }
    }

    fn reach(&self, post: &Post) -> Option<Contact> {
        match post.reach(self.settings.patience.keeper) {
            Ok(contact) => contact,
            Err(error) => {
                warn!(error = chain(&error), "a keeper cannot be reached");
                None
            }
        }
    }
}

/// A keeper that holds still.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) contact: Contact,
    pub(super) status: Status,
}

/// What is wrong with a mount by its keeper's word.
pub(super) fn trouble(status: &Status) -> Option<String> {
    let unknown = || "ceph-fuse has died".to_owned();
    match status.phase {
        Phase::Serving => status.trouble.clone(),
        Phase::Dead | Phase::Starting => Some(status.trouble.clone().unwrap_or_else(unknown)),
    }
}
