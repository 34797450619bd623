//! NodePublishVolume: make a staged volume visible where a container expects it.

use std::borrow::Cow;
use std::path::Path;

use cuttle_host::{
    AbsolutePath, BindMount, Error as HostError, Mount, MountOptions, OptionRefused,
};
use cuttle_model::{Access, Class};
use tracing::{info, warn};

use super::node::CephfsNode;
use super::request::{FsVolumeId, PublishVolume};
use super::seen::{SeenError, described, is_cephfs, is_fuse, trouble};
use crate::host_failure::HostFailure;
use crate::mount_plan::publishing_options;
use crate::place::PlaceError;
use crate::target::Target;
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a volume could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The volume is not staged.
    #[error("volume is not staged in {path}: {why}")]
    NotStaged {
        /// The staging path.
        path: String,
        /// What is missing or what is there instead.
        why: String,
    },
    /// The volume is staged, but what serves it has died.
    #[error("the mount in {path} does not work at the moment: {why}")]
    Dead {
        /// The staging path.
        path: AbsolutePath,
        /// What is known of it.
        why: String,
    },
    /// It is published there already, but not as asked.
    #[error("{path} shows the volume already, {found}, but {wanted} is asked for")]
    PublishedOtherwise {
        /// The target.
        path: AbsolutePath,
        /// How it is published.
        found: &'static str,
        /// How it should be.
        wanted: &'static str,
    },
    /// A path cannot be used.
    #[error("the path cannot be used")]
    Place(#[source] PlaceError),
    /// A mount flag cannot be used.
    #[error("mount flags cannot be used")]
    Flag(#[source] OptionRefused),
    /// What is mounted could not be found out.
    #[error("could not find out what is mounted")]
    Seen(#[from] SeenError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl PublishError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::NotStaged { .. } => Verdict::Own(1580, Class::Unmet),
            // It is being healed: the repeat may succeed.
            Self::Dead { .. } => Verdict::Own(1565, Class::Down),
            Self::PublishedOtherwise { .. } => Verdict::Own(1583, Class::Unmet),
            Self::Flag(_) => Verdict::Own(1584, Class::Invalid),
            Self::Place(source) => Verdict::Of(source),
            Self::Seen(source) => Verdict::Of(source),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::NotStaged { .. } => "stage the volume first".into(),
            Self::Dead { .. } => {
                "it is mounted anew as soon as the cluster lets it; if it stays so, see `ceph fs \
                 status` and the plugin's log, or stage the volume again with a valid key"
                    .into()
            }
            Self::PublishedOtherwise { .. } => {
                "unpublish the volume, then repeat the request".into()
            }
            Self::Flag(_) => "correct mountOptions in the StorageClass or PersistentVolume".into(),
            Self::Place(_) | Self::Seen(_) | Self::Host(_) => return None,
        })
    }
}

explain_by_verdict!(PublishError);

impl CephfsNode {
    /// Publishes a staged volume.
    ///
    /// # Guarantees
    /// A read-only use is never writable, not for an instant. A target that shows a dead mount of
    /// the volume gets the working one.
    ///
    /// # Idempotency
    /// A target that shows the volume as asked is a success.
    ///
    /// # Errors
    /// [`PublishError`]; directories made for the target are removed again.
    pub fn publish(&self, request: &PublishVolume) -> Result<(), PublishError> {
        let flags: &[String] = match &request.capability.access {
            Access::Block => &[],
            Access::Filesystem { mount_flags, .. } => mount_flags,
        };
        let read_only = request.read_only || request.capability.is_read_only();
        let options = publishing_options(flags, read_only).map_err(PublishError::Flag)?;
        let not_staged = |why: String| PublishError::NotStaged {
            path: request.staging_path.display().to_string(),
            why,
        };
        let staging = self.real_path(&request.staging_path);
        let staging = staging.map_err(PublishError::Place)?;
        let staging =
            staging.ok_or_else(|| not_staged("the directory does not exist".to_owned()))?;
        let table = self.table()?;
        let staged = table.at(&staging);
        let staged = staged.ok_or_else(|| not_staged("nothing is mounted there".to_owned()))?;
        if !is_cephfs(staged) {
            return Err(not_staged(described(staged)));
        }
        self.expect_alive(&request.id, &staging, staged)?;
        let path = AbsolutePath::try_from(request.target_path.as_path());
        let path = path.map_err(|error| PublishError::Place(PlaceError::Path(error)))?;
        let mut target = Target::find(&self.host, &path).map_err(PublishError::Place)?;
        if let Some(mount) = table.at(&target.path) {
            if self.is_published(mount, &target.path, staged, &options)? {
                return Ok(());
            }
            let dead = &target.path;
            let failed = HostFailure::at("unmount what is dead at", dead);
            self.host.unmount_lazily(dead).map_err(failed)?;
        }
        target.make(&self.host).map_err(PublishError::Place)?;
        let bound = self.host.bind(&BindMount {
            source: &staging,
            seen: Some(staged),
            target: &target.path,
            options: &options,
        });
        match bound {
            Ok(()) => {
                info!(volume = %request.id, target = %target.path, "published");
                Ok(())
            }
            Err(error) => {
                if !error.is_late() {
                    target.remove(&self.host);
                }
                if matches!(error, HostError::MountChanged { .. }) {
                    return Err(not_staged("it was just unmounted or replaced".to_owned()));
                }
                if error.is_disconnected() {
                    let why = "ceph-fuse has died".to_owned();
                    return Err(PublishError::Dead { path: staging, why });
                }
                Err(HostFailure::at("bind the volume to", &target.path)(error).into())
            }
        }
    }

    /// Refuses a mount that its keeper says is dead.
    fn expect_alive(
        &self,
        id: &FsVolumeId,
        staging: &AbsolutePath,
        staged: &Mount,
    ) -> Result<(), PublishError> {
        if !is_fuse(staged) {
            return Ok(());
        }
        let post = self.post(id, staging)?;
        let status = self.ask(&post);
        let dead = status.filter(|status| status.device != Some(staged.device));
        match dead.as_ref().and_then(trouble) {
            Some(why) => Err(PublishError::Dead {
                path: staging.clone(),
                why,
            }),
            None => Ok(()),
        }
    }

    /// Whether a target shows the volume as asked; false when it shows a dead mount instead.
    fn is_published(
        &self,
        mount: &Mount,
        target: &AbsolutePath,
        staged: &Mount,
        options: &MountOptions,
    ) -> Result<bool, PublishError> {
        let is_this = mount.device == staged.device && mount.root == Path::new("/");
        if !is_this {
            if is_fuse(mount) && self.is_dead(target)? {
                warn!(%target, "a dead mount is replaced");
                return Ok(false);
            }
            return Err(PublishError::Place(PlaceError::Taken {
                path: target.clone(),
                found: described(mount),
            }));
        }
        let read_only = options.is_read_only();
        if mount.is_read_only() == (read_only || staged.is_read_only()) {
            return Ok(true);
        }
        let words = |read_only| if read_only { "read-only" } else { "writable" };
        Err(PublishError::PublishedOtherwise {
            path: target.clone(),
            found: words(mount.is_read_only()),
            wanted: words(read_only),
        })
    }

    /// Whether what serves the mount at a path has ended, as the kernel says.
    fn is_dead(&self, path: &AbsolutePath) -> Result<bool, HostFailure> {
        match self.host.entry(path) {
            Ok(_answers) => Ok(false),
            Err(error) if error.is_disconnected() => Ok(true),
            Err(error) => Err(HostFailure::at("look at", path)(error)),
        }
    }
}
