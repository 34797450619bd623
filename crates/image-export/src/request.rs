//! The request an export process reads: one line of JSON on its standard input.
//!
//! The key travels in this line and nowhere else: not in the arguments, the environment or a
//! file. Both ends overwrite their copies of the line.

use std::io::{ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use cuttle_door::FaultPlan;
use cuttle_model::{
    Credentials, ImageName, Monitors, NameError, PoolName, RadosNamespace, Secret, UserId,
};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

/// The longest request line that is accepted, in bytes.
pub const MAX_REQUEST: usize = 64 * 1024;

/// Which image to export, where, and how.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// The cluster's monitors.
    pub monitors: Monitors,
    /// The Ceph user that opens the image.
    pub credentials: Credentials,
    /// The image's pool.
    pub pool: PoolName,
    /// The image's RADOS namespace.
    pub namespace: RadosNamespace,
    /// The image.
    pub image: ImageName,
    /// Whether the image is opened, and the file offered, for reading only.
    pub read_only: bool,
    /// Whether no other client may write while the image is exported. Images that have the feature
    /// `exclusive-lock` are then locked for good; nothing else can be promised of others.
    pub exclusive: bool,
    /// An existing regular file, given as an absolute path: the image appears over it.
    pub mountpoint: PathBuf,
    /// How long connecting to the cluster and opening the image may take.
    pub start_within: Duration,
    /// A ceph.conf with the options of its connections; none if absent.
    pub ceph_conf: Option<PathBuf>,
    /// Where and how the export process logs.
    pub log: LogSettings,
}

/// Where and how an export process logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// A file to append to; standard error if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// One JSON object per line instead of text.
    #[serde(default)]
    pub json: bool,
    /// The least serious messages to write, as a filter of `tracing` (`info`, `cuttle=debug`).
    #[serde(default = "default_level")]
    pub level: String,
}

fn default_level() -> String {
    "info".to_owned()
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            file: None,
            json: false,
            level: default_level(),
        }
    }
}

/// Why a request line was not accepted. The texts never contain the line itself.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Standard input could not be read.
    #[error("could not read the request from standard input")]
    Unreadable(#[source] std::io::Error),
    /// The line is longer than [`MAX_REQUEST`].
    #[error("the request is longer than {MAX_REQUEST} bytes")]
    TooLong,
    /// The line is not the JSON object that is expected.
    #[error("the request is not valid JSON of the expected form (line {line}, column {column})")]
    Malformed {
        /// Line of the mistake, from 1.
        line: usize,
        /// Column of the mistake, from 1.
        column: usize,
    },
    /// A field's value breaks a rule.
    #[error("field `{field}`: {rule}")]
    Field {
        /// The field's name in the JSON object.
        field: &'static str,
        /// The rule it breaks, without the value.
        rule: String,
    },
}

/// The line's object as it arrives; checked into an [`ExportRequest`] before anything uses it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    monitors: Vec<String>,
    user: String,
    #[serde(deserialize_with = "secret")]
    key: Secret,
    pool: String,
    #[serde(default)]
    namespace: String,
    image: String,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    exclusive: bool,
    mountpoint: PathBuf,
    start_within_ms: u64,
    #[serde(default)]
    ceph_conf: Option<PathBuf>,
    #[serde(default)]
    log: LogSettings,
    /// Faults for the doors of the export process, for tests only; see [`FaultPlan`].
    #[serde(default)]
    inject_faults: String,
}

/// What an export process reads: the request, and the faults a test put beside it.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) request: ExportRequest,
    pub(crate) faults: FaultPlan,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

/// The line's object as it is sent.
#[derive(Serialize)]
struct Sent<'a> {
    monitors: &'a [String],
    user: &'a str,
    key: &'a str,
    pool: &'a str,
    namespace: &'a str,
    image: &'a str,
    read_only: bool,
    exclusive: bool,
    mountpoint: &'a Path,
    start_within_ms: u64,
    ceph_conf: Option<&'a Path>,
    log: &'a LogSettings,
}

impl ExportRequest {
    /// The image's specification as the `rbd` tool writes it: `pool/namespace/image`.
    #[must_use]
    pub fn image_spec(&self) -> String {
        if self.namespace.is_default() {
            format!("{}/{}", self.pool, self.image)
        } else {
            format!("{}/{}/{}", self.pool, self.namespace, self.image)
        }
    }

    /// The request as the line to write to the export process's standard input, with its line
    /// feed. The memory of the line is overwritten when it is dropped.
    ///
    /// # Errors
    /// [`RequestError::TooLong`] when the line would pass [`MAX_REQUEST`], and
    /// [`RequestError::Field`] when a path is not UTF-8.
    pub fn to_json_line(&self) -> Result<Zeroizing<Vec<u8>>, RequestError> {
        utf8("mountpoint", &self.mountpoint)?;
        if let Some(file) = &self.ceph_conf {
            utf8("ceph_conf", file)?;
        }
        if let Some(file) = &self.log.file {
            utf8("log.file", file)?;
        }
        let sent = Sent {
            monitors: self.monitors.addresses(),
            user: self.credentials.user.as_str(),
            key: self.credentials.key.expose(),
            pool: self.pool.as_str(),
            namespace: self.namespace.as_str(),
            image: self.image.as_str(),
            read_only: self.read_only,
            exclusive: self.exclusive,
            mountpoint: &self.mountpoint,
            start_within_ms: u64::try_from(self.start_within.as_millis()).unwrap_or(u64::MAX),
            ceph_conf: self.ceph_conf.as_deref(),
            log: &self.log,
        };
        // A fixed buffer: one that grew would leave copies of the key behind.
        let mut line = Zeroizing::new(vec![0; MAX_REQUEST]);
        let mut room: &mut [u8] = &mut line;
        serde_json::to_writer(&mut room, &sent).map_err(|_full| RequestError::TooLong)?;
        room.write_all(b"\n")
            .map_err(|_full| RequestError::TooLong)?;
        let unused = room.len();
        line.truncate(MAX_REQUEST.saturating_sub(unused));
        Ok(line)
    }

    /// Reads one request line up to its line feed or the end of `input`. The memory of the line
    /// is overwritten before this returns.
    ///
    /// # Errors
    /// [`RequestError`]; its texts never contain the line's values.
    ///
    /// # Blocking
    /// Until the line is complete.
    pub fn read_line(input: impl Read) -> Result<Self, RequestError> {
        Order::read_line(input).map(|order| order.request)
    }

    /// Checks one request line.
    ///
    /// # Errors
    /// [`RequestError`]; its texts never contain the line's values.
    pub fn from_json(line: &[u8]) -> Result<Self, RequestError> {
        Order::from_json(line).map(|order| order.request)
    }
}

impl Order {
    pub(crate) fn read_line(input: impl Read) -> Result<Self, RequestError> {
        let mut line = Zeroizing::new(vec![0; MAX_REQUEST]);
        let length = fill_line(input, &mut line)?;
        line.truncate(length);
        Self::from_json(&line)
    }

    fn from_json(line: &[u8]) -> Result<Self, RequestError> {
        let received: Received =
            serde_json::from_slice(line).map_err(|error| RequestError::Malformed {
                line: error.line(),
                column: error.column(),
            })?;
        let field = |field| {
            move |error: NameError| RequestError::Field {
                field,
                rule: error.rule().to_owned(),
            }
        };
        if received.key.is_empty() {
            return Err(rule("key", "must not be empty"));
        }
        if received.start_within_ms == 0 {
            return Err(rule("start_within_ms", "must be above 0"));
        }
        for (name, path) in [
            ("mountpoint", Some(&received.mountpoint)),
            ("ceph_conf", received.ceph_conf.as_ref()),
            ("log.file", received.log.file.as_ref()),
        ] {
            if path.is_some_and(|path| !is_plain_absolute(path)) {
                return Err(rule(name, "must be an absolute path without `..`"));
            }
        }
        let faults = FaultPlan::parse(&received.inject_faults)
            .map_err(|error| rule("inject_faults", &error.to_string()))?;
        let request = ExportRequest {
            monitors: Monitors::new(received.monitors)
                .map_err(|error| rule("monitors", &error.to_string()))?,
            credentials: Credentials {
                user: UserId::new(received.user).map_err(field("user"))?,
                key: received.key,
            },
            pool: PoolName::new(received.pool).map_err(field("pool"))?,
            namespace: RadosNamespace::new(received.namespace).map_err(field("namespace"))?,
            image: ImageName::new(received.image).map_err(field("image"))?,
            read_only: received.read_only,
            exclusive: received.exclusive,
            mountpoint: received.mountpoint,
            ceph_conf: received.ceph_conf,
            start_within: Duration::from_millis(received.start_within_ms),
            log: received.log,
        };
        Ok(Self { request, faults })
    }
}

/// Reads up to the first line feed, which is left out; answers the line's length.
fn fill_line(mut input: impl Read, line: &mut [u8]) -> Result<usize, RequestError> {
    let mut length = 0;
    loop {
        let room = line.get_mut(length..).unwrap_or_default();
        if room.is_empty() {
            return Err(RequestError::TooLong);
        }
        let read = match input.read(room) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(RequestError::Unreadable(error)),
        };
        let arrived = room.get(..read).unwrap_or_default();
        if let Some(end) = arrived.iter().position(|byte| *byte == b'\n') {
            return Ok(length.saturating_add(end));
        }
        if read == 0 {
            return Ok(length);
        }
        length = length.saturating_add(read);
    }
}

fn rule(field: &'static str, rule: &str) -> RequestError {
    RequestError::Field {
        field,
        rule: rule.to_owned(),
    }
}

fn utf8(field: &'static str, path: &Path) -> Result<(), RequestError> {
    match path.to_str() {
        Some(_) => Ok(()),
        None => Err(rule(field, "must be UTF-8")),
    }
}

fn is_plain_absolute(path: &Path) -> bool {
    path.is_absolute()
        && path
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

#[cfg(test)]
mod tests;
