//! Getting rid of an image: from its name to the trash, from the trash to nothing.

use std::thread;
use std::time::Duration;

use ceph::Io;
use cuttle_model::{ImageId, ImageName};
use serde_json::json;
use tracing::warn;

use crate::torn;

/// How often a manager that is still loading its modules is asked again.
const MANAGER_ATTEMPTS: u32 = 20;
const MANAGER_PAUSE: Duration = Duration::from_millis(250);

/// Moves an image to the trash, and answers the ids that are to be removed from there.
///
/// Finds what an interrupted attempt left: an image in the trash already, by the id that the
/// journal recorded or else by its name; and removes what librbd left of an image that never came
/// to be. `present` is the id of the image that has the name now, if one has.
///
/// Idempotent. An empty answer means that nothing is left, by the cluster's own word.
pub(crate) fn move_to_trash(
    io: &Io,
    image: &ImageName,
    present: Option<&ImageId>,
    recorded: Option<&ImageId>,
) -> Result<Vec<ImageId>, ceph::Error> {
    if io.trash_move(image)?
        && let Some(id) = present
    {
        return Ok(vec![id.clone()]);
    }
    if present.is_some() {
        torn::remove(io, image)?;
    }
    if let Some(id) = recorded
        && io.trash_get(id)?.is_some()
    {
        return Ok(vec![id.clone()]);
    }
    let found = io.trash_find_all_by_name(image)?;
    Ok(found.into_iter().map(|entry| entry.id).collect())
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
                // Gone already, unless the manager means something else by it.
                return match io.trash_get(id)? {
                    None => Ok(()),
                    Some(_) => Err(error),
                };
            }
            Err(error) if error.errno().get() == libc::EAGAIN && attempts > 1 => {
                attempts -= 1;
                thread::sleep(MANAGER_PAUSE);
            }
            Err(error) if manager_cannot(&error) => break error,
            Err(error) => return Err(error),
        }
    };
    warn!(image.id = %id, pool, error = %refusal, "the manager takes no RBD tasks; removing the image here");
    io.trash_remove(id, true).map(drop)
}

/// Whether the manager has said that it will never do it: the module is off (EOPNOTSUPP), unknown
/// (EINVAL), or closed to this user (EACCES, EPERM).
fn manager_cannot(error: &ceph::Error) -> bool {
    error.is_unsupported() || error.is_denied() || error.errno().get() == libc::EINVAL
}
