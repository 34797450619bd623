//! The cluster's users: their capabilities and keys.

use std::collections::BTreeMap;

use cuttle_model::{Secret, UserId};
use serde_json::{Value, json};

use crate::clusters::Cluster;
use crate::error::{Errno, Error};

/// Capabilities by the daemon that honours them (`mon`, `osd`, `mds`, `mgr`).
pub type Capabilities = BTreeMap<String, String>;

/// A user of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CephUser {
    /// What it may do.
    pub capabilities: Capabilities,
    /// Its key.
    pub key: Secret,
}

impl Cluster {
    /// A user with its capabilities and key; `None` when the cluster knows no such user.
    ///
    /// # Errors
    /// `is_denied` when the caller may not read users; otherwise as [`Cluster::mon_command`].
    ///
    /// # Blocking
    /// One round trip to the monitors; so do all calls below.
    pub fn find_user(&self, user: &UserId) -> Result<Option<CephUser>, Error> {
        match self.mon_command(&json!({"prefix": "auth get", "entity": entity(user)})) {
            Ok(reply) => read(reply.json, user).map(Some),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a user with these capabilities, or finds the one that has them. Idempotent.
    ///
    /// One that has capabilities for further daemons is found as well.
    ///
    /// # Errors
    /// EINVAL when the user exists with others, or the monitors cannot read these.
    pub fn ensure_user(
        &self,
        user: &UserId,
        capabilities: &Capabilities,
    ) -> Result<CephUser, Error> {
        let command = json!({
            "prefix": "auth get-or-create", "entity": entity(user), "caps": words(capabilities),
        });
        read(self.mon_command(&command)?.json, user)
    }

    /// Replaces all capabilities of a user. Its key stays.
    ///
    /// # Errors
    /// `is_absent` when there is no such user; EINVAL when the capabilities cannot be read.
    pub fn set_capabilities(
        &self,
        user: &UserId,
        capabilities: &Capabilities,
    ) -> Result<(), Error> {
        let command = json!({
            "prefix": "auth caps", "entity": entity(user), "caps": words(capabilities),
        });
        self.mon_command(&command).map(drop)
    }

    /// Removes a user. One that does not exist is as good as removed.
    ///
    /// # Errors
    /// As [`Cluster::mon_command`].
    pub fn remove_user(&self, user: &UserId) -> Result<(), Error> {
        self.mon_command(&json!({"prefix": "auth rm", "entity": entity(user)}))
            .map(drop)
    }

    /// The capabilities of all users (`client.…`), by name without that prefix.
    ///
    /// # Errors
    /// `is_denied` when the caller may not list users; otherwise as [`Cluster::mon_command`].
    pub fn users(&self) -> Result<BTreeMap<String, Capabilities>, Error> {
        let reply = self.mon_command(&json!({"prefix": "auth ls"}))?.json;
        let entries = reply.get("auth_dump").and_then(Value::as_array);
        let users = entries.into_iter().flatten().filter_map(|entry| {
            let name = entry.get("entity")?.as_str()?.strip_prefix("client.")?;
            Some((name.to_owned(), capabilities(entry)))
        });
        Ok(users.collect())
    }
}

fn entity(user: &UserId) -> String {
    format!("client.{user}")
}

/// The capabilities in the monitors' form: daemon and text in turn.
fn words(capabilities: &Capabilities) -> Vec<&str> {
    capabilities
        .iter()
        .flat_map(|(daemon, text)| [daemon.as_str(), text.as_str()])
        .collect()
}

fn capabilities(entry: &Value) -> Capabilities {
    let caps = entry.get("caps").and_then(Value::as_object);
    caps.into_iter()
        .flatten()
        .filter_map(|(daemon, text)| Some((daemon.clone(), text.as_str()?.to_owned())))
        .collect()
}

/// Reads `[{"entity": …, "key": …, "caps": …}]`, taking the key out.
fn read(mut answer: Value, user: &UserId) -> Result<CephUser, Error> {
    let odd = || Error::new("mon.command", entity(user), Errno::new(libc::EBADMSG));
    let entry = answer.get_mut(0).ok_or_else(odd)?;
    match entry.get_mut("key").map(Value::take) {
        Some(Value::String(key)) => Ok(CephUser {
            capabilities: capabilities(entry),
            key: Secret::new(key),
        }),
        _ => Err(odd()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_an_odd_one_tells_nothing_of_itself() {
        let user = UserId::new("share-1").unwrap();
        let answer = json!([{
            "entity": "client.share-1", "key": "AQBmarker==",
            "caps": {"mds": "allow r", "mon": "allow r"},
        }]);
        let found = read(answer, &user).unwrap();
        assert_eq!(found.key.expose(), "AQBmarker==");
        assert_eq!(found.capabilities["mds"], "allow r");
        assert_eq!(
            words(&found.capabilities),
            ["mds", "allow r", "mon", "allow r"]
        );
        for odd in [
            json!([]),
            json!({}),
            json!([{"entity": "AQBmarker=="}]),
            Value::Null,
        ] {
            let error = read(odd, &user).unwrap_err();
            assert_eq!(error.errno().name(), "EBADMSG");
            assert!(!error.to_string().contains("marker"), "{error}");
        }
    }
}
