//! All volumes, page by page.

use std::borrow::Cow;

use ceph::{Io, ReadOp, read_many};
use cuttle_journal::{DirectoryEntry, Journal, JournalError, Kind, Record};
use cuttle_model::{
    Class, ClusterId, ClusterTable, CoName, Code, ComposedHandle, Credentials, Explain, ObjectUuid,
    PoolName,
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
        let (volumes, next) = self.page(table, sources, request, Kind::Volume, finished)?;
        Ok(VolumePage { volumes, next })
    }

    /// A page of what a kind of directory names: as `read` makes of its entries, and the token of
    /// the next.
    pub(crate) fn page<T>(
        &self,
        table: &ClusterTable,
        sources: &[ListSource],
        request: &ListVolumes,
        kind: Kind,
        read: impl FnOnce(&ListSource, &Io, Entries) -> Result<Vec<T>, ListError>,
    ) -> Result<(Vec<T>, Option<String>), ListError> {
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
            return Ok((Vec::new(), None));
        };
        let Some(pool) = source.pools.get(position.pool) else {
            let next = token(sources, position.source.saturating_add(1), 0, None);
            return Ok((Vec::new(), next));
        };
        let (settings, cluster) = self.connect(
            table,
            &source.cluster,
            NamedBy::Parameter,
            &source.credentials,
        )?;
        let io = open_pool(&settings, &cluster, pool)?;
        let journal = Journal::new(kind, io.clone(), &self.settings.instance);
        let page = journal.page(position.after.as_deref(), most)?;
        let found = read(source, &io, page.entries)?;
        let next = match page.next {
            Some(after) => token(sources, position.source, position.pool, Some(&after)),
            None => token(
                sources,
                position.source,
                position.pool.saturating_add(1),
                None,
            ),
        };
        Ok((found, next))
    }
}

/// What a directory names.
pub(crate) type Entries = Vec<(CoName, DirectoryEntry)>;

/// Something finished, by its record, with the header of its image if there is one.
pub(crate) struct Finished {
    pub(crate) uuid: ObjectUuid,
    pub(crate) name: CoName,
    pub(crate) record: Record,
    pub(crate) header: Option<Header>,
}

/// The finished volumes among directory entries, with their sizes.
fn finished(
    source: &ListSource,
    io: &Io,
    entries: Entries,
) -> Result<Vec<ListedVolume>, ListError> {
    let found = look_at(Kind::Volume, source, io, entries, |_record| true)?;
    let volume = |found: Finished| ListedVolume {
        handle: ComposedHandle {
            cluster: source.cluster.clone(),
            location: io.pool_id().get(),
            uuid: found.uuid,
        },
        name: found.name,
        size: found.header.map(|header| header.size),
    };
    Ok(found.into_iter().map(volume).collect())
}

/// What is finished among directory entries and wanted by its record. Two rounds of reads.
pub(crate) fn look_at(
    kind: Kind,
    source: &ListSource,
    io: &Io,
    entries: Entries,
    wanted: impl Fn(&Record) -> bool,
) -> Result<Vec<Finished>, ListError> {
    let failed = |error| {
        let credentials = &source.credentials;
        ListError::from(ReachError::refused(
            credentials,
            io,
            None,
            "list them",
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
            let object = kind.record_object(&entry.uuid);
            (io, ReadOp::omap_get(&object, &Record::keys(kind)))
        })
        .collect();
    let mut committed = Vec::new();
    for ((name, entry), reply) in here.into_iter().zip(read_many(&reads)) {
        let Some(reply) = reply.map_err(failed)? else {
            continue;
        };
        // One damaged record must not hide all other volumes.
        let Ok(record) = Journal::read_record(kind, &entry.uuid, &reply.omap) else {
            continue;
        };
        if let Some(id) = record.image_id.clone()
            && record.co_name.as_ref() == Some(&name)
            && wanted(&record)
        {
            committed.push((name, entry.uuid, id, record));
        }
    }
    let reads: Vec<(&Io, ReadOp)> = committed
        .iter()
        .map(|(_, _, id, _)| (io, header_read(id, &[])))
        .collect();
    let mut found = Vec::with_capacity(committed.len());
    for ((name, uuid, _, record), reply) in committed.into_iter().zip(read_many(&reads)) {
        let header = reply
            .map_err(failed)?
            .and_then(|reply| Header::decode(&reply.omap));
        found.push(Finished {
            uuid,
            name,
            record,
            header,
        });
    }
    Ok(found)
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
