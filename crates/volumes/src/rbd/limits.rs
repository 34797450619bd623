//! How deep clones are stacked on each other, and how many snapshots an image has.
//!
//! The kernel's client opens an image with at most 16 ancestors and some 500 snapshots. So
//! flattening begins early, in the background, and what would go beyond the hard limits waits for
//! it:
//!
//! ```text
//!  depth of the source ──▶ soft limit: flattened once the new volume is made ──▶ hard limit: refused
//!                                                                               until it is
//! ```
//!
//! For a snapshot, its own image is flattened, of which nobody has anything open. For a volume,
//! the image below it, if nobody has it open, else the volume itself.
//!
//! Only images with the feature deep-flatten are flattened, which every snapshot's image has. In
//! others the snapshots would go on showing the parent while the image does not: when such an image
//! is removed, librbd (Ceph 16) tells the parent that nothing shows it any more before it finds that
//! a snapshot still has clones, and the parent goes although they need it.
//!
//! Snapshots are only the temporary ones here, which are in the snapshots' trash and go with their
//! last clone: flattening the clones of the oldest makes room.

use ceph::{Io, SnapshotOf};
use cuttle_model::{Credentials, ImageFeatures, ImageId, ImageName, chain};
use tracing::{debug, warn};

use crate::rbd::chain::{Ancestor, ancestors};
use crate::rbd::controller::RbdController;
use crate::rbd::flatten::{Progress, flatten, flatten_later};
use crate::rbd::header::read_header;
use crate::rbd::source::{Source, SourceError};
use crate::reach::ReachError;
use crate::snapshots::SourceKind;

/// How many images one request has flattened for the sake of snapshots when there is still room: as
/// it adds one, there is more with every request.
const ORDERS: usize = 2;

/// How many when there is no room: the repeated request goes on.
const ORDERS_WHEN_FULL: usize = 8;

/// An image to be flattened when there is time for it.
#[derive(Debug, Clone)]
pub(crate) struct Burden {
    io: Io,
    image: ImageName,
}

impl Burden {
    /// Orders it. What fails is logged only: the next clone orders it again.
    pub(crate) fn order(&self) {
        let (image, pool) = (&self.image, self.io.pool_name());
        match flatten_later(&self.io, image) {
            Ok(()) => debug!(image = %image, pool, "ordered to be flattened"),
            Err(error) => warn!(image = %image, pool, error = %chain(&error),
                "could not order an image to be flattened"),
        }
    }
}

/// The source of something that is about to be made.
#[derive(Debug)]
pub(crate) struct Load<'l> {
    pub(crate) controller: &'l RbdController,
    pub(crate) source: &'l Source,
    pub(crate) credentials: &'l Credentials,
}

impl Load<'_> {
    /// Whether the source bears one more snapshot, and a clone of it: what to flatten afterwards.
    pub(crate) fn of_snapshot(&self) -> Result<Vec<Burden>, SourceError> {
        let limits = &self.controller.settings.clone_limits;
        let failed = |error| self.failed("look at the snapshots", error);
        let (io, id) = (&self.source.io, &self.source.id);
        let ids = io.snapshot_ids(id).map_err(failed)?.unwrap_or_default();
        let is_full = ids.len() >= limits.most_snapshots;
        let excess = ids.len().saturating_sub(limits.least_snapshots);
        let excess = excess.max(usize::from(is_full));
        if excess == 0 {
            return Ok(Vec::new());
        }
        let most = if is_full { ORDERS_WHEN_FULL } else { ORDERS };
        let burdens = self.clones_of_oldest(excess.min(most));
        let burdens = burdens.map_err(failed)?;
        if !is_full {
            return Ok(burdens);
        }
        let mut first = None;
        for burden in &burdens {
            let progress = self.flatten_now(burden)?;
            first.get_or_insert_with(|| (burden.image.clone(), progress));
        }
        Err(SourceError::TooManySnapshots {
            image: self.source.image.clone(),
            count: ids.len(),
            ordered: burdens.len(),
            first,
        })
    }

    /// Whether a clone may be stacked on the source: what to flatten afterwards.
    pub(crate) fn of_clone(&self) -> Result<Vec<Burden>, SourceError> {
        let failed = |error| self.failed("look at the parents", error);
        let limits = &self.controller.settings.clone_limits;
        let look = || ancestors(&self.source.io, &self.source.id, None).map_err(failed);
        let above = look()?;
        if above.len() < limits.soft_depth_of_source() {
            return Ok(Vec::new());
        }
        let hard = limits.hard_depth_of_source();
        let candidates = self.candidates(&above).map_err(failed)?;
        if above.len() < hard {
            return Ok(candidates.into_iter().take(1).collect());
        }
        if candidates.is_empty() {
            return Err(SourceError::NotFlattened {
                kind: self.source.kind,
                handle: self.source.handle.clone(),
                depth: above.len(),
            });
        }
        for burden in candidates {
            match self.flatten_now(&burden)? {
                Progress::Ended => {}
                progress @ (Progress::Queued | Progress::Percent(_)) => {
                    return Err(self.too_deep(above.len(), burden.image, progress));
                }
            }
        }
        // Nothing was to be done: it was flattened just now.
        let depth = look()?.len();
        if depth < hard {
            return Ok(Vec::new());
        }
        let image = self.source.image.clone();
        Err(self.too_deep(depth, image, Progress::Ended))
    }

    /// What a snapshot's new image needs, once it is made.
    pub(crate) fn after_snapshot(&self, image: &ImageName) -> Vec<Burden> {
        let soft = self.controller.settings.clone_limits.soft_depth;
        match ancestors(&self.source.io, &self.source.id, None) {
            Ok(above) if above.len().saturating_add(1) < soft => Vec::new(),
            Ok(_deep) => vec![Burden {
                io: self.source.io.clone(),
                image: image.clone(),
            }],
            Err(error) => {
                warn!(image = %self.source.image, error = %chain(&error),
                    "could not find out how many parents an image has");
                Vec::new()
            }
        }
    }

    fn flatten_now(&self, burden: &Burden) -> Result<Progress, SourceError> {
        let flattened = flatten(&burden.io, &burden.image);
        flattened.map_err(|error| self.failed("have images flattened", error))
    }

    /// What can be flattened to make the source less deep, the best first.
    fn candidates(&self, above: &[Ancestor]) -> Result<Vec<Burden>, ceph::Error> {
        let mut candidates = Vec::new();
        let bears_one = self.controller.settings.clone_limits.hard_depth_of_source() > 1;
        if self.source.kind == SourceKind::Volume
            && bears_one
            && above.len() > 1
            && let Some(nearest) = above.first()
        {
            candidates.extend(idle(nearest)?);
        }
        if self.source.features.contains(ImageFeatures::DEEP_FLATTEN) {
            candidates.push(Burden {
                io: self.source.io.clone(),
                image: self.source.image.clone(),
            });
        }
        Ok(candidates)
    }

    /// The clones of the source's oldest snapshots in the trash, so many.
    fn clones_of_oldest(&self, most: usize) -> Result<Vec<Burden>, ceph::Error> {
        let (io, id) = (&self.source.io, &self.source.id);
        let snapshots = io.snapshots_by_id(id)?.unwrap_or_default();
        let in_trash = |of: &SnapshotOf| matches!(of, SnapshotOf::Trash { .. });
        let mut burdens = Vec::new();
        for snapshot in snapshots.iter().rev().filter(|it| in_trash(&it.of)) {
            if burdens.len() >= most {
                break;
            }
            for child in io.children_by_id(id, snapshot.id)? {
                let there = io.cluster().io(child.pool, &child.namespace)?;
                clones_below(&there, &child.image, &mut burdens)?;
            }
        }
        burdens.truncate(most);
        Ok(burdens)
    }

    fn too_deep(&self, depth: usize, image: ImageName, progress: Progress) -> SourceError {
        SourceError::TooDeep {
            kind: self.source.kind,
            handle: self.source.handle.clone(),
            depth,
            image,
            progress,
        }
    }

    fn failed(&self, doing: &str, source: ceph::Error) -> SourceError {
        ReachError::refused(self.credentials, &self.source.io, None, doing, source).into()
    }
}

/// An image that can be flattened, and which nobody has open.
fn idle(ancestor: &Ancestor) -> Result<Option<Burden>, ceph::Error> {
    let Ancestor { io, id } = ancestor;
    match io.image_name_by_id(id)? {
        Some(image) if !io.image_is_watched(id)? => flattenable(io, id, image),
        Some(_) | None => Ok(None),
    }
}

/// An image, if it can be flattened: with all its snapshots or not at all.
fn flattenable(io: &Io, id: &ImageId, image: ImageName) -> Result<Option<Burden>, ceph::Error> {
    let header = read_header(io, id, &[])?;
    let whole = header.is_some_and(|header| header.features.contains(ImageFeatures::DEEP_FLATTEN));
    let io = io.clone();
    Ok(whole.then_some(Burden { io, image }))
}

/// The clone itself, or if it is in the trash, where the manager flattens nothing, its clones.
fn clones_below(io: &Io, id: &ImageId, found: &mut Vec<Burden>) -> Result<(), ceph::Error> {
    if let Some(image) = io.image_name_by_id(id)? {
        found.extend(flattenable(io, id, image)?);
        return Ok(());
    }
    for snapshot in io.snapshot_ids(id)?.unwrap_or_default() {
        for child in io.children_by_id(id, snapshot)? {
            let there = io.cluster().io(child.pool, &child.namespace)?;
            if let Some(image) = there.image_name_by_id(&child.image)? {
                found.extend(flattenable(&there, &child.image, image)?);
            }
        }
    }
    Ok(())
}
