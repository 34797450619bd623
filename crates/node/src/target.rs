//! The directory where a volume is published: made with those above it, and removed again when it
//! was made in vain.

use cuttle_door::FromErrno;
use cuttle_host::{AbsolutePath, EntryKind, Error as HostError, Host};
use tracing::warn;

use crate::host_failure::HostFailure;
use crate::place::PlaceError;

/// A directory for a mount.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its real path.
    pub(crate) path: AbsolutePath,
    /// The directories that were made for it, the deepest last.
    made: Vec<AbsolutePath>,
}

impl Target {
    /// Finds the place, and makes the directories above it that are missing. What is at the place
    /// itself is not touched.
    ///
    /// # Errors
    /// Those of the host; what was made is removed again.
    pub(crate) fn find(host: &Host, path: &AbsolutePath) -> Result<Self, PlaceError> {
        let mut made = Vec::new();
        let found = path
            .parent()
            .map_or(Ok(()), |parent| make_all(host, parent, &mut made))
            .and_then(|()| {
                let failed = HostFailure::at("find the directory of", path);
                Ok(host.real_path(path).map_err(failed)?)
            });
        match found {
            Ok(path) => Ok(Self { path, made }),
            Err(error) => {
                remove_all(host, &made);
                Err(error)
            }
        }
    }

    /// Makes the directory itself, unless it is there.
    ///
    /// # Errors
    /// When something else is there; those of the host. What was made is removed again.
    pub(crate) fn make(&mut self, host: &Host) -> Result<(), PlaceError> {
        let outcome = self.make_directory(host);
        if outcome.is_err() {
            self.remove(host);
        }
        outcome
    }

    fn make_directory(&mut self, host: &Host) -> Result<(), PlaceError> {
        let path = &self.path;
        let entry = host.entry(path).map_err(HostFailure::at("look at", path))?;
        match entry.map(|entry| entry.kind) {
            Some(EntryKind::Directory) => {}
            Some(other) => {
                return Err(PlaceError::WrongKind {
                    path: path.clone(),
                    found: other.words(),
                    expected: "a directory",
                });
            }
            None => {
                let made = host.ensure_directory(path, 0o750);
                if made.map_err(HostFailure::at("make", path))? {
                    self.made.push(path.clone());
                }
            }
        }
        Ok(())
    }

    /// Removes what was made in vain, while it is empty.
    pub(crate) fn remove(&self, host: &Host) {
        remove_all(host, &self.made);
    }
}

fn make_all(
    host: &Host,
    directory: AbsolutePath,
    made: &mut Vec<AbsolutePath>,
) -> Result<(), PlaceError> {
    let mut missing = vec![directory];
    while let Some(path) = missing.last() {
        let there = match host.real_path(path) {
            Ok(_there) => true,
            Err(error) if error.is_absent() => false,
            Err(error) => return Err(HostFailure::at("find", path)(error).into()),
        };
        match (there, path.parent()) {
            (false, Some(parent)) => missing.push(parent),
            (true, _) => break,
            (false, None) => {
                let gone = HostError::from_errno("host.real_path", path.to_string(), libc::ENOENT);
                return Err(HostFailure::at("find", path)(gone).into());
            }
        }
    }
    for path in missing.into_iter().rev() {
        let entry = host.entry(&path);
        if entry.map_err(HostFailure::at("look at", &path))?.is_some() {
            continue;
        }
        let is_made = host.ensure_directory(&path, 0o750);
        if is_made.map_err(HostFailure::at("make", &path))? {
            made.push(path);
        }
    }
    Ok(())
}

fn remove_all(host: &Host, made: &[AbsolutePath]) {
    for path in made.iter().rev() {
        if let Err(error) = host.remove_directory(path) {
            warn!(%path, %error, "could not remove a directory made in vain");
        }
    }
}

#[cfg(test)]
mod tests {
    use cuttle_door::{Doors, FaultPlan};

    use super::*;

    #[test]
    fn what_was_made_in_vain_is_removed_and_nothing_else() {
        let dir = tempfile::TempDir::new().unwrap();
        let host = Host::new(Doors::new(FaultPlan::none()).host);
        let path = |name: &str| AbsolutePath::new(dir.path().join(name)).unwrap();
        std::fs::create_dir(path("a").as_path()).unwrap();
        let mut target = Target::find(&host, &path("a/b/c")).unwrap();
        target.make(&host).unwrap();
        assert!(path("a/b/c").as_path().is_dir());
        target.remove(&host);
        assert!(path("a").as_path().is_dir() && !path("a/b").as_path().exists());
        std::fs::write(path("a/file").as_path(), "x").unwrap();
        let mut target = Target::find(&host, &path("a/file")).unwrap();
        assert!(matches!(
            target.make(&host),
            Err(PlaceError::WrongKind { .. })
        ));
        assert!(path("a/file").as_path().is_file());
    }
}
