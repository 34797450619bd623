//! The images that an image shows through: what it was cloned from, what that was cloned from, and
//! so on.
//!
//! Read from the images' headers, one round trip for each; none is opened.

use ceph::{Io, SnapId};
use cuttle_model::ImageId;

/// More ancestors than any client can open (the kernel opens 16).
const MOST: usize = 64;

/// An image that another shows through.
#[derive(Debug, Clone)]
pub(crate) struct Ancestor {
    /// Its pool and namespace.
    pub(crate) io: Io,
    pub(crate) id: ImageId,
}

/// The ancestors of an image, as it is now or was at a snapshot; the nearest first.
pub(crate) fn ancestors(
    io: &Io,
    id: &ImageId,
    at: Option<SnapId>,
) -> Result<Vec<Ancestor>, ceph::Error> {
    let mut chain: Vec<Ancestor> = Vec::new();
    let mut at = at;
    while chain.len() < MOST {
        let (io, id) = chain
            .last()
            .map_or((io, id), |nearest| (&nearest.io, &nearest.id));
        let Some(parent) = io.parent_by_id(id, at)? else {
            break;
        };
        at = Some(parent.snapshot);
        chain.push(Ancestor {
            io: io.cluster().io(parent.pool, &parent.namespace)?,
            id: parent.image,
        });
    }
    Ok(chain)
}
