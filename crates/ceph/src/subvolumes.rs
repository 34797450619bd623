//! Subvolumes of a group, through the manager's module `volumes`.
//!
//! The module answers ENOENT for a missing file system, group and subvolume alike; only the caller
//! can find out which it was. What its errors and states mean for a volume is not decided here.

use std::collections::{BTreeMap, VecDeque};

use cuttle_model::{ByteSize, FsName, FsPath, PoolName, SubvolumeGroup, SubvolumeName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::clusters::Cluster;
use crate::commands::Reply;
use crate::error::{Errno, Error};
use crate::manager::StartedCommand;

/// The subvolumes in one group of one file system. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Subvolumes {
    cluster: Cluster,
    fs: FsName,
    group: SubvolumeGroup,
}

/// What the module tells about a subvolume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubvolumeInfo {
    /// The directory of its data; `None` when only its snapshots are kept.
    pub path: Option<FsPath>,
    /// The most it may hold; `None` is no limit.
    pub quota: Option<ByteSize>,
    /// What it holds.
    pub used: ByteSize,
    /// The pool that new files go to.
    pub data_pool: Option<PoolName>,
    /// `complete`, `snapshot-retained`, or a state of cloning.
    pub state: String,
    /// What the module can do with it, such as `snapshot-retention`.
    pub features: Vec<String>,
}

impl SubvolumeInfo {
    /// The state of a subvolume that can be used.
    pub const COMPLETE: &'static str = "complete";

    /// Whether it can be used.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == Self::COMPLETE && self.path.is_some()
    }
}

impl Cluster {
    /// The subvolumes in a group. Nothing is asked yet.
    #[must_use]
    pub fn subvolumes(&self, fs: &FsName, group: &SubvolumeGroup) -> Subvolumes {
        Subvolumes {
            cluster: self.clone(),
            fs: fs.clone(),
            group: group.clone(),
        }
    }

    /// The names of a file system's groups, those of the module itself left out.
    ///
    /// # Errors
    /// `is_absent` when there is no such file system; otherwise as [`Cluster::mgr_query`].
    pub fn subvolume_groups(&self, fs: &FsName) -> Result<Vec<SubvolumeGroup>, Error> {
        let command = json!({"prefix": "fs subvolumegroup ls", "vol_name": fs.as_str()});
        let listed: Vec<Named> = parsed(&self.mgr_query(&command)?, fs.as_str())?;
        let groups = listed.into_iter().map(|named| named.name);
        Ok(groups
            .filter_map(|name| SubvolumeGroup::new(name).ok())
            .collect())
    }

    /// Makes a group, unless it exists.
    ///
    /// # Errors
    /// As [`Cluster::mgr_command`].
    pub fn create_subvolume_group(&self, fs: &FsName, group: &SubvolumeGroup) -> Result<(), Error> {
        let command = json!({
            "prefix": "fs subvolumegroup create",
            "vol_name": fs.as_str(),
            "group_name": group.as_str(),
        });
        self.mgr_command(&command).map(drop)
    }
}

impl Subvolumes {
    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The file system.
    #[must_use]
    pub fn fs(&self) -> &FsName {
        &self.fs
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &SubvolumeGroup {
        &self.group
    }

    /// Begins to make a subvolume with a quota, its files in `pool` if given. **One that exists
    /// gets the quota, too**: whoever calls must know that it is theirs.
    ///
    /// # Errors
    /// When nothing is sent. The outcome's: `is_absent` for a missing file system or group, EINVAL
    /// for a pool that is none of the file system's, EOPNOTSUPP for a cluster without quotas.
    ///
    /// # Blocking
    /// Until there is a place among the commands.
    pub fn start_create(
        &self,
        name: &SubvolumeName,
        quota: Option<ByteSize>,
        pool: Option<&PoolName>,
    ) -> Result<StartedCommand, Error> {
        let mut command = self.command("create", name);
        if let Some(quota) = quota {
            command.insert("size".to_owned(), quota.bytes().into());
        }
        if let Some(pool) = pool {
            command.insert("pool_layout".to_owned(), pool.as_str().into());
        }
        command.insert("namespace_isolated".to_owned(), false.into());
        self.cluster.start_mgr_command(&Value::Object(command))
    }

    /// What there is to know of a subvolume. Changes nothing.
    ///
    /// # Errors
    /// `is_absent` for a missing file system, group or subvolume; EBADMSG for an unknown form.
    ///
    /// # Blocking
    /// One command.
    pub fn info(&self, name: &SubvolumeName) -> Result<SubvolumeInfo, Error> {
        told(name, &self.query("info", name)?)
    }

    /// Begins [`Subvolumes::info`] if there is a place among the commands at once; `None` when
    /// there is none, or it cannot be sent.
    ///
    /// Commands are sent by threads of their own: begun right after another, it is most likely
    /// carried out after it, and perhaps before.
    ///
    /// # Blocking
    /// Not.
    pub fn try_start_info<'n>(&self, name: &'n SubvolumeName) -> Option<StartedInfo<'n>> {
        let command = Value::Object(self.command("info", name));
        let command = self.cluster.try_start_mgr_query(&command)?;
        Some(StartedInfo { name, command })
    }

    /// Sets a subvolume's quota. The module itself refuses only what is less than what the
    /// subvolume holds, so callers look at the present quota before.
    ///
    /// # Errors
    /// As [`Cluster::mgr_command`].
    ///
    /// # Blocking
    /// One command.
    pub fn resize(&self, name: &SubvolumeName, quota: ByteSize) -> Result<(), Error> {
        self.start_resize(name, quota)?.wait().map(drop)
    }

    /// Begins [`Subvolumes::resize`].
    ///
    /// # Errors
    /// As [`Cluster::start_mgr_command`].
    ///
    /// # Blocking
    /// Until there is a place among the commands.
    pub fn start_resize(
        &self,
        name: &SubvolumeName,
        quota: ByteSize,
    ) -> Result<StartedCommand, Error> {
        let mut command = self.command("resize", name);
        command.insert("new_size".to_owned(), quota.bytes().to_string().into());
        command.insert("no_shrink".to_owned(), true.into());
        self.cluster.start_mgr_command(&Value::Object(command))
    }

    /// Moves a subvolume to the module's trash, which it empties by itself later on; with
    /// `retain_snapshots` one that has snapshots loses its data and keeps them.
    ///
    /// # Errors
    /// `is_absent` for a missing file system, group or subvolume; `is_not_empty` when it has
    /// snapshots.
    ///
    /// # Blocking
    /// One command.
    pub fn remove(&self, name: &SubvolumeName, retain_snapshots: bool) -> Result<(), Error> {
        let mut command = self.command("rm", name);
        if retain_snapshots {
            command.insert("retain_snapshots".to_owned(), true.into());
        }
        self.cluster.mgr_command(&Value::Object(command)).map(drop)
    }

    /// The names of a subvolume's snapshots.
    ///
    /// # Errors
    /// As [`Subvolumes::info`].
    ///
    /// # Blocking
    /// One command.
    pub fn snapshots(&self, name: &SubvolumeName) -> Result<Vec<String>, Error> {
        let reply = self.query("snapshot ls", name)?;
        let listed: Vec<Named> = parsed(&reply, name.as_str())?;
        Ok(listed.into_iter().map(|named| named.name).collect())
    }

    /// Sets entries of a subvolume's metadata, one command each, as many at once as there are
    /// places for. Not all clusters offer it: [`Subvolumes::SET_METADATA`].
    ///
    /// # Errors
    /// The key that was not set first, and why, as [`Cluster::mgr_command`]. Others may be set.
    ///
    /// # Blocking
    /// One command for each entry.
    pub fn set_metadata<'e>(
        &self,
        name: &SubvolumeName,
        entries: impl Iterator<Item = (&'e str, &'e str)>,
    ) -> Result<(), (&'e str, Error)> {
        let mut under_way = VecDeque::new();
        for (key, value) in entries {
            let mut command = self.command("metadata set", name);
            command.insert("key_name".to_owned(), key.into());
            command.insert("value".to_owned(), value.into());
            let command = Value::Object(command);
            let mut at_once = None;
            while !under_way.is_empty() && at_once.is_none() {
                at_once = self.cluster.try_start_mgr_command(&command);
                if at_once.is_none() {
                    end_first(&mut under_way)?;
                }
            }
            let started = match at_once {
                Some(started) => started,
                // Holding no place, it may wait for one.
                None => self
                    .cluster
                    .start_mgr_command(&command)
                    .map_err(|error| (key, error))?,
            };
            under_way.push_back((key, started));
        }
        while !under_way.is_empty() {
            end_first(&mut under_way)?;
        }
        Ok(())
    }

    /// A subvolume's metadata.
    ///
    /// # Errors
    /// As [`Subvolumes::info`].
    ///
    /// # Blocking
    /// One command.
    pub fn metadata(&self, name: &SubvolumeName) -> Result<BTreeMap<String, String>, Error> {
        parsed(&self.query("metadata ls", name)?, name.as_str())
    }

    /// The quota of the group, if it has one, and what it holds. Not all clusters offer it:
    /// [`Subvolumes::GROUP_INFO`].
    ///
    /// # Errors
    /// As [`Subvolumes::info`].
    ///
    /// # Blocking
    /// One command.
    pub fn group_usage(&self) -> Result<(Option<ByteSize>, ByteSize), Error> {
        let command = json!({
            "prefix": Self::GROUP_INFO,
            "vol_name": self.fs.as_str(),
            "group_name": self.group.as_str(),
        });
        let info: GroupInfo = parsed(&self.cluster.mgr_query(&command)?, self.group.as_str())?;
        let quota = quota_of(&info.bytes_quota).ok_or_else(|| {
            let errno = Errno::new(libc::EBADMSG);
            Error::new("mgr.query", &self.group, errno).with_detail("an odd bytes_quota")
        })?;
        Ok((quota, ByteSize::from_bytes(info.bytes_used)))
    }

    /// The command that tells about a group, as [`Cluster::mgr_offers`] wants it.
    pub const GROUP_INFO: &'static str = "fs subvolumegroup info";

    /// The command that sets metadata, as [`Cluster::mgr_offers`] wants it.
    pub const SET_METADATA: &'static str = "fs subvolume metadata set";

    fn query(&self, verb: &str, name: &SubvolumeName) -> Result<Reply, Error> {
        self.cluster
            .mgr_query(&Value::Object(self.command(verb, name)))
    }

    fn command(&self, verb: &str, name: &SubvolumeName) -> Map<String, Value> {
        let mut command = Map::new();
        let fields = [
            ("prefix", format!("fs subvolume {verb}")),
            ("vol_name", self.fs.to_string()),
            ("group_name", self.group.to_string()),
            ("sub_name", name.to_string()),
        ];
        for (key, value) in fields {
            command.insert(key.to_owned(), value.into());
        }
        command
    }
}

/// A question for a subvolume under way, begun by [`Subvolumes::try_start_info`]. It has one of the
/// places for commands; who keeps it must not wait for another place meanwhile.
#[derive(Debug)]
#[must_use = "the answer comes from `wait`"]
pub struct StartedInfo<'n> {
    name: &'n SubvolumeName,
    command: StartedCommand,
}

impl StartedInfo<'_> {
    /// Waits for the answer.
    ///
    /// # Errors
    /// As [`Subvolumes::info`].
    ///
    /// # Blocking
    /// As [`StartedCommand::wait`].
    pub fn wait(self) -> Result<SubvolumeInfo, Error> {
        told(self.name, &self.command.wait()?)
    }
}

/// What the module has told about a subvolume.
fn told(name: &SubvolumeName, reply: &Reply) -> Result<SubvolumeInfo, Error> {
    let info: Info = parsed(reply, name.as_str())?;
    let malformed =
        |what: &str| Error::new("mgr.query", name, Errno::new(libc::EBADMSG)).with_detail(what);
    let quota = quota_of(&info.bytes_quota);
    let path = info.path.map(FsPath::new).transpose();
    let pool = info.data_pool.map(PoolName::new).transpose();
    Ok(SubvolumeInfo {
        path: path.map_err(|_rule| malformed("an odd path"))?,
        quota: quota.ok_or_else(|| malformed("an odd bytes_quota"))?,
        used: ByteSize::from_bytes(info.bytes_used.unwrap_or_default()),
        data_pool: pool.map_err(|_rule| malformed("an odd data_pool"))?,
        state: info.state,
        features: info.features,
    })
}

/// Waits for the oldest of the commands.
fn end_first<'e>(
    under_way: &mut VecDeque<(&'e str, StartedCommand)>,
) -> Result<(), (&'e str, Error)> {
    match under_way.pop_front() {
        Some((key, started)) => started.wait().map(drop).map_err(|error| (key, error)),
        None => Ok(()),
    }
}

/// One entry of a listing.
#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Info {
    path: Option<String>,
    #[serde(default)]
    bytes_quota: Value,
    bytes_used: Option<u64>,
    data_pool: Option<String>,
    state: String,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct GroupInfo {
    #[serde(default)]
    bytes_quota: Value,
    #[serde(default)]
    bytes_used: u64,
}

/// A quota: a number, or a word for none. `None` for what is neither.
fn quota_of(value: &Value) -> Option<Option<ByteSize>> {
    match value {
        Value::Number(bytes) => Some(Some(ByteSize::from_bytes(bytes.as_u64()?))),
        Value::String(word) if word == "infinite" => Some(None),
        // What is only kept for its snapshots has none.
        Value::Null => Some(None),
        Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn parsed<T: DeserializeOwned>(reply: &Reply, target: &str) -> Result<T, Error> {
    T::deserialize(&reply.json).map_err(|error| {
        let errno = Errno::new(libc::EBADMSG);
        Error::new("mgr.query", target, errno).with_detail(&error.to_string())
    })
}
