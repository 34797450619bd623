//! The order a keeper reads: one line of JSON on its first connection.
//!
//! The key travels in this line and nowhere else: not in the arguments, the environment or a file.
//! Both ends overwrite their copies of the line.

use std::io::Write;

use cuttle_host::{AbsolutePath, DeviceNumber};
use cuttle_model::Secret;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use crate::session::Ender;
use crate::status::Running;

/// The longest order that is accepted, in bytes.
pub const MAX_ORDER: usize = 64 * 1024;

/// What to keep mounted, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The volume's identifier.
    pub volume: String,
    /// Where the keeper's [`Post`](crate::Post) is.
    pub directory: AbsolutePath,
    /// Where to mount: an existing directory.
    pub mountpoint: AbsolutePath,
    /// What is mounted, in words.
    pub source: String,
    /// The program, `ceph-fuse`.
    pub program: String,
    /// Its arguments; it must stay in the foreground, and find its key in its standard input. The
    /// keeper adds the name of the session.
    pub arguments: Vec<String>,
    /// The user's key.
    pub key: Secret,
    /// The network namespace to run in.
    pub network: Option<AbsolutePath>,
    /// How long the mount may take until it answers.
    pub start_within_ms: u64,
    /// How often a working mount is looked at.
    pub look_every_ms: u64,
    /// The scope of systemd for keeper and client.
    pub unit: String,
    /// Dead file systems whose places the new mount is to take.
    pub heals: Vec<DeviceNumber>,
    /// What ends the sessions of clients that have died, if there is such a program.
    pub ender: Option<Ender>,
    /// The session of a client that a keeper before had, and that has died.
    pub dead_session: Option<String>,
    /// A mount that is there and works: it is not made, only kept.
    pub adopted: Option<Adopted>,
    /// Whether log lines are JSON.
    pub json_log: bool,
    /// Faults for the door of the keeper, for tests only; see [`cuttle_door::FaultPlan`].
    pub faults: String,
}

/// A mount that somebody else has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Its file system's number.
    pub device: DeviceNumber,
    /// The process behind it, if it is known.
    pub client: Option<Running>,
    /// The name of its session, if it has one.
    pub session: Option<String>,
}

/// Why an order cannot be sent or was not accepted. The texts never contain the line itself.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The line is longer than [`MAX_ORDER`].
    #[error("the order is longer than {MAX_ORDER} bytes")]
    TooLong,
    /// The line is not the JSON object that is expected.
    #[error("the order is not valid JSON of the expected form (line {line}, column {column})")]
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

/// The line's object as it arrives; checked before anything uses it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    volume: String,
    directory: String,
    mountpoint: String,
    source: String,
    program: String,
    arguments: Vec<String>,
    #[serde(deserialize_with = "secret")]
    key: Secret,
    #[serde(default)]
    network: Option<String>,
    start_within_ms: u64,
    look_every_ms: u64,
    unit: String,
    #[serde(default, with = "crate::device::list")]
    heals: Vec<DeviceNumber>,
    #[serde(default)]
    ender: Option<Ender>,
    #[serde(default)]
    dead_session: Option<String>,
    #[serde(default)]
    adopted: Option<AdoptedText>,
    #[serde(default)]
    json_log: bool,
    #[serde(default)]
    inject_faults: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AdoptedText {
    device: crate::device::Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<Running>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

/// The line's object as it is sent.
#[derive(Serialize)]
struct Sent<'a> {
    volume: &'a str,
    directory: String,
    mountpoint: String,
    source: &'a str,
    program: &'a str,
    arguments: &'a [String],
    key: &'a str,
    network: Option<String>,
    start_within_ms: u64,
    look_every_ms: u64,
    unit: &'a str,
    #[serde(with = "crate::device::list")]
    heals: &'a [DeviceNumber],
    ender: Option<&'a Ender>,
    dead_session: Option<&'a str>,
    adopted: Option<AdoptedText>,
    json_log: bool,
    inject_faults: &'a str,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
    String::deserialize(from).map(Secret::new)
}

fn rule(field: &'static str, rule: impl Into<String>) -> OrderError {
    let rule = rule.into();
    OrderError::Field { field, rule }
}

impl Order {
    /// The order as a line, with its line feed. The memory of the line is overwritten when it is
    /// dropped.
    ///
    /// # Errors
    /// [`OrderError::TooLong`], and [`OrderError::Field`] when a path is not UTF-8.
    pub fn to_line(&self) -> Result<Zeroizing<Vec<u8>>, OrderError> {
        let text = |field, path: &AbsolutePath| match path.as_path().to_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(rule(field, "must be UTF-8")),
        };
        let network = self.network.as_ref();
        let sent = Sent {
            volume: &self.volume,
            directory: text("directory", &self.directory)?,
            mountpoint: text("mountpoint", &self.mountpoint)?,
            source: &self.source,
            program: &self.program,
            arguments: &self.arguments,
            key: self.key.expose(),
            network: network.map(|path| text("network", path)).transpose()?,
            start_within_ms: self.start_within_ms,
            look_every_ms: self.look_every_ms,
            unit: &self.unit,
            heals: &self.heals,
            ender: self.ender.as_ref(),
            dead_session: self.dead_session.as_deref(),
            adopted: self.adopted.clone().map(|adopted| AdoptedText {
                device: crate::device::Text(adopted.device),
                client: adopted.client,
                session: adopted.session,
            }),
            json_log: self.json_log,
            inject_faults: &self.faults,
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

    /// Checks one line.
    ///
    /// # Errors
    /// [`OrderError`]; its texts never contain the line's values.
    pub fn from_line(line: &[u8]) -> Result<Self, OrderError> {
        let received: Received =
            serde_json::from_slice(line).map_err(|error| OrderError::Malformed {
                line: error.line(),
                column: error.column(),
            })?;
        let path =
            |field, text: String| AbsolutePath::new(text).map_err(|error| rule(field, error.rule));
        if received.key.is_empty() {
            return Err(rule("key", "must not be empty"));
        }
        if received.start_within_ms == 0 || received.look_every_ms == 0 {
            return Err(rule("start_within_ms", "must be above 0, as look_every_ms"));
        }
        let network = received.network.map(|text| path("network", text));
        Ok(Self {
            volume: received.volume,
            directory: path("directory", received.directory)?,
            mountpoint: path("mountpoint", received.mountpoint)?,
            source: received.source,
            program: received.program,
            arguments: received.arguments,
            key: received.key,
            network: network.transpose()?,
            start_within_ms: received.start_within_ms,
            look_every_ms: received.look_every_ms,
            unit: received.unit,
            heals: received.heals,
            ender: received.ender,
            dead_session: received.dead_session,
            adopted: received.adopted.map(|adopted| Adopted {
                device: adopted.device.0,
                client: adopted.client,
                session: adopted.session,
            }),
            json_log: received.json_log,
            faults: received.inject_faults,
        })
    }
}

#[cfg(test)]
pub(crate) fn for_test() -> Order {
    Order {
        volume: "v".to_owned(),
        directory: AbsolutePath::new("/posts").unwrap(),
        mountpoint: AbsolutePath::new("/staging").unwrap(),
        source: "a test".to_owned(),
        program: "ceph-fuse".to_owned(),
        arguments: vec!["-f".to_owned()],
        key: Secret::new("AQBmarker==".to_owned()),
        network: None,
        start_within_ms: 1_000,
        look_every_ms: 1_000,
        unit: "cuttle-fuse-test.scope".to_owned(),
        heals: Vec::new(),
        ender: None,
        dead_session: None,
        adopted: None,
        json_log: false,
        faults: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_the_line() {
        let mut order = for_test();
        let plain = Order::from_line(&order.to_line().unwrap()).unwrap();
        assert_eq!(plain, order);
        order.network = Some(AbsolutePath::new("/run/netns/x").unwrap());
        order.heals = vec![DeviceNumber { major: 0, minor: 3 }];
        order.adopted = Some(Adopted {
            device: DeviceNumber { major: 0, minor: 4 },
            client: Some(Running { pid: 1, started: 2 }),
            session: Some("s".to_owned()),
        });
        let whole = Order::from_line(&order.to_line().unwrap()).unwrap();
        assert_eq!(whole, order);
    }

    #[test]
    fn what_is_no_order_is_refused_without_its_text() {
        let whole = String::from_utf8(for_test().to_line().unwrap().to_vec()).unwrap();
        for wrong in [
            String::new(),
            "AQBmarker==".to_owned(),
            whole.replace("/staging", "AQBmarker=="),
            whole.replace("1000", "0"),
            whole.replace("\"volume\"", "\"volumes\""),
            whole.replace(r#""key":"AQBmarker==""#, r#""key":"""#),
        ] {
            let error = Order::from_line(wrong.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("marker"), "{error}");
        }
        assert!(!format!("{:?}", for_test()).contains("marker"));
        let mut long = for_test();
        long.source = "x".repeat(MAX_ORDER);
        assert!(matches!(long.to_line(), Err(OrderError::TooLong)));
    }
}
