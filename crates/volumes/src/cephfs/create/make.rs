//! Making record and subvolume, and committing them.

use std::time::{Duration, Instant};

use ceph::{StartedInfo, SubvolumeInfo, Subvolumes};
use cuttle_journal::SubvolumeRecord;
use cuttle_model::{ByteSize, ObjectUuid, SubvolumeName};
use tracing::warn;

use super::{Attempt, CreateError, Creation};
use crate::cephfs::error::FsError;

/// When so much time has passed since the record was written, it is looked at again before a
/// command is sent: another may have taken over.
const LONG: Duration = Duration::from_secs(1);

/// What became of the command that makes a subvolume.
enum Commanded<'s> {
    /// It is made, and perhaps asked for.
    Made(Option<StartedInfo<'s>>),
    /// The manager has refused.
    NotMade(FsError),
    /// The name has another volume by now.
    Unwanted,
}

impl Creation<'_> {
    /// Makes record and subvolume of a UUID that never had a maker.
    pub(super) fn make(&self, uuid: &ObjectUuid) -> Result<Attempt, CreateError> {
        let subvolume = self.subvolume_name(uuid);
        let record = self.record(&subvolume);
        let begun = Instant::now();
        match self.place.journal.write_record(uuid, &record) {
            Ok(true) => self.make_subvolume(uuid, &subvolume, begun),
            // Another process has taken the reservation up: so do we.
            Ok(false) => Ok(Attempt::Again),
            Err(error) => self.undo(self.journal_failed(error), uuid, &subvolume),
        }
    }

    /// As the maker: makes the subvolume and commits it.
    pub(super) fn make_subvolume(
        &self,
        uuid: &ObjectUuid,
        subvolume: &SubvolumeName,
        begun: Instant,
    ) -> Result<Attempt, CreateError> {
        if begun.elapsed() > LONG && !self.is_maker(uuid)? {
            return self.abandon(uuid, subvolume);
        }
        let made = match self.command(subvolume, uuid)? {
            Commanded::NotMade(FsError::GroupMissing { .. })
                if self.place.settings.cephfs.create_subvolume_group =>
            {
                match self.make_group() {
                    Ok(()) => self.command(subvolume, uuid)?,
                    Err(error) => Commanded::NotMade(error),
                }
            }
            made @ (Commanded::Made(_) | Commanded::NotMade(_) | Commanded::Unwanted) => made,
        };
        match made {
            Commanded::Made(asked) => self.finish(uuid, subvolume, asked),
            Commanded::NotMade(error) => self.undo(error.into(), uuid, subvolume),
            Commanded::Unwanted => self.abandon(uuid, subvolume),
        }
    }

    /// Has the subvolume made and asks for it right behind; looks meanwhile whether the name is
    /// still this volume's. Once the record is there, nobody takes the name away without taking
    /// the record over.
    fn command<'s>(
        &self,
        subvolume: &'s SubvolumeName,
        uuid: &ObjectUuid,
    ) -> Result<Commanded<'s>, CreateError> {
        let subvolumes = &self.place.subvolumes;
        let pool = self.request.parsed.parameters.attach.pool.as_ref();
        let started = subvolumes.start_create(subvolume, self.quota, pool);
        let entry = self.place.journal.find(&self.request.name);
        let (made, asked) = match started {
            Ok(started) => {
                let asked = subvolumes.try_start_info(subvolume);
                (started.wait(), asked)
            }
            Err(error) => (Err(error), None),
        };
        // The name first: without it nothing that was made can be found again.
        let entry = entry.map_err(|error| {
            self.journal_failed(error)
                .left_to_repeat(&self.request.name)
        })?;
        if entry.is_none_or(|entry| entry.uuid != *uuid) {
            return Ok(Commanded::Unwanted);
        }
        match made {
            Ok(_) => Ok(Commanded::Made(asked)),
            Err(error) => {
                // Finding out what the error means takes commands of its own.
                drop(asked);
                let doing = format!("make subvolume {subvolume}");
                Ok(Commanded::NotMade(self.place.explain(&doing, error)))
            }
        }
    }

    fn make_group(&self) -> Result<(), FsError> {
        let (fs, group) = (&self.place.fs.name, self.place.subvolumes.group());
        let made = self.place.cluster.create_subvolume_group(fs, group);
        made.map_err(|error| {
            self.place
                .explain(&format!("make subvolume group {group}"), error)
        })
    }

    /// Labels and commits a subvolume that was made, and reads its quota back.
    fn finish(
        &self,
        uuid: &ObjectUuid,
        subvolume: &SubvolumeName,
        mut asked: Option<StartedInfo<'_>>,
    ) -> Result<Attempt, CreateError> {
        let name = &self.request.name;
        let mut early = None;
        if !self.metadata.is_empty() {
            // Its place among the commands is free again before labels wait for theirs.
            early = asked.take().map(StartedInfo::wait);
            if let Err(error) = self.label_new(subvolume) {
                return self.undo(error, uuid, subvolume);
            }
        }
        let journal = &self.place.journal;
        let started = journal.start_commit(name, uuid, &self.maker);
        let early = early.or_else(|| asked.map(StartedInfo::wait));
        let info = self.read_back(subvolume, early);
        match started.and_then(cuttle_journal::Committing::wait) {
            Ok(()) => {}
            Err(error) => return self.undo(self.journal_failed(error), uuid, subvolume),
        }
        // Committed is made, and perhaps handed out by another process already.
        let info = info.map_err(|cause| CreateError::NotReadBack {
            name: name.clone(),
            cause: Box::new(cause),
        })?;
        let info = if info.quota == self.quota {
            info
        } else {
            self.keep_quota(subvolume, &info)?
        };
        match &info.path {
            Some(path) => Ok(Attempt::Done(
                self.created(uuid, subvolume, path, info.quota),
            )),
            // Deleted since by somebody's hand.
            None => Ok(Attempt::Again),
        }
    }

    /// What the cluster says of the subvolume, by the answer to a question that was sent right
    /// behind the command if that tells what is wanted: it may have been carried out before.
    fn read_back(
        &self,
        subvolume: &SubvolumeName,
        early: Option<Result<SubvolumeInfo, ceph::Error>>,
    ) -> Result<SubvolumeInfo, FsError> {
        match early {
            Some(Ok(info)) if info.quota == self.quota && info.is_complete() => Ok(info),
            Some(Err(error)) if !error.is_absent() => Err(self.not_seen(subvolume, error)),
            Some(_) | None => self.look_at(subvolume),
        }
    }

    fn look_at(&self, subvolume: &SubvolumeName) -> Result<SubvolumeInfo, FsError> {
        let info = self.place.subvolumes.info(subvolume);
        info.map_err(|error| self.not_seen(subvolume, error))
    }

    fn not_seen(&self, subvolume: &SubvolumeName, error: ceph::Error) -> FsError {
        let doing = format!("look at subvolume {subvolume}");
        self.place.explain(&doing, error)
    }

    /// The quota is not what was asked for: sets it once more, and looks again.
    fn keep_quota(
        &self,
        subvolume: &SubvolumeName,
        info: &SubvolumeInfo,
    ) -> Result<SubvolumeInfo, CreateError> {
        let name = &self.request.name;
        let not_kept = |found: Option<ByteSize>| CreateError::QuotaNotKept {
            name: name.clone(),
            found: found.map_or_else(|| "none".to_owned(), |quota| quota.to_string()),
            wanted: self
                .quota
                .map_or_else(|| "none".to_owned(), |quota| quota.to_string()),
        };
        let Some(wanted) = self.quota else {
            return Err(not_kept(info.quota));
        };
        warn!(volume.name = %name, %subvolume, found = ?info.quota, %wanted,
            "the cluster reports another quota than was set; setting it again");
        let unread = |cause| CreateError::NotReadBack {
            name: name.clone(),
            cause: Box::new(cause),
        };
        let resized = self.place.subvolumes.resize(subvolume, wanted);
        resized.map_err(|error| {
            unread(
                self.place
                    .explain(&format!("set the quota of {subvolume}"), error),
            )
        })?;
        let info = self.look_at(subvolume).map_err(unread)?;
        if info.quota == self.quota {
            Ok(info)
        } else {
            Err(not_kept(info.quota))
        }
    }

    fn label_new(&self, subvolume: &SubvolumeName) -> Result<(), CreateError> {
        if self.can_label()? {
            self.label(subvolume, self.metadata.iter())
        } else {
            Ok(())
        }
    }

    /// Whether the cluster takes metadata of subvolumes; says once that it does not.
    pub(super) fn can_label(&self) -> Result<bool, CreateError> {
        let offered = self.place.cluster.mgr_offers(Subvolumes::SET_METADATA);
        let offered = offered.map_err(|error| {
            let doing = "ask for the manager's commands";
            self.place.explain(doing, error)
        })?;
        if !offered {
            self.controller.leave_out(
                &self.place.settings.id,
                "names of claim and volume on subvolumes (--setmetadata)",
                Subvolumes::SET_METADATA,
            );
        }
        Ok(offered)
    }

    /// Sets entries of the subvolume's metadata.
    pub(super) fn label<'m>(
        &self,
        subvolume: &SubvolumeName,
        entries: impl Iterator<Item = &'m (String, String)>,
    ) -> Result<(), CreateError> {
        let entries = entries.map(|(key, value)| (key.as_str(), value.as_str()));
        let set = self.place.subvolumes.set_metadata(subvolume, entries);
        set.map_err(|(key, error)| {
            let cause = self.place.explain(&format!("set {key}"), error);
            CreateError::Unlabelled {
                name: self.request.name.clone(),
                subvolume: subvolume.clone(),
                cause: Box::new(cause),
            }
        })
    }

    /// Whether this creation still is the maker.
    fn is_maker(&self, uuid: &ObjectUuid) -> Result<bool, CreateError> {
        let record = self.place.journal.load(uuid);
        let record = record.map_err(|error| {
            self.journal_failed(error)
                .left_to_repeat(&self.request.name)
        })?;
        Ok(record.is_some_and(|record| record.maker.as_deref() == Some(&self.maker)))
    }

    /// The name the subvolume of a UUID gets.
    pub(super) fn subvolume_name(&self, uuid: &ObjectUuid) -> SubvolumeName {
        self.request.parsed.parameters.prefix.subvolume_name(uuid)
    }

    /// The record of a volume with this subvolume, made by this creation.
    pub(super) fn record(&self, subvolume: &SubvolumeName) -> SubvolumeRecord {
        SubvolumeRecord::new(
            self.request.name.clone(),
            subvolume.clone(),
            self.request.parsed.metadata.pvc_namespace.clone(),
            self.maker.clone(),
        )
    }
}
