//! Whether clients have an image open.

use std::thread;
use std::time::{Duration, Instant};

use ceph::{Io, OpenMode};
use cuttle_model::{ImageId, ImageName};

/// How long after each look a watched image is looked at again, one second in all.
///
/// Ceph's manager opens an image for a moment when it removes a clone of it: a volume that is
/// deleted right after its snapshot is not in use by anybody who would have to let go of it.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(300),
    Duration::from_millis(500),
];

/// A client that answers does so in less.
const LONG: Duration = Duration::from_secs(1);

/// The addresses of the clients that watch an image, as `10.0.0.7:0/3028120452`: those that have
/// it mapped or open for writing.
///
/// librbd moves a watched image to the trash without a word, so this is asked first, as ceph-csi
/// does. An image that nobody watches costs one round trip; only for the addresses it is opened,
/// read-only, which adds no watch of our own.
///
/// A client that is about to close the image is given a second for it; this blocks that long where
/// the image stays in use, and five seconds where a client does not answer.
pub(crate) fn watchers(
    io: &Io,
    image: &ImageName,
    id: &ImageId,
) -> Result<Vec<String>, ceph::Error> {
    if !stays_watched(io, id)? {
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

fn stays_watched(io: &Io, id: &ImageId) -> Result<bool, ceph::Error> {
    for pause in PAUSES {
        let begun = Instant::now();
        if !io.image_is_watched(id)? {
            return Ok(false);
        }
        // A client that is silent has died or hangs: it is not about to close the image.
        if begun.elapsed() > LONG {
            return Ok(true);
        }
        thread::sleep(pause);
    }
    io.image_is_watched(id)
}
