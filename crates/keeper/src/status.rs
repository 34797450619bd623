//! What a keeper tells about itself, to whoever asks and in a file: never a secret.

use cuttle_host::{DeviceNumber, ProcessIdentity};
use serde::{Deserialize, Serialize};

/// How it stands with a volume's mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// ceph-fuse is being started for the first time.
    Starting,
    /// The mount works, as far as the keeper knows.
    Serving,
    /// ceph-fuse has died and is being started anew, or will be.
    Dead,
}

/// A running process, as it stands in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

impl From<ProcessIdentity> for Running {
    fn from(process: ProcessIdentity) -> Self {
        let ProcessIdentity { pid, started } = process;
        Self { pid, started }
    }
}

impl From<Running> for ProcessIdentity {
    fn from(process: Running) -> Self {
        let Running { pid, started } = process;
        Self { pid, started }
    }
}

/// What a keeper tells about itself and its mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The volume's identifier.
    pub volume: String,
    /// Where ceph-fuse mounts: the staging path.
    pub mountpoint: String,
    /// What is mounted there: monitors, file system, path, user.
    pub source: String,
    /// The run of the machine in which this was written.
    pub boot: String,
    /// The keeper.
    pub keeper: Running,
    /// ceph-fuse, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Running>,
    /// The name of its session with the cluster, or of the last one's that has died.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How it stands.
    pub phase: Phase,
    /// The file system's number in the mount table, while it serves.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "crate::device::optional"
    )]
    pub device: Option<DeviceNumber>,
    /// The numbers of those that have died and may still be seen somewhere.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        with = "crate::device::list"
    )]
    pub dead: Vec<DeviceNumber>,
    /// Where keeper and client live, when they have left the driver's cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<String>,
    /// How often ceph-fuse was started anew.
    #[serde(default)]
    pub healed: u32,
    /// What is wrong at the moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What a keeper can be asked. One line of JSON each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// For its status.
    Status,
    /// To start nothing any more, for as long as the asker stays connected. It answers when
    /// nothing is being started any more.
    Hold,
    /// To end without healing. A keeper whose mount works refuses.
    Retire,
}

/// Why ceph-fuse could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What went wrong.
    pub why: String,
    /// What ceph-fuse said last; the key is taken out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
    /// Whether it was given up on, rather than that it failed.
    #[serde(default)]
    pub late: bool,
}

/// What a keeper answers. One line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// How it stands.
    Status(Box<Status>),
    /// The order could not be carried out, and nothing of it is left.
    Refused(Refused),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            volume: "v".to_owned(),
            mountpoint: "/staging".to_owned(),
            source: "mon:/ of cephfs as client.x".to_owned(),
            boot: "b".to_owned(),
            keeper: Running {
                pid: 7,
                started: 70,
            },
            client: None,
            session: None,
            phase: Phase::Serving,
            device: Some(DeviceNumber {
                major: 0,
                minor: 39,
            }),
            dead: Vec::new(),
            apart: None,
            healed: 0,
            trouble: None,
        }
    }

    #[test]
    fn a_status_survives_the_line() {
        let mut told = status();
        told.dead.push(DeviceNumber { major: 0, minor: 4 });
        for status in [status(), told] {
            let answer = Answer::Status(Box::new(status));
            let line = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer);
        }
        let text = serde_json::to_string(&status()).unwrap();
        assert!(text.contains(r#""device":"0:39""#), "{text}");
        serde_json::from_str::<Status>(&text.replace("0:39", "0")).unwrap_err();
    }

    #[test]
    fn what_later_keepers_add_is_passed_over() {
        let mut text = serde_json::to_value(status()).unwrap();
        text["later"] = 1.into();
        assert_eq!(serde_json::from_value::<Status>(text).unwrap(), status());
    }
}
