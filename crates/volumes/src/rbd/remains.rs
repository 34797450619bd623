//! Getting rid of an image: from its name to the trash, from the trash to nothing.

use std::thread;
use std::time::Duration;

use ceph::{Io, ReadOp, header_object, id_object, read_many};
use cuttle_model::{ImageId, ImageName};
use serde_json::json;
use tracing::warn;

/// How often a manager that is still loading its modules is asked again.
const MANAGER_ATTEMPTS: u32 = 20;
const MANAGER_PAUSE: Duration = Duration::from_millis(250);

/// How often an image that others move to the trash at the same time is moved.
const MOVE_ATTEMPTS: u32 = 3;

/// The object that lists a namespace's images.
const DIRECTORY: &str = "rbd_directory";

/// Bytes enough for any `rbd_id.` object.
const ID_OBJECT_BYTES: usize = 4096;

/// What there is under an image's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Nothing, by the cluster's own word.
    Absent,
    /// The name, or half of it, without a header: whoever made the image was interrupted, or is
    /// at it. Nothing was ever written to it.
    Torn,
    /// A header.
    Whole,
}

/// What there is under a name: its id object, its entry in the directory, and their headers. Two
/// round trips; for rare paths.
pub(crate) fn presence(io: &Io, image: &ImageName) -> Result<Presence, ceph::Error> {
    let (object, entry) = (id_object(image), format!("name_{image}"));
    let reads = [
        (io, ReadOp::data(&object, ID_OBJECT_BYTES)),
        (io, ReadOp::omap_get(DIRECTORY, &[entry.as_str()])),
    ];
    let mut replies = read_many(&reads).into_iter();
    let id_object = replies.next().transpose()?.flatten();
    let directory = replies.next().transpose()?.flatten();
    let listed = directory.and_then(|mut reply| reply.omap.remove(&entry));
    let found: Vec<Vec<u8>> = id_object
        .map(|reply| reply.bytes)
        .into_iter()
        .chain(listed)
        .collect();
    if found.is_empty() {
        return Ok(Presence::Absent);
    }
    let mut presence = Presence::Torn;
    let mut headers = Vec::new();
    // A crash may leave an id object without content.
    for data in found.iter().filter(|data| !data.is_empty()) {
        let id = io.parse_id(&object, data)?;
        headers.push((io, ReadOp::data(&header_object(&id), 1)));
    }
    for reply in read_many(&headers) {
        if reply?.is_some() {
            presence = Presence::Whole;
        }
    }
    Ok(presence)
}

/// As [`clear_present`], and answers the ids of all that is to be removed from the trash.
///
/// Finds what an interrupted attempt has left there: by the id that the journal recorded, or else
/// by name. Idempotent. An empty answer means that nothing is left, by the cluster's own word.
pub(crate) fn clear_name(
    io: &Io,
    image: &ImageName,
    recorded: Option<&ImageId>,
) -> Result<Vec<ImageId>, ceph::Error> {
    clear_present(io, image)?;
    if let Some(id) = recorded
        && io.trash_get(id)?.is_some()
    {
        return Ok(vec![id.clone()]);
    }
    let found = io.trash_find_all_by_name(image)?;
    Ok(found.into_iter().map(|entry| entry.id).collect())
}

/// Takes an image from its name: into the trash, or away if it is torn. Idempotent.
pub(crate) fn clear_present(io: &Io, image: &ImageName) -> Result<(), ceph::Error> {
    match presence(io, image)? {
        Presence::Absent => Ok(()),
        Presence::Torn => io.remove_torn_image(image).map(drop),
        Presence::Whole => trash_move(io, image).map(drop),
    }
}

/// Moves an image to the trash; answers whether there was one. Of several who move the same image
/// at once librbd lets one stumble over what the others have removed already (ESTALE): it looks
/// again.
pub(crate) fn trash_move(io: &Io, image: &ImageName) -> Result<bool, ceph::Error> {
    let mut attempts = MOVE_ATTEMPTS;
    loop {
        match io.trash_move(image) {
            Err(error) if error.errno().get() == libc::ESTALE && attempts > 1 => attempts -= 1,
            outcome => return outcome,
        }
    }
}

/// Removes header and object map of an identifier that nothing leads to. Idempotent.
pub(crate) fn remove_header(io: &Io, id: &ImageId) -> Result<(), ceph::Error> {
    let header = io.remove(&header_object(id));
    let map = io.remove(&object_map_object(id));
    header.and(map).map(drop)
}

/// Removes an image that is torn; one that is whole is left alone. Answers which it was.
/// Idempotent.
pub(crate) fn clear_torn(io: &Io, image: &ImageName) -> Result<Presence, ceph::Error> {
    let presence = presence(io, image)?;
    if presence == Presence::Torn {
        io.remove_torn_image(image)?;
    }
    Ok(presence)
}

/// Has an image in the trash removed: by the manager, in the background, or by ourselves when the
/// manager says it cannot.
///
/// Idempotent: the manager answers a repeated order with the task it has.
pub(crate) fn remove_from_trash(io: &Io, id: &ImageId) -> Result<(), ceph::Error> {
    let pool = io.pool_name();
    let spec = if io.namespace().is_default() {
        format!("{pool}/{id}")
    } else {
        format!("{pool}/{}/{id}", io.namespace())
    };
    let order = json!({"prefix": "rbd task add trash remove", "image_id_spec": spec});
    let mut attempts = MANAGER_ATTEMPTS;
    let refusal = loop {
        match io.cluster().mgr_command(&order) {
            Ok(_task) => return Ok(()),
            Err(error) if error.is_absent() => {
                if io.trash_get(id)?.is_none() {
                    return Ok(());
                }
                // The manager does not see what is there.
                break error;
            }
            Err(error) if error.errno().get() == libc::EAGAIN && attempts > 1 => {
                attempts -= 1;
                thread::sleep(MANAGER_PAUSE);
            }
            Err(error) if manager_cannot(&error) => break error,
            Err(error) => return Err(error),
        }
    };
    warn!(image.id = %id, pool, error = %refusal,
        "the manager takes no RBD tasks; removing the image here");
    io.trash_remove(id, true).map(drop)
}

/// Whether the manager has said that it will never do it: the module is off (EOPNOTSUPP), unknown
/// (EINVAL), or closed to this user (EACCES, EPERM).
fn manager_cannot(error: &ceph::Error) -> bool {
    error.is_unsupported() || error.is_denied() || error.errno().get() == libc::EINVAL
}

/// Whether the object map of an image is there; librbd makes it last.
pub(crate) fn has_object_map(io: &Io, id: &ImageId) -> Result<bool, ceph::Error> {
    let object = object_map_object(id);
    let mut replies = read_many(&[(io, ReadOp::data(&object, 1))]).into_iter();
    match replies.next() {
        Some(reply) => Ok(reply?.is_some()),
        None => Ok(false),
    }
}

fn object_map_object(id: &ImageId) -> String {
    format!("rbd_object_map.{id}")
}
