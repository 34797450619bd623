//! All volumes, page by page.

use std::borrow::Cow;

use ceph::{Io, ReadOp, read_many};
use cuttle_journal::layout::Kind;
use cuttle_journal::{DirectoryEntry, SubvolumeRecord};
use cuttle_model::{
    Class, ClusterId, ClusterTable, CoName, Code, ComposedHandle, Credentials, Explain, FsName,
};
use serde_json::{Value, json};

use super::controller::CephfsController;
use super::error::FsError;
use super::place::Place;
use crate::existing::{ListVolumes, ListedVolume, VolumePage};
use crate::reach::ReachError;

/// How many volumes a page holds when the orchestrator does not say, and at most: each costs a
/// command to the manager, which takes them one after the other.
const LARGEST_PAGE: u64 = 100;

/// Where volumes are to be looked for, and as whom: listing requests carry no credentials.
#[derive(Debug, Clone)]
pub struct ListSource {
    /// The cluster.
    pub cluster: ClusterId,
    /// The file systems.
    pub file_systems: Vec<FsName>,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// Why volumes cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A step in a file system was not carried out.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The token is none of ours, or what it points to is no longer configured.
    #[error("starting_token is not valid (any more)")]
    Token,
}

impl Explain for ListError {
    fn code(&self) -> Code {
        match self {
            Self::Fs(error) => error.code(),
            Self::Token => Code::new(1461),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Fs(error) => error.class(),
            // CSI wants ABORTED, so that the orchestrator begins anew.
            Self::Token => Class::Busy,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Fs(error) => error.remedy(),
            Self::Token => Some(Cow::Borrowed("list from the beginning, without a token")),
        }
    }
}

impl CephfsController {
    /// A page of the volumes in `sources`, in order of source, file system and name. Changes
    /// nothing.
    ///
    /// # Errors
    /// [`ListError`].
    ///
    /// # Blocking
    /// Two rounds of reads per page, and a command to the manager for each volume.
    pub fn list(
        &self,
        table: &ClusterTable,
        sources: &[ListSource],
        request: &ListVolumes,
    ) -> Result<VolumePage, ListError> {
        let all = places(sources);
        let (index, after) = match &request.token {
            Some(token) => position(&all, token).ok_or(ListError::Token)?,
            None => (0, None),
        };
        let most = request.most.map_or(LARGEST_PAGE, u64::from);
        let Some((source, fs)) = all.get(index) else {
            return Ok(VolumePage {
                volumes: Vec::new(),
                next: None,
            });
        };
        let place = self.by_name(table, &source.cluster, fs, &source.credentials)?;
        let page = place
            .journal
            .page(after.as_deref(), most.clamp(1, LARGEST_PAGE));
        let page = page.map_err(|error| place.journal(error))?;
        let volumes = finished(&place, page.entries)?;
        let next = match page.next {
            Some(after) => token(&all, index, Some(&after)),
            None => token(&all, index.saturating_add(1), None),
        };
        Ok(VolumePage { volumes, next })
    }
}

/// The finished volumes among directory entries, with their quotas.
fn finished(
    place: &Place,
    entries: Vec<(CoName, DirectoryEntry)>,
) -> Result<Vec<ListedVolume>, FsError> {
    let io = place.journal.io();
    let reads: Vec<(&Io, ReadOp)> = entries
        .iter()
        .map(|(_, entry)| {
            let object = Kind::Volume.record_object(&entry.uuid);
            (io, ReadOp::omap_get(&object, &SubvolumeRecord::KEYS))
        })
        .collect();
    let mut volumes = Vec::new();
    for ((name, entry), reply) in entries.into_iter().zip(read_many(&reads)) {
        let reply = reply.map_err(|source| ReachError::Ceph {
            doing: "list volumes".to_owned(),
            source,
        })?;
        // One damaged record must not hide all other volumes.
        let Some(Ok(record)) = reply.map(|reply| SubvolumeRecord::decode(&entry.uuid, &reply.omap))
        else {
            continue;
        };
        if record.maker.is_some() || record.co_name.as_ref() != Some(&name) {
            continue;
        }
        let size = match place.subvolumes.info(&record.subvolume) {
            Ok(info) if info.is_complete() => Some(info.quota.unwrap_or_default()),
            Ok(_) => None,
            Err(absent) if absent.is_absent() => None,
            Err(error) => return Err(place.explain("list volumes", error)),
        };
        volumes.push(ListedVolume {
            handle: ComposedHandle {
                cluster: place.settings.id.clone(),
                location: place.fs.id.get(),
                uuid: entry.uuid,
            },
            name,
            size,
        });
    }
    Ok(volumes)
}

/// Every source and file system, in order.
fn places(sources: &[ListSource]) -> Vec<(&ListSource, &FsName)> {
    let mut all = Vec::new();
    for source in sources {
        all.extend(source.file_systems.iter().map(|fs| (source, fs)));
    }
    all
}

/// The token of a place; `None` past the last.
fn token(all: &[(&ListSource, &FsName)], index: usize, after: Option<&str>) -> Option<String> {
    let (source, fs) = all.get(index)?;
    let after = after.unwrap_or_default();
    Some(json!([source.cluster.as_str(), fs.as_str(), after]).to_string())
}

/// The place a token points to, as far as it is still there.
fn position(all: &[(&ListSource, &FsName)], token: &str) -> Option<(usize, Option<String>)> {
    let parts: Value = serde_json::from_str(token).ok()?;
    let [
        Value::String(cluster),
        Value::String(fs),
        Value::String(after),
    ] = parts.as_array()?.as_slice()
    else {
        return None;
    };
    let index = all
        .iter()
        .position(|(source, known)| source.cluster.as_str() == cluster && known.as_str() == fs)?;
    Some((index, (!after.is_empty()).then(|| after.clone())))
}
