//! NodeExpandVolume: let device and filesystem take up the image's new size.

use std::borrow::Cow;

use cuttle_host::{AbsolutePath, Error as HostError, Growth};
use cuttle_model::Class;
use tracing::info;

use crate::host_failure::HostFailure;
use crate::layout::Layout;
use crate::place::PlaceError;
use crate::rbd::attach::{AttachError, Found, Place, by_mounter};
use crate::rbd::node::RbdNode;
use crate::rbd::request::{ExpandVolume, Expanded};
use crate::rbd::staged::StagedError;
use crate::rbd::stash_file::{StashError, StashFile};
use crate::rbd::take_down::{TakeDownError, shows};
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a volume could not be expanded.
#[derive(Debug, thiserror::Error)]
pub enum ExpandError {
    /// Nothing is at the volume's path.
    #[error("there is no volume at {path}")]
    Absent {
        /// The path.
        path: String,
    },
    /// The volume is not staged on this node.
    #[error("volume seen at {path} is not staged on this node: {why}")]
    NotStaged {
        /// The path.
        path: String,
        /// What is missing.
        why: &'static str,
    },
    /// A path cannot be used.
    #[error("the path cannot be used")]
    Place(#[source] PlaceError),
    /// The staging directory could not be found.
    #[error("could not find where the volume is staged")]
    Staged(#[source] StagedError),
    /// The stash could not be read.
    #[error("the staging directory's record is unusable")]
    Stash(#[source] StashError),
    /// What is mounted could not be found out.
    #[error("could not find out what is mounted")]
    Mounted(#[source] TakeDownError),
    /// The device could not take up the new size.
    #[error("the device did not take up the new size")]
    Attach(#[source] AttachError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl ExpandError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Absent { .. } => Verdict::Own(1590, Class::Absent),
            Self::NotStaged { .. } => Verdict::Own(1591, Class::Unmet),
            Self::Place(source) => Verdict::Of(source),
            Self::Staged(source) => Verdict::Of(source),
            Self::Stash(source) => Verdict::Of(source),
            Self::Mounted(source) => Verdict::Of(source),
            Self::Attach(source) => Verdict::Of(source),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Absent { .. } | Self::NotStaged { .. } => {
                "stage and publish the volume on this node first; a volume that is not in use \
                 grows when it is staged next"
                    .into()
            }
            Self::Host(failure) if matches!(failure.cause(), HostError::NeedsCapability { .. }) => {
                "run the node plugin privileged, or add the capability to its container; xfs \
                 does not need it"
                    .into()
            }
            Self::Place(_)
            | Self::Staged(_)
            | Self::Stash(_)
            | Self::Mounted(_)
            | Self::Attach(_)
            | Self::Host(_) => return None,
        })
    }
}

explain_by_verdict!(ExpandError);

impl RbdNode {
    /// Expands a staged volume to its image's size, online.
    ///
    /// # Idempotency
    /// A device and filesystem that have the size already are a success.
    ///
    /// # Errors
    /// [`ExpandError`]. A crash or failure between device and filesystem leaves a larger device,
    /// which a repeat (or the next stage) fills.
    pub fn expand(&self, request: &ExpandVolume) -> Result<Expanded, ExpandError> {
        let layout = self.layout_to_expand(request)?;
        let not_staged = |why| ExpandError::NotStaged {
            path: request.volume_path.display().to_string(),
            why,
        };
        let stash = StashFile::of(&self.host, &layout)
            .read()
            .map_err(ExpandError::Stash)?;
        let stash = stash.ok_or_else(|| not_staged("there is no record of it"))?;
        let attach = by_mounter(stash.mounter, &self.host, &self.settings);
        let attach = attach.map_err(ExpandError::Attach)?;
        let place = Place {
            layout: &layout,
            stash: &stash,
        };
        let attachment = match attach.find(place).map_err(ExpandError::Attach)? {
            Found::Whole(attachment) => attachment,
            Found::Nothing | Found::Begun => return Err(not_staged("its image is not attached")),
            Found::Dead(_) => return Err(not_staged("what served its device has ended")),
        };
        let size = attach
            .resize(&attachment, request.required)
            .map_err(ExpandError::Attach)?;
        let table = self.host.mount_table();
        let table = table.map_err(HostFailure::at("read", "the mount table"))?;
        let mount = table.at(&layout.mount_point);
        let mount = mount.ok_or_else(|| not_staged("it is attached but not mounted"))?;
        let shown = shows(&self.host, mount, &layout.mount_point, &attachment);
        if !shown.map_err(ExpandError::Mounted)? {
            return Err(not_staged("something else is mounted in its place"));
        }
        let is_block = mount.device != attachment.number;
        if is_block || attachment.read_only || mount.is_read_only() {
            return Ok(Expanded { size });
        }
        let device = &attachment.device;
        let grown = self
            .host
            .grow_filesystem(device, &layout.mount_point, &mount.fs_type);
        let grown = grown.map_err(HostFailure::at("grow the filesystem of", device))?;
        if let Growth::Grown { from, to } = grown {
            info!(volume = %request.id, %from, %to, "the filesystem has grown");
        }
        Ok(Expanded { size })
    }

    fn layout_to_expand(&self, request: &ExpandVolume) -> Result<Layout, ExpandError> {
        if let Some(staging) = &request.staging_path {
            let found = self
                .staging_at(staging, &request.id)
                .map_err(ExpandError::Staged)?;
            if let Some(layout) = found {
                return Ok(layout);
            }
        }
        let absent = || ExpandError::Absent {
            path: request.volume_path.display().to_string(),
        };
        let path = AbsolutePath::try_from(request.volume_path.as_path());
        let path = path.map_err(|error| ExpandError::Place(PlaceError::Path(error)))?;
        let path = self
            .real_path(&path)
            .map_err(ExpandError::Place)?
            .ok_or_else(absent)?;
        let entry = self
            .host
            .entry(&path)
            .map_err(HostFailure::at("look at", &path))?;
        let entry = entry.ok_or_else(absent)?;
        let table = self.host.mount_table();
        let table = table.map_err(HostFailure::at("read", "the mount table"))?;
        let found = self.staging_behind(&table, &path, entry, &request.id);
        found
            .map_err(ExpandError::Staged)?
            .ok_or_else(|| ExpandError::NotStaged {
                path: path.to_string(),
                why: "no staging directory holds it",
            })
    }
}
