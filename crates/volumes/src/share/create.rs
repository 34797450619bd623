//! Making a share: directory, quota, namespace, mark, and at last its user.

use std::path::Path;

use ceph::{Capabilities, CephUser};
use cuttle_model::{ByteSize, Secret, ShareName, UserId};
use serde_json::{Value, json};

use super::grants::{self, Granted};
use super::layout::{NAMESPACE, POOL, QUOTA};
use super::{DataPlace, ShareError, Shares};

/// How often a user's capabilities are written until they stay.
const ATTEMPTS: usize = 5;

/// A share and what is needed to mount it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedShare {
    /// The monitors' addresses, as the monitors tell them.
    pub monitors: Vec<String>,
    /// The directory.
    pub path: String,
    /// The user's key.
    pub key: Secret,
}

impl Shares {
    /// Makes a share and gives it to a user, who is made if there is none of that name.
    ///
    /// With `isolated` its data gets a RADOS namespace of its own; without, the user can reach all
    /// objects of the pool, as with the old provisioner's option. A `size` is set as quota and read
    /// back. Idempotent; on a share that exists, `size` is its new quota.
    ///
    /// # Errors
    /// [`ShareError::ForeignUser`], before anything is made, for a user that is not for shares;
    /// [`ShareError::QuotaNotKept`]; Ceph's answers. What was made by then is found by the
    /// repetition, and taken away by a delete.
    ///
    /// # Blocking
    /// Some ten round trips to MDS and monitors.
    pub fn create(
        &self,
        name: &ShareName,
        user: &UserId,
        size: Option<ByteSize>,
        isolated: bool,
    ) -> Result<CreatedShare, ShareError> {
        let found = self.find_user(user)?;
        if let Some(found) = &found {
            check(user, &found.capabilities)?;
        }
        let path = self.place.share(name);
        let failed = |doing| move |source| ShareError::ceph(doing, source);
        self.system
            .ensure_directory(&path)
            .map_err(failed("make the share's directory"))?;
        if let Some(size) = size {
            self.set_quota(&path, size)?;
        }
        self.set_data_place(name, &path, isolated)?;
        self.system
            .ensure_file(&self.place.mark(name))
            .map_err(failed("mark the directory as a share"))?;
        let data = self
            .find_data_place(&path)?
            .ok_or_else(|| ShareError::NoLayout { path: path.clone() })?;
        let path = path.display().to_string();
        let key = self.give(user, found, &path, &data)?;
        Ok(CreatedShare {
            monitors: self.monitors()?,
            path,
            key,
        })
    }

    pub(super) fn find_user(&self, user: &UserId) -> Result<Option<CephUser>, ShareError> {
        self.cluster
            .find_user(user)
            .map_err(|source| ShareError::ceph("look for the user", source))
    }

    fn set_quota(&self, path: &Path, wanted: ByteSize) -> Result<(), ShareError> {
        let failed = |source| ShareError::ceph("set the quota", source);
        self.system
            .set_attribute(path, QUOTA, &wanted.bytes().to_string())
            .map_err(failed)?;
        let found = self.find_quota(path)?.unwrap_or(ByteSize::ZERO);
        if found == wanted {
            return Ok(());
        }
        Err(ShareError::QuotaNotKept {
            path: path.to_owned(),
            wanted,
            found,
        })
    }

    /// The quota of a directory, if it has one.
    pub(super) fn find_quota(&self, path: &Path) -> Result<Option<ByteSize>, ShareError> {
        let text = self
            .system
            .find_attribute(path, QUOTA)
            .map_err(|source| ShareError::ceph("read the quota", source))?;
        let bytes = text.and_then(|text| text.parse().ok()).filter(|&n| n > 0);
        Ok(bytes.map(ByteSize::from_bytes))
    }

    /// Fixes where new files of the share have their data. A namespace that is there stays.
    fn set_data_place(
        &self,
        name: &ShareName,
        path: &Path,
        isolated: bool,
    ) -> Result<(), ShareError> {
        let Some(DataPlace { pool, namespace }) = self.find_data_place(path)? else {
            return Err(ShareError::NoLayout {
                path: path.to_owned(),
            });
        };
        let set = match namespace {
            Some(_) => return Ok(()),
            None if isolated => {
                let namespace = self.place.namespace(name);
                self.system.set_attribute(path, NAMESPACE, &namespace)
            }
            // The inherited pool is fixed, so that the capability fits for ever.
            None => self.system.set_attribute(path, POOL, &pool),
        };
        set.map_err(|source| ShareError::ceph("set the layout", source))
    }

    /// Gives the share to the user and answers the user's key.
    fn give(
        &self,
        user: &UserId,
        mut found: Option<CephUser>,
        path: &str,
        data: &DataPlace,
    ) -> Result<Secret, ShareError> {
        let share = Granted {
            file_system: &self.system_name,
            path,
            pool: &data.pool,
            namespace: data.namespace.as_deref(),
        };
        let failed = |source| ShareError::ceph("give the share to the user", source);
        for _attempt in 0..ATTEMPTS {
            let had = found.as_ref().map(|user| &user.capabilities);
            let wanted = grants::with(had, share);
            match &found {
                Some(found) if found.capabilities == wanted => return Ok(found.key.clone()),
                Some(found) => {
                    check(user, &found.capabilities)?;
                    let set = self.cluster.set_capabilities(user, &wanted);
                    set.map_err(failed)?;
                }
                None => drop(self.cluster.ensure_user(user, &wanted).map_err(failed)?),
            }
            // Looked at again: the monitors replace capabilities without comparing, so another
            // change at the same moment could have won.
            found = self.find_user(user)?;
        }
        Err(ShareError::Contended { user: user.clone() })
    }

    /// The monitors' addresses.
    fn monitors(&self) -> Result<Vec<String>, ShareError> {
        let dump = self
            .cluster
            .mon_command(&json!({"prefix": "mon dump"}))
            .map_err(|source| ShareError::ceph("ask for the monitors", source))?;
        let monitors = dump.json.get("mons").and_then(Value::as_array);
        let address = |monitor: &Value| {
            let address = monitor.get("addr")?.as_str()?;
            // After the slash stands the daemon's nonce.
            Some(address.split('/').next().unwrap_or(address).to_owned())
        };
        Ok(monitors.into_iter().flatten().filter_map(address).collect())
    }
}

fn check(user: &UserId, capabilities: &Capabilities) -> Result<(), ShareError> {
    grants::check(capabilities).map_err(|foreign| ShareError::ForeignUser {
        user: user.clone(),
        daemon: foreign.daemon,
        grant: foreign.grant,
    })
}
