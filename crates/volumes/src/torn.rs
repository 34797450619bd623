//! Images that librbd was interrupted at making.
//!
//! librbd makes an image in steps: `rbd_id.<name>`, the two keys in `rbd_directory`, the header,
//! striping, the object map. Without a header it is no image, yet its name is taken. Nothing was
//! ever written to it, so it can go; unless another process is at it this very moment, which is
//! why whoever calls this has watched it for a while.

use ceph::{Io, ReadOp, WriteOp, header_object, id_object};
use cuttle_model::{ImageId, ImageName};

/// The object that lists a namespace's images.
const DIRECTORY: &str = "rbd_directory";

/// Removes what there is of a torn image, the id object last.
///
/// The caller has made sure that it holds no data. What librbd removes is left to it; it stops
/// short of an image that its directory does not list, or lists without an id object. Idempotent.
pub(crate) fn remove(io: &Io, image: &ImageName) -> Result<(), ceph::Error> {
    io.remove_image(image)?;
    let name_key = format!("name_{image}");
    let listed = io.omap_get(DIRECTORY, &[name_key.as_str()])?;
    let listed = match listed.and_then(|mut omap| omap.remove(&name_key)) {
        Some(value) => Some(io.parse_id(DIRECTORY, &value)?),
        None => None,
    };
    let named = io.image_id(image)?;
    for id in [&listed, &named].into_iter().flatten() {
        io.remove(&format!("rbd_object_map.{id}"))?;
        io.remove(&header_object(id))?;
    }
    if let Some(id) = &listed {
        forget_in_directory(io, image, id)?;
    }
    io.remove(&id_object(image)).map(drop)
}

/// Takes an image out of RBD's directory (class `rbd`, method `dir_remove_image`, input: name, id).
fn forget_in_directory(io: &Io, image: &ImageName, id: &ImageId) -> Result<(), ceph::Error> {
    let mut input = Vec::new();
    for text in [image.as_str(), id.as_str()] {
        // Names and ids are at most 1024 bytes long.
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        input.extend_from_slice(&length.to_le_bytes());
        input.extend_from_slice(text.as_bytes());
    }
    match io.write(
        DIRECTORY,
        WriteOp::new().exec("rbd", "dir_remove_image", &input),
    ) {
        Ok(()) => Ok(()),
        Err(error) if error.is_absent() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the image's object map, which librbd makes last, is there.
pub(crate) fn has_object_map(io: &Io, id: &ImageId) -> Result<bool, ceph::Error> {
    let object = format!("rbd_object_map.{id}");
    let mut replies = ceph::read_many(&[(io, ReadOp::data(&object, 1))]).into_iter();
    match replies.next() {
        Some(reply) => Ok(reply?.is_some()),
        None => Ok(false),
    }
}
