//! The journal of one pool: reserving names, writing records, committing and forgetting.
//!
//! ```text
//!            reserve               write_record            commit
//!  (nothing) ───────▶ name → uuid ─────────────▶ + record ────────▶ + csi.imageid
//!      ▲                                                                │ image to the trash
//!      └──── forget_record ◀── record alone ◀──────────────── forget_name
//! ```
//!
//! Every arrow is one atomic write of one object, and every state between two arrows is found and
//! finished by whoever comes next: `docs/formats.md` lists them. Making and removing the image
//! itself is not done here.

use std::collections::BTreeMap;

use ceph::{Io, StartedWrite, WriteOp};
use cuttle_model::{CoName, ImageId, InstanceId, ObjectUuid, PoolId};

use crate::entry::DirectoryEntry;
use crate::error::JournalError;
use crate::layout::{Kind, key};
use crate::record::Record;

/// How often a reservation starts over when the name comes and goes under its hands.
const RESERVE_ATTEMPTS: u32 = 8;

/// How many entries one page of a search holds.
const SEARCH_PAGE: u64 = 1000;

/// The journal of volumes or snapshots in one pool and RADOS namespace, of one instance.
///
/// Cheap to clone. All methods block for at most the connection's time-outs.
#[derive(Debug, Clone)]
pub struct Journal {
    kind: Kind,
    directory: Io,
    records: Io,
    /// The pool of records and images, when it is not the directory's.
    image_pool: Option<PoolId>,
    directory_object: String,
}

/// The outcome of a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// The name was free and now belongs to the offered UUID.
    New,
    /// The name already belongs to this entry.
    Taken(DirectoryEntry),
}

/// One page of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryPage {
    /// Names and their entries, in order of name.
    pub entries: Vec<(CoName, DirectoryEntry)>,
    /// Where the next page begins, unless this is the last: pass it to [`Journal::page`].
    pub next: Option<String>,
}

impl Journal {
    /// The journal whose directory, records and images are all in the pool of `io`.
    #[must_use]
    pub fn new(kind: Kind, io: Io, instance: &InstanceId) -> Self {
        Self {
            kind,
            directory: io.clone(),
            records: io,
            image_pool: None,
            directory_object: kind.directory_object(instance),
        }
    }

    /// The journal whose directory is in one pool while records and images are in `image_pool`,
    /// the pool of `records`.
    #[must_use]
    pub fn split(
        kind: Kind,
        directory: Io,
        records: Io,
        image_pool: PoolId,
        instance: &InstanceId,
    ) -> Self {
        Self {
            kind,
            directory,
            records,
            image_pool: Some(image_pool),
            directory_object: kind.directory_object(instance),
        }
    }

    /// Offers `uuid` for `name`: one guarded write when the name is free, one read more when not.
    ///
    /// Idempotent in effect: of any number of callers with different UUIDs exactly one wins, and
    /// the others learn the winner's. A crash after it leaves a name without a record.
    ///
    /// # Errors
    /// [`JournalError::Ceph`]; after ETIMEDOUT the write may still happen.
    pub fn reserve(&self, name: &CoName, uuid: &ObjectUuid) -> Result<Reserved, JournalError> {
        let key = self.kind.directory_key(name);
        for _attempt in 0..RESERVE_ATTEMPTS {
            let write = WriteOp::new()
                .create()
                .compare_omap(&key, None)
                .set_omap(&[(key.as_str(), self.entry(uuid).encode())]);
            match self.directory.write(&self.directory_object, &write) {
                Ok(()) => return Ok(Reserved::New),
                Err(error) if error.is_guard_failed() => {}
                Err(error) => {
                    let doing = format!("reserve the name \"{name}\"");
                    return Err(JournalError::ceph(doing, error));
                }
            }
            // Gone again before it could be read: whoever had it has just deleted it.
            if let Some(entry) = self.find(name)? {
                return Ok(Reserved::Taken(entry));
            }
        }
        Err(JournalError::RecordVanished { uuid: uuid.clone() })
    }

    /// The entry of a name, if it has one. One read.
    ///
    /// # Errors
    /// [`JournalError::Ceph`], [`JournalError::BrokenEntry`].
    pub fn find(&self, name: &CoName) -> Result<Option<DirectoryEntry>, JournalError> {
        let key = self.kind.directory_key(name);
        let Some(value) = self.directory_value(&key)? else {
            return Ok(None);
        };
        match DirectoryEntry::decode(&value) {
            Some(entry) => Ok(Some(entry)),
            None => Err(JournalError::BrokenEntry {
                object: self.directory_object.clone(),
                key,
            }),
        }
    }

    /// The record of a UUID: `None` when its object does not exist. One read.
    ///
    /// # Errors
    /// [`JournalError::Ceph`], [`JournalError::BrokenRecord`].
    pub fn load(&self, uuid: &ObjectUuid) -> Result<Option<Record>, JournalError> {
        let object = self.kind.record_object(uuid);
        match self.records.omap_get(&object, &Record::keys(self.kind)) {
            Ok(None) => Ok(None),
            Ok(Some(omap)) => Self::read_record(self.kind, uuid, &omap).map(Some),
            Err(error) => Err(JournalError::ceph(format!("read the record {uuid}"), error)),
        }
    }

    /// Reads a record from the omap of its object, however that was fetched.
    ///
    /// # Errors
    /// [`JournalError::BrokenRecord`].
    pub fn read_record(
        kind: Kind,
        uuid: &ObjectUuid,
        omap: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Record, JournalError> {
        Record::decode(kind, uuid, omap).map_err(|source| JournalError::BrokenRecord {
            object: kind.record_object(uuid),
            source,
        })
    }

    /// Makes the record's object with all its keys: `false` when the object exists. One write.
    ///
    /// # Errors
    /// [`JournalError::Ceph`]; after ETIMEDOUT the write may still happen.
    pub fn write_record(&self, uuid: &ObjectUuid, record: &Record) -> Result<bool, JournalError> {
        match self
            .records
            .write(&self.kind.record_object(uuid), Self::record_write(record))
        {
            Ok(()) => Ok(true),
            Err(error) if error.is_present() => Ok(false),
            Err(error) => Err(JournalError::ceph(
                format!("write the record {uuid}"),
                error,
            )),
        }
    }

    /// The write of [`Journal::write_record`], for callers that send it along with others.
    #[must_use]
    pub fn record_write(record: &Record) -> WriteOp {
        WriteOp::new().create_exclusive().set_omap(&record.encode())
    }

    /// Fills a record that a crash of ceph-csi left empty: `false` when it is not empty (any more).
    ///
    /// # Errors
    /// [`JournalError::Ceph`], [`JournalError::RecordVanished`].
    pub fn complete_record(
        &self,
        uuid: &ObjectUuid,
        record: &Record,
    ) -> Result<bool, JournalError> {
        let write = WriteOp::new()
            .assert_exists()
            .compare_omap(self.kind.name_key(), None)
            .compare_omap(key::MAKER, None)
            .set_omap(&record.encode());
        match self.records.write(&self.kind.record_object(uuid), &write) {
            Ok(()) => Ok(true),
            Err(error) if error.is_guard_failed() => Ok(false),
            Err(error) if error.is_absent() => {
                Err(JournalError::RecordVanished { uuid: uuid.clone() })
            }
            Err(error) => Err(JournalError::ceph(
                format!("complete the record {uuid}"),
                error,
            )),
        }
    }

    /// Records the image's id: from now on the volume counts as made. One write.
    ///
    /// # Errors
    /// [`JournalError::Ceph`]; [`JournalError::RecordVanished`] when `maker` is not the maker (any
    /// more), the record is gone, is not that of `name`, or is committed already.
    pub fn commit(
        &self,
        name: &CoName,
        uuid: &ObjectUuid,
        image: &ImageId,
        maker: &str,
    ) -> Result<(), JournalError> {
        let (object, write) = self.commit_write(name, uuid, image, maker);
        let outcome = self.records.write(&object, &write);
        outcome.map_err(|error| Self::commit_error(uuid, error))
    }

    /// Object and write of [`Journal::commit`], for callers that send it along with others.
    #[must_use]
    pub fn commit_write(
        &self,
        name: &CoName,
        uuid: &ObjectUuid,
        image: &ImageId,
        maker: &str,
    ) -> (String, WriteOp) {
        let write = WriteOp::new()
            .assert_exists()
            .compare_omap(self.kind.name_key(), Some(name.as_str().as_bytes()))
            .compare_omap(key::IMAGE_ID, None)
            .compare_omap(key::MAKER, Some(maker.as_bytes()))
            .set_omap(&[(key::IMAGE_ID, image.as_str())])
            .remove_omap_keys(&[key::MAKER, key::CLONE_OF]);
        (self.kind.record_object(uuid), write)
    }

    /// The error of a failed [`Journal::commit_write`].
    #[must_use]
    pub fn commit_error(uuid: &ObjectUuid, error: ceph::Error) -> JournalError {
        if error.is_absent() || error.is_guard_failed() {
            JournalError::RecordVanished { uuid: uuid.clone() }
        } else {
            JournalError::ceph(format!("record the image's id in {uuid}"), error)
        }
    }

    /// Makes `to` the maker of an uncommitted volume, if `from` still is: `false` otherwise. Of
    /// several who try exactly one succeeds, and the maker before can commit no more. One write.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn take_over(
        &self,
        uuid: &ObjectUuid,
        from: Option<&str>,
        to: &str,
    ) -> Result<bool, JournalError> {
        let write = WriteOp::new()
            .assert_exists()
            .compare_omap(key::IMAGE_ID, None)
            .compare_omap(key::MAKER, from.map(str::as_bytes))
            .set_omap(&[(key::MAKER, to)]);
        match self.records.write(&self.kind.record_object(uuid), &write) {
            Ok(()) => Ok(true),
            Err(error) if error.is_guard_failed() || error.is_absent() => Ok(false),
            Err(error) => Err(JournalError::ceph(
                format!("take over the record {uuid}"),
                error,
            )),
        }
    }

    /// Frees the name, if it still belongs to this UUID. One write when it does; idempotent.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn forget_name(&self, name: &CoName, uuid: &ObjectUuid) -> Result<(), JournalError> {
        self.start_forget_name(name, uuid)?.wait()
    }

    /// Begins [`Journal::forget_name`], so that something else can be done meanwhile.
    ///
    /// # Errors
    /// [`JournalError::Ceph`] when it could not be sent.
    pub fn start_forget_name<'j>(
        &'j self,
        name: &'j CoName,
        uuid: &'j ObjectUuid,
    ) -> Result<ForgettingName<'j>, JournalError> {
        let key = self.kind.directory_key(name);
        let write = forget(&key, &self.entry(uuid).encode());
        match self.directory.start_write(&self.directory_object, &write) {
            Ok(write) => Ok(ForgettingName {
                journal: self,
                name,
                uuid,
                write,
            }),
            Err(error) => Err(not_freed(name, error)),
        }
    }

    /// Goes on when the name did not have the value this journal writes: it is free, belongs to
    /// another volume, or has the other form of this one's.
    fn forget_other_form(&self, name: &CoName, uuid: &ObjectUuid) -> Result<(), JournalError> {
        let key = self.kind.directory_key(name);
        let Some(value) = self.directory_value(&key)? else {
            return Ok(());
        };
        if DirectoryEntry::decode(&value).is_none_or(|entry| entry.uuid != *uuid) {
            return Ok(());
        }
        let write = forget(&key, &value);
        match self.directory.write(&self.directory_object, &write) {
            Ok(()) => Ok(()),
            // Changed since it was read: whoever changed it has the name now.
            Err(error) if error.is_guard_failed() || error.is_absent() => Ok(()),
            Err(error) => Err(not_freed(name, error)),
        }
    }

    /// Removes the record's object. One write; idempotent.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn forget_record(&self, uuid: &ObjectUuid) -> Result<(), JournalError> {
        match self.records.remove(&self.kind.record_object(uuid)) {
            Ok(_was_there) => Ok(()),
            Err(error) => Err(JournalError::ceph(
                format!("remove the record {uuid}"),
                error,
            )),
        }
    }

    /// Removes the record of a volume that `maker` has not finished: `false` when it is another's,
    /// or committed. A record that is gone already counts as removed. One write.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn forget_unfinished(&self, uuid: &ObjectUuid, maker: &str) -> Result<bool, JournalError> {
        let write = Self::unfinished_by(maker).remove();
        match self.records.write(&self.kind.record_object(uuid), &write) {
            Ok(()) => Ok(true),
            Err(error) if error.is_absent() => Ok(true),
            Err(error) if error.is_guard_failed() => Ok(false),
            Err(error) => Err(JournalError::ceph(
                format!("remove the record {uuid}"),
                error,
            )),
        }
    }

    /// Takes `maker` out of a record that it has not committed, so that the record is again what
    /// it was before the maker came. One write; idempotent.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn disclaim(&self, uuid: &ObjectUuid, maker: &str) -> Result<(), JournalError> {
        let write = Self::unfinished_by(maker).remove_omap_keys(&[key::MAKER]);
        match self.records.write(&self.kind.record_object(uuid), &write) {
            Ok(()) => Ok(()),
            Err(error) if error.is_absent() || error.is_guard_failed() => Ok(()),
            Err(error) => Err(JournalError::ceph(
                format!("give back the record {uuid}"),
                error,
            )),
        }
    }

    /// The guard that `maker` still is the maker.
    fn unfinished_by(maker: &str) -> WriteOp {
        WriteOp::new()
            .assert_exists()
            .compare_omap(key::IMAGE_ID, None)
            .compare_omap(key::MAKER, Some(maker.as_bytes()))
    }

    /// Searches the whole directory for the name that owns a UUID.
    ///
    /// Only for records that do not name their owner, which a crash leaves behind: the cost grows
    /// with the number of volumes.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn search(&self, uuid: &ObjectUuid) -> Result<Option<CoName>, JournalError> {
        let mut after = None;
        loop {
            let page = self.page(after.as_deref(), SEARCH_PAGE)?;
            if let Some((name, _)) = page.entries.into_iter().find(|(_, e)| e.uuid == *uuid) {
                return Ok(Some(name));
            }
            match page.next {
                None => return Ok(None),
                next => after = next,
            }
        }
    }

    /// Up to `most` entries of the directory, from the beginning or where a page before ended.
    ///
    /// Keys that are no volume of ours are left out, so a page may hold fewer.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn page(&self, after: Option<&str>, most: u64) -> Result<DirectoryPage, JournalError> {
        let page = self
            .directory
            .omap_page(
                &self.directory_object,
                after.unwrap_or(""),
                self.kind.directory_prefix(),
                most,
            )
            .map_err(|error| JournalError::ceph("list the journal", error))?
            .unwrap_or_default();
        let next = if page.more {
            page.entries.last_key_value().map(|(key, _)| key.clone())
        } else {
            None
        };
        let read = |(key, value): (String, Vec<u8>)| {
            let name = CoName::from_record(key.strip_prefix(self.kind.directory_prefix())?).ok()?;
            Some((name, DirectoryEntry::decode(&value)?))
        };
        Ok(DirectoryPage {
            entries: page.entries.into_iter().filter_map(read).collect(),
            next,
        })
    }

    /// The entry that this journal writes for a UUID.
    fn entry(&self, uuid: &ObjectUuid) -> DirectoryEntry {
        DirectoryEntry {
            uuid: uuid.clone(),
            image_pool: self.image_pool,
        }
    }

    fn directory_value(&self, key: &str) -> Result<Option<Vec<u8>>, JournalError> {
        match self.directory.omap_get(&self.directory_object, &[key]) {
            Ok(omap) => Ok(omap.and_then(|mut omap| omap.remove(key))),
            Err(error) => Err(JournalError::ceph(format!("look up {key}"), error)),
        }
    }
}

/// A name on its way out, begun by [`Journal::start_forget_name`].
#[derive(Debug)]
#[must_use = "the outcome comes from `wait`"]
pub struct ForgettingName<'j> {
    journal: &'j Journal,
    name: &'j CoName,
    uuid: &'j ObjectUuid,
    write: StartedWrite,
}

impl ForgettingName<'_> {
    /// Waits for the end.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn wait(self) -> Result<(), JournalError> {
        match self.write.wait() {
            Ok(()) => Ok(()),
            Err(error) if error.is_absent() => Ok(()),
            Err(error) if error.is_guard_failed() => {
                self.journal.forget_other_form(self.name, self.uuid)
            }
            Err(error) => Err(not_freed(self.name, error)),
        }
    }
}

fn not_freed(name: &CoName, error: ceph::Error) -> JournalError {
    JournalError::ceph(format!("free the name \"{name}\""), error)
}

/// Removes a directory key, provided it still has this value.
fn forget(key: &str, value: &[u8]) -> WriteOp {
    WriteOp::new()
        .compare_omap(key, Some(value))
        .remove_omap_keys(&[key])
}
