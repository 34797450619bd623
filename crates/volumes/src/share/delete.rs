//! Removing a share: its user's rights first, then the directory, by way of the trash.

use std::path::{Path, PathBuf};

use cuttle_model::{ShareName, UserId};

use super::grants::{self, Rest};
use super::layout::old_namespace;
use super::{ShareError, Shares};

/// How many entries of a directory are fetched at once.
const PAGE: usize = 1000;

/// How often a user's capabilities are written until they stay.
const ATTEMPTS: usize = 5;

impl Shares {
    /// Removes a share with all its data, and takes it from the user; a user who has nothing else
    /// is removed.
    ///
    /// Idempotent: what was cut off is finished, half a share is removed as well, and one that does
    /// not exist is as good as removed.
    ///
    /// # Errors
    /// [`ShareError::NotAShare`], before anything is changed, when the directory holds something,
    /// has no mark and is not the user's; [`ShareError::HasSnapshots`]; Ceph's answers.
    ///
    /// # Blocking
    /// A round trip for each file and directory of the share.
    pub fn delete(&self, name: &ShareName, user: &UserId) -> Result<(), ShareError> {
        let path = self.place.share(name);
        let trashed = self.place.trashed(name);
        let is_there = self.check_is_share(name, user, &path)?;
        if is_there {
            self.check_no_snapshots(&path)?;
        }
        self.take(name, user, if is_there { &path } else { &trashed })?;
        let failed = |doing| move |source| ShareError::ceph(doing, source);
        if is_there {
            // What an earlier delete has left there would be in the way.
            self.purge(&trashed)?;
            self.system
                .ensure_directory(&self.place.trash())
                .map_err(failed("make the trash directory"))?;
            self.system
                .move_directory(&path, &trashed)
                .map_err(failed("move the share to the trash"))?;
        }
        self.system
            .remove_file(&self.place.mark(name))
            .map_err(failed("remove the share's mark"))?;
        self.purge(&trashed)
    }

    /// Whether the directory is there, having made sure that it is a share.
    fn check_is_share(
        &self,
        name: &ShareName,
        user: &UserId,
        path: &Path,
    ) -> Result<bool, ShareError> {
        match self.entries(path, 1)? {
            None => return Ok(false),
            Some(entries) if entries.is_empty() => return Ok(true),
            Some(_) => {}
        }
        let text = path.display().to_string();
        let is_the_users = self
            .find_user(user)?
            .is_some_and(|user| grants::paths(&user.capabilities).contains(&text));
        if is_the_users || self.has_mark(name)? {
            return Ok(true);
        }
        Err(ShareError::NotAShare {
            path: path.to_owned(),
        })
    }

    fn has_mark(&self, name: &ShareName) -> Result<bool, ShareError> {
        // Any attribute will do: the question is whether there is a file to have it.
        match self
            .system
            .find_attribute(&self.place.mark(name), c"user.mark")
        {
            Ok(_) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(source) => Err(ShareError::ceph("look for the share's mark", source)),
        }
    }

    /// Snapshots keep a directory from being removed, so nothing is begun then.
    fn check_no_snapshots(&self, path: &Path) -> Result<(), ShareError> {
        let snapshots = self.entries(&path.join(".snap"), PAGE)?;
        // Those of directories above are shown too, by `_<name>_<inode>`.
        let is_own = |name: &std::ffi::OsStr| !name.as_encoded_bytes().starts_with(b"_");
        let own = snapshots.into_iter().flatten();
        if own.into_iter().any(|entry| is_own(&entry.name)) {
            return Err(ShareError::HasSnapshots {
                path: path.to_owned(),
            });
        }
        Ok(())
    }

    /// Takes the share from the user. `directory` is where the share is now, if it still is.
    fn take(&self, name: &ShareName, user: &UserId, directory: &Path) -> Result<(), ShareError> {
        let found = self.find_data_place(directory)?;
        let namespaces = match found.map(|place| place.namespace) {
            Some(namespace) => namespace.into_iter().collect(),
            None => vec![self.place.namespace(name), old_namespace(name)],
        };
        let namespaces: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        let path = self.place.share(name).display().to_string();
        let failed = |source| ShareError::ceph("take the share from the user", source);
        for _attempt in 0..ATTEMPTS {
            let Some(found) = self.find_user(user)? else {
                return Ok(());
            };
            match grants::without(&found.capabilities, &path, &namespaces) {
                Rest::Same => return Ok(()),
                Rest::Nothing => return self.cluster.remove_user(user).map_err(failed),
                // Looked at again by the next attempt, as others may change them too.
                Rest::Less(rest) => self.cluster.set_capabilities(user, &rest).map_err(failed)?,
            }
        }
        Err(ShareError::Contended { user: user.clone() })
    }

    /// Removes a directory and all below it, without following links. One that does not exist is
    /// as good as removed, also when it vanishes meanwhile.
    fn purge(&self, top: &Path) -> Result<(), ShareError> {
        let failed = |source| ShareError::ceph("remove the share's files", source);
        let mut open: Vec<PathBuf> = vec![top.to_owned()];
        while let Some(directory) = open.last().cloned() {
            let entries = self.entries(&directory, PAGE)?.unwrap_or_default();
            if entries.is_empty() {
                let removed = self.system.remove_directory(&directory);
                match removed {
                    Err(error) if error.is_not_empty() => {
                        return Err(ShareError::HasSnapshots { path: directory });
                    }
                    other => drop(other.map_err(failed)?),
                }
                open.pop();
            }
            for entry in entries {
                let path = directory.join(&entry.name);
                if entry.is_directory {
                    open.push(path);
                } else {
                    self.system.remove_file(&path).map_err(failed)?;
                }
            }
        }
        Ok(())
    }
}
