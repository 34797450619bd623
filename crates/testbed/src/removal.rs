//! Removing a directory tree without ever crossing into a mount.

use std::path::Path;

use crate::Error;
use crate::residue::mounts_below;

/// Removes `dir` and what is in it; refuses when anything is mounted at or below it.
///
/// Idempotent: a directory that is not there is fine.
///
/// # Errors
/// [`Error::Directory`] while something is mounted there, [`Error::File`] from the removal.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the guarded place: nothing is mounted below the directory"
)]
pub fn remove_tree(dir: &Path) -> Result<(), Error> {
    if let Some(mount) = mounts_below(&[dir]).into_iter().next() {
        return Err(Error::Directory {
            path: dir.to_owned(),
            reason: format!(
                "{} is still mounted; unmount it first",
                mount.target.display()
            ),
        });
    }
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", dir)(error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
