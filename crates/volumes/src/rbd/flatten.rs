//! Having an image flattened: given a copy of all that it shows of its parent.
//!
//! The manager does it, in the background and one image after the other. It answers a repeated
//! order with the task it has, and how far that is.

use std::fmt;

use ceph::Io;
use cuttle_model::{ImageId, ImageName};
use serde_json::{Value, json};

/// How far a flattening is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It waits for others.
    Queued,
    /// It is under way: percent done.
    Percent(u8),
    /// There is nothing to flatten any more.
    Ended,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queued => f.write_str("waits for its turn at the manager"),
            Self::Percent(percent) => write!(f, "{percent} % done"),
            Self::Ended => f.write_str("done"),
        }
    }
}

fn order(io: &Io, image: &ImageName) -> Value {
    let pool = io.pool_name();
    let spec = if io.namespace().is_default() {
        format!("{pool}/{image}")
    } else {
        format!("{pool}/{}/{image}", io.namespace())
    };
    json!({"prefix": "rbd task add flatten", "image_spec": spec})
}

/// Orders that an image be flattened, and answers how far that is.
pub(crate) fn flatten(io: &Io, image: &ImageName) -> Result<Progress, ceph::Error> {
    match io.cluster().mgr_command(&order(io, image)) {
        Ok(task) => Ok(progress(&task.json)),
        // No such image, or it shows nothing of a parent any more.
        Err(error) if error.is_absent() => Ok(Progress::Ended),
        Err(error) => Err(error),
    }
}

/// Orders that an image be flattened without waiting for the manager's answer.
pub(crate) fn flatten_later(io: &Io, image: &ImageName) -> Result<(), ceph::Error> {
    let started = io.cluster().start_mgr_command(&order(io, image))?;
    drop(started);
    Ok(())
}

/// Ends the flattening of an image, whether it is under way or waits: answers whether there was
/// one. A client that has the image open for it closes it soon after.
pub(crate) fn cancel(io: &Io, id: &ImageId) -> Result<bool, ceph::Error> {
    let cluster = io.cluster();
    let tasks = cluster.mgr_query(&json!({"prefix": "rbd task list"}))?.json;
    let tasks = tasks.as_array().map(Vec::as_slice).unwrap_or_default();
    let of_image = |task: &&Value| {
        let refs = |key| task.pointer(key).and_then(Value::as_str);
        refs("/refs/action") == Some("flatten")
            && refs("/refs/image_id") == Some(id.as_str())
            && refs("/refs/pool_name") == Some(io.pool_name())
            && refs("/refs/pool_namespace") == Some(io.namespace().as_str())
    };
    let mut ended = false;
    for task in tasks.iter().filter(of_image) {
        let Some(number) = task.get("id").and_then(Value::as_str) else {
            continue;
        };
        let order = json!({"prefix": "rbd task cancel", "task_id": number});
        match cluster.mgr_command(&order) {
            Ok(_canceled) => ended = true,
            // It has ended by itself.
            Err(error) if error.is_absent() => ended = true,
            Err(error) => return Err(error),
        }
    }
    Ok(ended)
}

/// How far a task is, by the manager's answer.
fn progress(task: &Value) -> Progress {
    if task.get("in_progress").and_then(Value::as_bool) != Some(true) {
        return Progress::Queued;
    }
    let done = task.get("progress").and_then(Value::as_f64).unwrap_or(0.0);
    let percent = (0_u8..=100).rev().find(|at| f64::from(*at) <= done * 100.0);
    Progress::Percent(percent.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_managers_answer_tells_how_far_it_is() {
        assert_eq!(progress(&json!({"sequence": 1})), Progress::Queued);
        for (done, percent) in [(0.0, 0), (0.426, 42), (1.0, 100), (7.5, 100), (-1.0, 0)] {
            let task = json!({"in_progress": true, "progress": done});
            assert_eq!(progress(&task), Progress::Percent(percent), "{done}");
        }
        assert_eq!(progress(&Value::Null), Progress::Queued);
    }
}
