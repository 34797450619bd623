//! All volumes, page by page.

use std::borrow::Cow;

use ceph::{Io, ReadOp, read_many};
use cuttle_journal::{Journal, JournalError, Kind, Record};
use cuttle_model::{
    Class, ClusterId, ClusterTable, CoName, Code, ComposedHandle, Credentials, Explain, PoolName,
};
use serde_json::{Value, json};

use crate::existing::{ListVolumes, ListedVolume, VolumePage};
use crate::rbd::controller::{RbdController, open_pool};
use crate::rbd::header::{Header, header_read};
use crate::reach::{NamedBy, ReachError};

/// How many volumes a page holds when the orchestrator does not say.
const DEFAULT_PAGE: u64 = 500;

/// How many volumes a page holds at most: each costs two reads, all sent at once.
const LARGEST_PAGE: u64 = 1000;

/// Where volumes are to be looked for, and as whom: listing requests carry no credentials.
#[derive(Debug, Clone)]
pub struct ListSource {
    /// The cluster.
    pub cluster: ClusterId,
    /// The pools.
    pub pools: Vec<PoolName>,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// Why volumes cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A cluster or pool cannot be worked in.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// A journal could not be listed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The token is none of ours, or what it points to is no longer configured.
    #[error("starting_token is not valid (any more)")]
    Token,
}

impl Explain for ListError {
    fn code(&self) -> Code {
        match self {
            Self::Reach(error) => error.code(),
            Self::Journal(error) => error.code(),
            Self::Token => Code::new(1461),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Reach(error) => error.class(),
            Self::Journal(error) => error.class(),
            // CSI wants ABORTED, so that the orchestrator begins anew.
            Self::Token => Class::Busy,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Reach(error) => error.remedy(),
            Self::Journal(error) => error.remedy(),
            Self::Token => Some(Cow::Borrowed("list from the beginning, without a token")),
        }
    }
}

/// Where a listing goes on.
struct Position {
    source: usize,
    pool: usize,
    /// The last key seen in that pool's directory.
    after: Option<String>,
}

impl RbdController {
    /// A page of the volumes in `sources`, in order of source, pool and name. Changes nothing.
    ///
    /// # Errors
    /// [`ListError`].
    ///
    /// # Blocking
    /// Three rounds of reads per page, whatever its size.
    pub fn list(
        &self,
        table: &ClusterTable,
        sources: &[ListSource],
        request: &ListVolumes,
    ) -> Result<VolumePage, ListError> {
        let position = match &request.token {
            Some(token) => position(sources, token).ok_or(ListError::Token)?,
            None => Position {
                source: 0,
                pool: 0,
                after: None,
            },
        };
        let most = request
            .most
            .map_or(DEFAULT_PAGE, u64::from)
            .clamp(1, LARGEST_PAGE);
        let Some(source) = sources.get(position.source) else {
            return Ok(VolumePage {
                volumes: Vec::new(),
                next: None,
            });
        };
        let Some(pool) = source.pools.get(position.pool) else {
            return Ok(VolumePage {
                volumes: Vec::new(),
                next: token(sources, position.source.saturating_add(1), 0, None),
            });
        };
        let (settings, cluster) = self.connect(
            table,
            &source.cluster,
            NamedBy::Parameter,
            &source.credentials,
        )?;
        let io = open_pool(&settings, &cluster, pool)?;
        let journal = Journal::new(Kind::Volume, io.clone(), &self.settings.instance);
        let page = journal.page(position.after.as_deref(), most)?;
        let volumes = finished(source, &io, page.entries)?;
        let next = match page.next {
            Some(after) => token(sources, position.source, position.pool, Some(&after)),
            None => token(
                sources,
                position.source,
                position.pool.saturating_add(1),
                None,
            ),
        };
        Ok(VolumePage { volumes, next })
    }
}

/// The finished volumes among directory entries, with their sizes.
fn finished(
    source: &ListSource,
    io: &Io,
    entries: Vec<(CoName, cuttle_journal::DirectoryEntry)>,
) -> Result<Vec<ListedVolume>, ListError> {
    let failed = |error| {
        ListError::from(ReachError::refused(
            &source.credentials,
            io,
            None,
            "list volumes",
            error,
        ))
    };
    // Entries of images in other pools have their records there; no current driver makes such.
    let here: Vec<_> = entries
        .into_iter()
        .filter(|(_, entry)| entry.image_pool.is_none_or(|pool| pool == io.pool_id()))
        .collect();
    let reads: Vec<(&Io, ReadOp)> = here
        .iter()
        .map(|(_, entry)| {
            let object = Kind::Volume.record_object(&entry.uuid);
            (io, ReadOp::omap_get(&object, &Record::keys(Kind::Volume)))
        })
        .collect();
    let mut committed = Vec::new();
    for ((name, entry), reply) in here.into_iter().zip(read_many(&reads)) {
        let Some(reply) = reply.map_err(failed)? else {
            continue;
        };
        // One damaged record must not hide all other volumes.
        let Ok(record) = Journal::read_record(Kind::Volume, &entry.uuid, &reply.omap) else {
            continue;
        };
        if let Some(id) = record.image_id
            && record.co_name.as_ref() == Some(&name)
        {
            committed.push((name, entry.uuid, id));
        }
    }
    let reads: Vec<(&Io, ReadOp)> = committed
        .iter()
        .map(|(_, _, id)| (io, header_read(id, &[])))
        .collect();
    let mut volumes = Vec::with_capacity(committed.len());
    for ((name, uuid, _), reply) in committed.into_iter().zip(read_many(&reads)) {
        let header = reply
            .map_err(failed)?
            .and_then(|reply| Header::decode(&reply.omap));
        volumes.push(ListedVolume {
            handle: ComposedHandle {
                cluster: source.cluster.clone(),
                location: io.pool_id().get(),
                uuid,
            },
            name,
            size: header.map(|header| header.size),
        });
    }
    Ok(volumes)
}

/// The token of a place in the sources; `None` past the last.
fn token(
    sources: &[ListSource],
    mut source: usize,
    mut pool: usize,
    after: Option<&str>,
) -> Option<String> {
    loop {
        let place = sources.get(source)?;
        if let Some(name) = place.pools.get(pool) {
            let parts = json!([
                place.cluster.as_str(),
                name.as_str(),
                after.unwrap_or_default()
            ]);
            return Some(parts.to_string());
        }
        source = source.saturating_add(1);
        pool = 0;
    }
}

/// The place a token points to, as far as it is still there.
fn position(sources: &[ListSource], token: &str) -> Option<Position> {
    let parts: Value = serde_json::from_str(token).ok()?;
    let [
        Value::String(cluster),
        Value::String(pool),
        Value::String(after),
    ] = parts.as_array()?.as_slice()
    else {
        return None;
    };
    let source = sources
        .iter()
        .position(|source| source.cluster.as_str() == cluster)?;
    let pools = &sources.get(source)?.pools;
    let pool = pools.iter().position(|known| known.as_str() == pool)?;
    Some(Position {
        source,
        pool,
        after: (!after.is_empty()).then(|| after.clone()),
    })
}
