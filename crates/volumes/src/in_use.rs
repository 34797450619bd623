//! Whether clients have an image open.

use ceph::{Io, OpenMode};
use cuttle_model::ImageName;

/// The addresses of the clients that watch an image, as `10.0.0.7:0/3028120452`: those that have
/// it mapped or open for writing. `None` when the cluster says there is no such image.
///
/// librbd moves a watched image to the trash without a word (Ceph 16 to 20), so this is asked
/// first, as ceph-csi does. The image is opened read-only, which adds no watch of our own.
pub(crate) fn watchers(io: &Io, image: &ImageName) -> Result<Option<Vec<String>>, ceph::Error> {
    let opened = match io.open_image(image, OpenMode::ReadOnly) {
        Ok(opened) => opened,
        Err(error) if error.is_absent() => return Ok(None),
        Err(error) => return Err(error),
    };
    let watchers = opened.watchers()?;
    opened.close()?;
    Ok(Some(
        watchers
            .into_iter()
            .map(|watcher| watcher.address)
            .collect(),
    ))
}
