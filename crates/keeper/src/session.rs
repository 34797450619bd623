//! Having the session of a client that has died ended by the MDS.
//!
//! A client that was killed still holds capabilities, and whoever needs them waits until the MDS
//! notices, for a minute as a rule: the new ceph-fuse before all. Each client is therefore given a
//! name (a `uuid` in its metadata), by which another one of the same user can have it ended at
//! once. That takes Ceph's library, which the keeper does without; the driver's program does it.

use std::io::Write;

use cuttle_host::{AbsolutePath, Error as HostError, Host, Program};
use cuttle_model::Secret;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use crate::order::{MAX_ORDER, OrderError};

/// How long the MDS may take. Without an answer ceph-fuse is started all the same, and may wait.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// The program that ends sessions, and where it finds the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ender {
    /// The program.
    pub program: String,
    /// Its arguments; it reads a [`DeadSession`] from standard input.
    pub arguments: Vec<String>,
    /// The monitors, joined by commas.
    pub monitors: String,
    /// The user, without `client.`.
    pub user: String,
    /// The file system; the cluster's default one when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs: Option<String>,
}

/// A session to be ended: one line of JSON on the program's standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadSession {
    /// The monitors, joined by commas.
    pub monitors: String,
    /// The user, without `client.`.
    pub user: String,
    /// The user's key.
    pub key: Secret,
    /// The file system; the cluster's default one when not given.
    pub fs: Option<String>,
    /// The name of the session.
    pub uuid: String,
}

#[derive(Serialize)]
struct Sent<'a> {
    monitors: &'a str,
    user: &'a str,
    key: &'a str,
    fs: Option<&'a str>,
    uuid: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    monitors: String,
    user: String,
    #[serde(deserialize_with = "secret")]
    key: Secret,
    fs: Option<String>,
    uuid: String,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

impl DeadSession {
    /// Reads what the program was given.
    ///
    /// # Errors
    /// [`OrderError`]; its texts never contain the line's values.
    pub fn from_line(line: &[u8]) -> Result<Self, OrderError> {
        let received: Received =
            serde_json::from_slice(line).map_err(|error| OrderError::Malformed {
                line: error.line(),
                column: error.column(),
            })?;
        Ok(Self {
            monitors: received.monitors,
            user: received.user,
            key: received.key,
            fs: received.fs,
            uuid: received.uuid,
        })
    }

    fn to_line(&self) -> Result<Zeroizing<Vec<u8>>, OrderError> {
        let sent = Sent {
            monitors: &self.monitors,
            user: &self.user,
            key: self.key.expose(),
            fs: self.fs.as_deref(),
            uuid: &self.uuid,
        };
        // A fixed buffer: one that grew would leave copies of the key behind.
        let mut line = Zeroizing::new(vec![0; MAX_ORDER]);
        let mut room: &mut [u8] = &mut line;
        serde_json::to_writer(&mut room, &sent).map_err(|_full| OrderError::TooLong)?;
        room.write_all(b"\n").map_err(|_full| OrderError::TooLong)?;
        let unused = room.len();
        line.truncate(MAX_ORDER.saturating_sub(unused));
        Ok(line)
    }
}

impl Ender {
    /// Has the session of this name ended.
    ///
    /// # Errors
    /// In words; nothing has changed then.
    pub(crate) fn end(&self, host: &Host, key: &Secret, uuid: &str) -> Result<(), String> {
        let session = DeadSession {
            monitors: self.monitors.clone(),
            user: self.user.clone(),
            key: key.clone(),
            fs: self.fs.clone(),
            uuid: uuid.to_owned(),
        };
        let mut line = session.to_line().map_err(|error| error.to_string())?;
        let program = Program::new(&self.program)
            .args(&self.arguments)
            // Moved, not copied: the line holds the key.
            .stdin(std::mem::take(&mut *line))
            .within(PATIENCE);
        let finished = host.run("host.end_session", &program);
        finished
            .and_then(|finished| finished.expect_success(&self.program))
            .map(drop)
            .map_err(|error: HostError| cuttle_model::chain(&error))
    }
}

/// A new name for a session.
pub(crate) fn fresh_uuid(host: &Host) -> Option<String> {
    let path = AbsolutePath::new("/proc/sys/kernel/random/uuid").ok()?;
    let text = host.read_file(&path, 64).ok()??;
    let text = String::from_utf8(text).ok()?;
    Some(format!("cuttle-{}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_survives_the_line_and_its_key_is_not_shown() {
        let session = DeadSession {
            monitors: "a:1,b:2".to_owned(),
            user: "node".to_owned(),
            key: Secret::new("AQBmarker==".to_owned()),
            fs: None,
            uuid: "u".to_owned(),
        };
        let line = session.to_line().unwrap();
        assert_eq!(DeadSession::from_line(&line).unwrap(), session);
        assert!(!format!("{session:?}").contains("marker"));
        let error = DeadSession::from_line(b"{\"key\":\"AQBmarker==\"").unwrap_err();
        assert!(!format!("{error:?}").contains("marker"));
    }
}
