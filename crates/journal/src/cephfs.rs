//! The journal of CephFS volumes, in the metadata pool of their file system.
//!
//! ```text
//!            reserve               write_record          subvolume, then commit
//!  (nothing) ───────▶ name → uuid ─────────────▶ + record ────────────────────▶ maker taken out
//!      ▲                   ▲ replace                 │ take_over
//!      │                   └─────────────────────────┘
//!      └──── forget_record ◀── record alone ◀── forget_name ◀── subvolume to the trash
//! ```
//!
//! Objects and keys are those of RBD's journal, but the directory is always in the records' own
//! pool, and a record has no id of what it stands for. So a volume counts as made when its record
//! names no maker: as ceph-csi's never do, whether it had got as far as the subvolume or not.
//!
//! **A UUID has one maker.** Who takes over from it never finishes the volume, but removes the
//! subvolume and replaces the UUID by its successor. A command of the maker before that arrives
//! late meets only what nobody will ever use.

mod record;

use ceph::{Io, StartedWrite, WriteOp};
use cuttle_model::{CoName, InstanceId, ObjectUuid};

pub use record::SubvolumeRecord;

use crate::entry::DirectoryEntry;
use crate::error::JournalError;
use crate::journal::{DirectoryPage, ForgettingName, Journal, Reserved};
use crate::layout::{Kind, key};

/// The journal of one file system and instance.
///
/// Cheap to clone. All methods block for at most the connection's time-outs.
#[derive(Debug, Clone)]
pub struct SubvolumeJournal {
    directory: Journal,
    directory_object: String,
    io: Io,
}

impl SubvolumeJournal {
    /// The journal in this pool and namespace.
    #[must_use]
    pub fn new(io: Io, instance: &InstanceId) -> Self {
        Self {
            directory: Journal::new(Kind::Volume, io.clone(), instance),
            directory_object: Kind::Volume.directory_object(instance),
            io,
        }
    }

    /// The pool and namespace.
    #[must_use]
    pub fn io(&self) -> &Io {
        &self.io
    }

    /// As [`Journal::reserve`].
    ///
    /// # Errors
    /// As [`Journal::reserve`].
    pub fn reserve(&self, name: &CoName, uuid: &ObjectUuid) -> Result<Reserved, JournalError> {
        self.directory.reserve(name, uuid)
    }

    /// As [`Journal::find`].
    ///
    /// # Errors
    /// As [`Journal::find`].
    pub fn find(&self, name: &CoName) -> Result<Option<DirectoryEntry>, JournalError> {
        self.directory.find(name)
    }

    /// As [`Journal::search`].
    ///
    /// # Errors
    /// As [`Journal::search`].
    pub fn search(&self, uuid: &ObjectUuid) -> Result<Option<CoName>, JournalError> {
        self.directory.search(uuid)
    }

    /// As [`Journal::page`].
    ///
    /// # Errors
    /// As [`Journal::page`].
    pub fn page(&self, after: Option<&str>, most: u64) -> Result<DirectoryPage, JournalError> {
        self.directory.page(after, most)
    }

    /// As [`Journal::forget_name`].
    ///
    /// # Errors
    /// As [`Journal::forget_name`].
    pub fn forget_name(&self, name: &CoName, uuid: &ObjectUuid) -> Result<(), JournalError> {
        self.directory.forget_name(name, uuid)
    }

    /// As [`Journal::start_forget_name`].
    ///
    /// # Errors
    /// As [`Journal::start_forget_name`].
    pub fn start_forget_name<'j>(
        &'j self,
        name: &'j CoName,
        uuid: &'j ObjectUuid,
    ) -> Result<ForgettingName<'j>, JournalError> {
        self.directory.start_forget_name(name, uuid)
    }

    /// As [`Journal::forget_record`].
    ///
    /// # Errors
    /// As [`Journal::forget_record`].
    pub fn forget_record(&self, uuid: &ObjectUuid) -> Result<(), JournalError> {
        self.directory.forget_record(uuid)
    }

    /// Gives the name the UUID `to` in place of `from`: `false` when it has another (any more).
    /// One write.
    ///
    /// # Errors
    /// [`JournalError::Ceph`]; after ETIMEDOUT the write may still happen.
    pub fn replace(
        &self,
        name: &CoName,
        from: &ObjectUuid,
        to: &ObjectUuid,
    ) -> Result<bool, JournalError> {
        let key = Kind::Volume.directory_key(name);
        let entry = |uuid: &ObjectUuid| DirectoryEntry::same_pool(uuid.clone()).encode();
        let write = WriteOp::new()
            .assert_exists()
            .compare_omap(&key, Some(&entry(from)))
            .set_omap(&[(key.as_str(), entry(to))]);
        match self.io.write(&self.directory_object, &write) {
            Ok(()) => Ok(true),
            Err(error) if error.is_guard_failed() || error.is_absent() => Ok(false),
            Err(error) => {
                let doing = format!("give the name \"{name}\" another volume");
                Err(JournalError::ceph(doing, error))
            }
        }
    }

    /// The record of a UUID: `None` when its object does not exist. One read.
    ///
    /// # Errors
    /// [`JournalError::Ceph`], [`JournalError::BrokenRecord`].
    pub fn load(&self, uuid: &ObjectUuid) -> Result<Option<SubvolumeRecord>, JournalError> {
        let object = Kind::Volume.record_object(uuid);
        match self.io.omap_get(&object, &SubvolumeRecord::KEYS) {
            Ok(None) => Ok(None),
            Ok(Some(omap)) => match SubvolumeRecord::decode(uuid, &omap) {
                Ok(record) => Ok(Some(record)),
                Err(source) => Err(JournalError::BrokenRecord { object, source }),
            },
            Err(error) => Err(JournalError::ceph(format!("read the record {uuid}"), error)),
        }
    }

    /// Makes the record's object with all its keys: `false` when the object exists. One write.
    ///
    /// # Errors
    /// [`JournalError::Ceph`]; after ETIMEDOUT the write may still happen.
    pub fn write_record(
        &self,
        uuid: &ObjectUuid,
        record: &SubvolumeRecord,
    ) -> Result<bool, JournalError> {
        let write = WriteOp::new().create_exclusive().set_omap(&record.encode());
        match self.write(uuid, &write) {
            Ok(()) => Ok(true),
            Err(error) if error.is_present() => Ok(false),
            Err(error) => Err(JournalError::ceph(
                format!("write the record {uuid}"),
                error,
            )),
        }
    }

    /// Fills a record that a crash of ceph-csi left empty: `false` when it is not empty (any more),
    /// or gone.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn complete_record(
        &self,
        uuid: &ObjectUuid,
        record: &SubvolumeRecord,
    ) -> Result<bool, JournalError> {
        let write = WriteOp::new()
            .assert_exists()
            .compare_omap(Kind::Volume.name_key(), None)
            .compare_omap(key::MAKER, None)
            .set_omap(&record.encode());
        guarded(self.write(uuid, &write))
            .map_err(|error| JournalError::ceph(format!("complete the record {uuid}"), error))
    }

    /// Takes the maker out of the record: from now on the volume counts as made. One write.
    ///
    /// # Errors
    /// [`JournalError::Ceph`]; [`JournalError::RecordVanished`] when `maker` is not the maker (any
    /// more), or the record is gone or not that of `name`.
    pub fn commit(
        &self,
        name: &CoName,
        uuid: &ObjectUuid,
        maker: &str,
    ) -> Result<(), JournalError> {
        self.start_commit(name, uuid, maker)?.wait()
    }

    /// Begins [`SubvolumeJournal::commit`], so that something else can be done meanwhile.
    ///
    /// # Errors
    /// [`JournalError::Ceph`] when it could not be sent.
    pub fn start_commit<'j>(
        &'j self,
        name: &CoName,
        uuid: &'j ObjectUuid,
        maker: &str,
    ) -> Result<Committing<'j>, JournalError> {
        let write = Self::made_by(maker)
            .compare_omap(Kind::Volume.name_key(), Some(name.as_str().as_bytes()))
            .remove_omap_keys(&[key::MAKER]);
        let object = Kind::Volume.record_object(uuid);
        match self.io.start_write(&object, &write) {
            Ok(write) => Ok(Committing { uuid, write }),
            Err(error) => Err(not_committed(uuid, error)),
        }
    }

    /// Makes `to` the maker of an unfinished volume, if `from` still is: `false` otherwise. Of
    /// several who try exactly one succeeds, and the maker before can commit no more. One write.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn take_over(&self, uuid: &ObjectUuid, from: &str, to: &str) -> Result<bool, JournalError> {
        let write = Self::made_by(from).set_omap(&[(key::MAKER, to)]);
        guarded(self.write(uuid, &write))
            .map_err(|error| JournalError::ceph(format!("take over the record {uuid}"), error))
    }

    /// Removes the record of a volume that `maker` has not finished: `false` when it is another's,
    /// or committed. A record that is gone already counts as removed. One write.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn forget_unfinished(&self, uuid: &ObjectUuid, maker: &str) -> Result<bool, JournalError> {
        match self.write(uuid, &Self::made_by(maker).remove()) {
            Ok(()) => Ok(true),
            Err(error) if error.is_absent() => Ok(true),
            Err(error) if error.is_guard_failed() => Ok(false),
            Err(error) => Err(JournalError::ceph(
                format!("remove the record {uuid}"),
                error,
            )),
        }
    }

    /// Removes the record of a volume whose subvolume is gone, unless somebody makes it anew.
    /// Idempotent. One write.
    ///
    /// # Errors
    /// [`JournalError::Ceph`].
    pub fn forget_gone(&self, uuid: &ObjectUuid) -> Result<(), JournalError> {
        let write = WriteOp::new()
            .assert_exists()
            .compare_omap(key::MAKER, None)
            .remove();
        match guarded(self.write(uuid, &write)) {
            Ok(_removed) => Ok(()),
            Err(error) => Err(JournalError::ceph(
                format!("remove the record {uuid}"),
                error,
            )),
        }
    }

    /// The guard that `maker` still is the maker.
    fn made_by(maker: &str) -> WriteOp {
        WriteOp::new()
            .assert_exists()
            .compare_omap(key::MAKER, Some(maker.as_bytes()))
    }

    fn write(&self, uuid: &ObjectUuid, write: &WriteOp) -> Result<(), ceph::Error> {
        self.io.write(&Kind::Volume.record_object(uuid), write)
    }
}

/// A commit under way, begun by [`SubvolumeJournal::start_commit`].
#[derive(Debug)]
#[must_use = "the outcome comes from `wait`"]
pub struct Committing<'j> {
    uuid: &'j ObjectUuid,
    write: StartedWrite,
}

impl Committing<'_> {
    /// Waits for the end.
    ///
    /// # Errors
    /// As [`SubvolumeJournal::commit`].
    pub fn wait(self) -> Result<(), JournalError> {
        match guarded(self.write.wait()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(JournalError::RecordVanished {
                uuid: self.uuid.clone(),
            }),
            Err(error) => Err(not_committed(self.uuid, error)),
        }
    }
}

fn not_committed(uuid: &ObjectUuid, error: ceph::Error) -> JournalError {
    JournalError::ceph(format!("commit the record {uuid}"), error)
}

/// Whether a guarded write was made; that its object is gone is a guard that does not hold.
fn guarded(outcome: Result<(), ceph::Error>) -> Result<bool, ceph::Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.is_guard_failed() || error.is_absent() => Ok(false),
        Err(error) => Err(error),
    }
}
