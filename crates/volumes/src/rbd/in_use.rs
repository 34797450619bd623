//! Whether clients have an image open.

use ceph::{Io, OpenMode};
use cuttle_model::{ImageId, ImageName};

/// The addresses of the clients that watch an image, as `10.0.0.7:0/3028120452`: those that have
/// it mapped or open for writing.
///
/// librbd moves a watched image to the trash without a word, so this is asked first, as ceph-csi
/// does. An image that nobody watches costs one round trip; only for the addresses it is opened,
/// read-only, which adds no watch of our own.
pub(crate) fn watchers(
    io: &Io,
    image: &ImageName,
    id: &ImageId,
) -> Result<Vec<String>, ceph::Error> {
    if !io.image_is_watched(id)? {
        return Ok(Vec::new());
    }
    let opened = match io.open_image(image, OpenMode::ReadOnly) {
        Ok(opened) => opened,
        Err(error) if error.is_absent() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let watchers = opened.watchers()?;
    opened.close()?;
    Ok(watchers
        .into_iter()
        .map(|watcher| watcher.address)
        .collect())
}
