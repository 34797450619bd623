//! Listing shares: those that are there, those half removed, and users whose share is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use ceph::DirectoryEntry;
use cuttle_model::ByteSize;

use super::grants;
use super::layout::{NAMESPACE, USED, mark_name};
use super::{ShareError, Shares};

/// More entries of one directory than this are not listed.
const MOST: usize = 100_000;

/// What there is of a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShareState {
    /// Its directory.
    Present,
    /// Its directory in the trash: a removal was cut off.
    Deleting,
    /// Only users that may use it.
    Missing,
}

/// A share as it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedShare {
    /// Its name.
    pub name: String,
    /// Its group; what is in the trash has none.
    pub group: Option<String>,
    /// Its directory.
    pub path: String,
    /// What there is of it.
    pub state: ShareState,
    /// Its quota.
    pub size: Option<ByteSize>,
    /// What its files hold.
    pub used: Option<ByteSize>,
    /// The RADOS namespace of its data.
    pub namespace: Option<String>,
    /// The users that may use it.
    pub users: BTreeSet<String>,
}

impl Shares {
    /// The shares below the root, of one group or of all, by path.
    ///
    /// A directory counts as a share when it has a mark or a user; the subvolumes of Ceph's manager
    /// do not.
    ///
    /// # Errors
    /// Ceph's answers.
    ///
    /// # Blocking
    /// Three round trips per share.
    pub fn list(&self, every_group: bool) -> Result<Vec<ListedShare>, ShareError> {
        let mut users = self.users_by_path()?;
        let root = self.place.root();
        let above = self.entries(root, MOST)?.unwrap_or_default();
        let marks: BTreeSet<String> = above.iter().filter_map(text).collect();
        let groups = if every_group {
            let directories = above.iter().filter(|entry| entry.is_directory);
            let names = directories.filter_map(text);
            names.filter(|name| !name.starts_with(['_', '.'])).collect()
        } else {
            vec![self.place.group.to_string()]
        };
        let mut shares = Vec::new();
        for group in groups {
            let in_group = root.join(&group);
            for entry in self.entries(&in_group, MOST)?.unwrap_or_default() {
                let Some(name) = text(&entry).filter(|_| entry.is_directory) else {
                    continue;
                };
                let path = in_group.join(&name);
                let users = users.remove(&path).unwrap_or_default();
                if users.is_empty() && !marks.contains(&mark_name(&group, &name)) {
                    continue;
                }
                let found = self.look(name, Some(group.clone()), &path, ShareState::Present)?;
                shares.extend(found.map(|share| ListedShare { users, ..share }));
            }
        }
        shares.extend(self.deleting()?);
        shares.extend(self.missing(users, every_group));
        shares.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(shares)
    }

    /// A directory's first entries; `None` when there is none.
    pub(super) fn entries(
        &self,
        path: &Path,
        most: usize,
    ) -> Result<Option<Vec<DirectoryEntry>>, ShareError> {
        self.system
            .find_entries(path, most)
            .map_err(|source| ShareError::ceph("list a directory", source))
    }

    fn users_by_path(&self) -> Result<BTreeMap<PathBuf, BTreeSet<String>>, ShareError> {
        let users = self
            .cluster
            .users()
            .map_err(|source| ShareError::ceph("list the users", source))?;
        let mut by_path: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
        for (user, capabilities) in users {
            for path in grants::paths(&capabilities) {
                by_path.entry(path.into()).or_default().insert(user.clone());
            }
        }
        Ok(by_path)
    }

    /// Quota, use and namespace; `None` when the directory has gone meanwhile.
    fn look(
        &self,
        name: String,
        group: Option<String>,
        path: &Path,
        state: ShareState,
    ) -> Result<Option<ListedShare>, ShareError> {
        let attribute = |name| match self.system.find_attribute(path, name) {
            Ok(found) => Ok(found),
            Err(error) if error.is_absent() => Ok(None),
            Err(source) => Err(ShareError::ceph("read a share's attributes", source)),
        };
        let Some(used) = attribute(USED)? else {
            return Ok(None);
        };
        Ok(Some(ListedShare {
            name,
            group,
            path: path.display().to_string(),
            state,
            size: self.find_quota(path)?,
            used: used.parse().ok().map(ByteSize::from_bytes),
            namespace: attribute(NAMESPACE)?.filter(|namespace| !namespace.is_empty()),
            users: BTreeSet::new(),
        }))
    }

    /// What is in the trash.
    fn deleting(&self) -> Result<Vec<ListedShare>, ShareError> {
        let trash = self.place.trash();
        let mut found = Vec::new();
        for entry in self.entries(&trash, MOST)?.unwrap_or_default() {
            if let Some(name) = text(&entry).filter(|_| entry.is_directory) {
                let path = trash.join(&name);
                found.extend(self.look(name, None, &path, ShareState::Deleting)?);
            }
        }
        Ok(found)
    }

    /// Users of directories that would be shares and are not there.
    fn missing(
        &self,
        users: BTreeMap<PathBuf, BTreeSet<String>>,
        every_group: bool,
    ) -> Vec<ListedShare> {
        let share = |(path, users): (PathBuf, BTreeSet<String>)| {
            let mut parts = path.strip_prefix(self.place.root()).ok()?.iter();
            let group = parts.next()?.to_str()?.to_owned();
            let name = parts.next()?.to_str()?.to_owned();
            let is_wanted = every_group || group == self.place.group.as_str();
            (is_wanted && parts.next().is_none()).then(|| ListedShare {
                name,
                group: Some(group),
                path: path.display().to_string(),
                state: ShareState::Missing,
                size: None,
                used: None,
                namespace: None,
                users,
            })
        };
        users.into_iter().filter_map(share).collect()
    }
}

fn text(entry: &DirectoryEntry) -> Option<String> {
    entry.name.to_str().map(str::to_owned)
}
