//! From a path where a volume is seen to the staging directory it comes from.

use std::borrow::Cow;
use std::path::Path;

use cuttle_host::{AbsolutePath, EntryKind, MountTable, PathEntry};

use crate::host_failure::HostFailure;
use crate::layout::{Layout, VolumeId};
use crate::place::PlaceError;
use crate::rbd::node::RbdNode;
use crate::verdict::{Verdict, explain_by_verdict};

/// Why the staging directory behind a path could not be found.
#[derive(Debug, thiserror::Error)]
pub enum StagedError {
    /// A path cannot be used.
    #[error("the path cannot be used")]
    Place(#[source] PlaceError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl StagedError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Place(source) => source.verdict(),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        None
    }
}

explain_by_verdict!(StagedError);

impl RbdNode {
    /// The staging directory of a volume that is seen at `path`: `path` itself, or the one that
    /// holds another mount of the same device. `None` when there is none.
    ///
    /// `entry` is what stands at `path`.
    pub(crate) fn staging_behind(
        &self,
        table: &MountTable,
        path: &AbsolutePath,
        entry: PathEntry,
        volume: &VolumeId,
    ) -> Result<Option<Layout>, StagedError> {
        if let Some(layout) = self.staging_at(path.as_path(), volume)? {
            return Ok(Some(layout));
        }
        let Some(here) = table.at(path) else {
            return Ok(None);
        };
        let is_block = matches!(entry.kind, EntryKind::BlockDevice(_));
        for mount in table.mounts() {
            // A bound node has the number of /dev's filesystem and the node as its root.
            let is_same = mount.device == here.device && (!is_block || mount.root == here.root);
            let name = mount.mount_point.file_name();
            let directory = mount.mount_point.parent();
            if is_same
                && name.is_some_and(|name| name == volume.as_str())
                && let Some(directory) = directory
                && let Some(layout) = self.staging_at(directory, volume)?
            {
                return Ok(Some(layout));
            }
        }
        Ok(None)
    }

    /// The layout in `directory`, if it holds a stash.
    pub(crate) fn staging_at(
        &self,
        directory: &Path,
        volume: &VolumeId,
    ) -> Result<Option<Layout>, StagedError> {
        let path = AbsolutePath::try_from(directory)
            .map_err(|error| StagedError::Place(PlaceError::Path(error)))?;
        let layout = match self.layout(path.as_path(), volume) {
            Ok(layout) => layout,
            // A file: a raw block volume's target.
            Err(PlaceError::WrongKind { .. }) => None,
            Err(error) => return Err(StagedError::Place(error)),
        };
        let Some(layout) = layout else {
            return Ok(None);
        };
        let stash = self.host.entry(&layout.stash);
        let stash = stash.map_err(HostFailure::at("look at", &layout.stash))?;
        Ok(stash.map(|_stash| layout))
    }
}
