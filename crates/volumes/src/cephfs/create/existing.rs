//! Taking up a name that is taken: a finished volume, or what a crash or another process has left.

use std::thread;
use std::time::{Duration, Instant};

use cuttle_journal::{JournalError, SubvolumeRecord};
use cuttle_model::{ObjectUuid, SubvolumeName};
use tracing::{debug, warn};

use super::{Attempt, CreateError, Creation};
use crate::cephfs::whereabouts::Whereabouts;

/// How often a volume that another process is making is looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

impl Creation<'_> {
    /// Goes on from where whoever took the name has got to.
    pub(super) fn take_up(&self, uuid: &ObjectUuid) -> Result<Attempt, CreateError> {
        let Some(record) = self.load(uuid)? else {
            return self.without_record(uuid);
        };
        match (&record.co_name, &record.maker) {
            (Some(recorded), _) if *recorded != self.request.name => {
                Err(self.journal_failed(JournalError::ForeignRecord {
                    name: self.request.name.clone(),
                    uuid: uuid.clone(),
                    recorded: recorded.clone(),
                }))
            }
            (Some(_), None) => self.committed(uuid, &record),
            (_, Some(maker)) => self.unfinished(uuid, &record, maker),
            (None, None) => {
                // A crash of ceph-csi between the name and the record's keys, before any subvolume.
                let begun = Instant::now();
                let subvolume = self.subvolume_name(uuid);
                let record = self.record(&subvolume);
                let filled = self.place.journal.complete_record(uuid, &record);
                if filled.map_err(|error| self.journal_failed(error))? {
                    self.make_subvolume(uuid, &subvolume, begun)
                } else {
                    Ok(Attempt::Again)
                }
            }
        }
    }

    /// A name without a record: a crash right after the name was taken, or a creation that has got
    /// no further yet. Whoever writes the record is the maker.
    fn without_record(&self, uuid: &ObjectUuid) -> Result<Attempt, CreateError> {
        self.forget_predecessor(uuid)?;
        let subvolume = self.subvolume_name(uuid);
        if let Whereabouts::Nowhere = self.place.look_for(&subvolume)? {
            return self.make(uuid);
        }
        // A creation writes the record first, so it is somebody else's, and its data with it.
        if self.load(uuid)?.is_none() {
            warn!(volume.name = %self.request.name, %subvolume,
                "a subvolume without a record has the name of the volume's; leaving it alone");
            let freed = self.place.journal.forget_name(&self.request.name, uuid);
            freed.map_err(|error| self.journal_failed(error))?;
        }
        Ok(Attempt::Again)
    }

    /// Removes the record of the UUID that this one has replaced, if whoever replaced it died
    /// before doing so.
    fn forget_predecessor(&self, uuid: &ObjectUuid) -> Result<(), CreateError> {
        let Some(before) = uuid.predecessor() else {
            return Ok(());
        };
        let record = self.load(&before)?;
        let named = |record: &SubvolumeRecord| record.co_name.as_ref() == Some(&self.request.name);
        let maker = record.filter(named).and_then(|record| record.maker);
        if let Some(maker) = maker {
            let removed = self.place.journal.forget_unfinished(&before, &maker);
            removed.map_err(|error| self.journal_failed(error))?;
        }
        Ok(())
    }

    /// A finished volume.
    fn committed(
        &self,
        uuid: &ObjectUuid,
        record: &SubvolumeRecord,
    ) -> Result<Attempt, CreateError> {
        if let Some(store) = &record.kms_id {
            return self.incompatible("encryption", &format!("key store {store}"), &"none");
        }
        if let Some(snapshot) = &record.backing_snapshot {
            return self.incompatible("content", &format!("snapshot {snapshot}"), &"none");
        }
        let subvolume = &record.subvolume;
        let info = match self.place.look_for(subvolume)? {
            Whereabouts::Here(info) => info,
            Whereabouts::Elsewhere(group) => {
                let wanted = self.place.subvolumes.group();
                return self.incompatible("subvolume group", &group, wanted);
            }
            Whereabouts::Nowhere => return self.gone(uuid, record),
        };
        let Some(path) = info.path.as_ref().filter(|_| info.is_complete()) else {
            return Err(crate::cephfs::FsError::NotReady {
                subvolume: subvolume.clone(),
                state: info.state,
            }
            .into());
        };
        self.check_fit(&info)?;
        self.label_existing(subvolume)?;
        Ok(Attempt::Done(
            self.created(uuid, subvolume, path, info.quota),
        ))
    }

    fn label_existing(&self, subvolume: &SubvolumeName) -> Result<(), CreateError> {
        if self.metadata.is_empty() || !self.can_label()? {
            return Ok(());
        }
        let known = self.place.subvolumes.metadata(subvolume);
        let known = known.map_err(|error| {
            let doing = format!("read the metadata of {subvolume}");
            self.place.explain(&doing, error)
        })?;
        let missing = |(key, value): &&(String, String)| known.get(key) != Some(value);
        self.label(subvolume, self.metadata.iter().filter(missing))
    }

    /// A record without a maker whose subvolume is nowhere: ceph-csi has got no further, or is
    /// about to make it; or a delete was cut off. When nothing moves, there is no volume any more:
    /// the name is freed. The record goes after it, for a delete by the handle finds it.
    fn gone(&self, uuid: &ObjectUuid, record: &SubvolumeRecord) -> Result<Attempt, CreateError> {
        if !self.stands_still(uuid, record)? {
            return Ok(Attempt::Again);
        }
        let subvolume = &record.subvolume;
        if !matches!(self.place.look_for(subvolume)?, Whereabouts::Nowhere) {
            return Ok(Attempt::Again);
        }
        warn!(volume.name = %self.request.name, %subvolume,
            "the volume's subvolume is gone; freeing its name");
        let journal = &self.place.journal;
        let freed = journal.forget_name(&self.request.name, uuid);
        freed.map_err(|error| self.journal_failed(error))?;
        let removed = journal.forget_gone(uuid);
        removed.map_err(|error| self.journal_failed(error))?;
        Ok(Attempt::Again)
    }

    /// A volume that another creation is making, or was when it died: waits for its commit, and
    /// when its maker has been the same for too long, removes what it has made and goes on under
    /// the UUID's successor.
    fn unfinished(
        &self,
        uuid: &ObjectUuid,
        record: &SubvolumeRecord,
        maker: &str,
    ) -> Result<Attempt, CreateError> {
        if !self.stands_still(uuid, record)? {
            return Ok(Attempt::Again);
        }
        let (journal, name) = (&self.place.journal, &self.request.name);
        let taken = journal.take_over(uuid, maker, &self.maker);
        if !taken.map_err(|error| self.journal_failed(error))? {
            return Ok(Attempt::Again);
        }
        debug!(volume.name = %name, "taking over an unfinished creation");
        self.remove_subvolume(&record.subvolume)?;
        match uuid.successor() {
            Some(successor) => {
                let replaced = journal.replace(name, uuid, &successor);
                replaced.map_err(|error| self.journal_failed(error))?;
            }
            None => {
                let freed = journal.forget_name(name, uuid);
                freed.map_err(|error| self.journal_failed(error))?;
            }
        }
        let removed = journal.forget_unfinished(uuid, &self.maker);
        removed.map_err(|error| self.journal_failed(error))?;
        Ok(Attempt::Again)
    }

    /// Watches a record: whether it stays as it is for as long as a living process would not need.
    fn stands_still(
        &self,
        uuid: &ObjectUuid,
        record: &SubvolumeRecord,
    ) -> Result<bool, CreateError> {
        let begun = Instant::now();
        while begun.elapsed() < self.controller.settings.take_over_after {
            thread::sleep(LOOK_PAUSE);
            if self.load(uuid)?.as_ref() != Some(record) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn load(&self, uuid: &ObjectUuid) -> Result<Option<SubvolumeRecord>, CreateError> {
        let record = self.place.journal.load(uuid);
        record.map_err(|error| self.journal_failed(error))
    }
}
