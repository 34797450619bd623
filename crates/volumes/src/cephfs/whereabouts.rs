//! What the manager's answer means: which of file system, group and subvolume is missing, whether
//! its module runs, whether the cluster is too old.
//!
//! Only JSON is asked and decided on, and only after something has failed. "Gone" takes a positive
//! answer about every place where a volume could be.

use ceph::{Cluster, FsRef, SubvolumeInfo, Subvolumes};
use cuttle_journal::layout::Kind;
use cuttle_model::{
    ClusterSettings, Credentials, FsId, ObjectUuid, PoolName, SubvolumeGroup, SubvolumeName,
};
use serde_json::{Value, json};

use super::error::FsError;
use super::place::Place;
use crate::reach::ReachError;

/// A command that every manager with the module has.
const CREATE: &str = "fs subvolume create";

/// Where a subvolume is.
#[derive(Debug)]
pub(super) enum Whereabouts {
    /// In the configured group.
    Here(SubvolumeInfo),
    /// In another group.
    Elsewhere(SubvolumeGroup),
    /// In no group of the file system.
    Nowhere,
}

impl Place {
    /// Looks for a subvolume, in the configured group first. That it is nowhere is the cluster's
    /// own word about every group.
    pub(super) fn look_for(&self, name: &SubvolumeName) -> Result<Whereabouts, FsError> {
        self.located(name, self.subvolumes.info(name))
    }

    /// Where a subvolume is, by the answer to the question for it in the configured group.
    pub(super) fn located(
        &self,
        name: &SubvolumeName,
        asked: Result<SubvolumeInfo, ceph::Error>,
    ) -> Result<Whereabouts, FsError> {
        match asked {
            Ok(info) => Ok(Whereabouts::Here(info)),
            Err(absent) if absent.is_absent() => match self.group_of(name)? {
                Some(group) => Ok(Whereabouts::Elsewhere(group)),
                None => Ok(Whereabouts::Nowhere),
            },
            Err(error) => Err(self.explain(&format!("look at subvolume {name}"), error)),
        }
    }

    /// The group, other than the configured one, that has the subvolume.
    pub(super) fn group_of(&self, name: &SubvolumeName) -> Result<Option<SubvolumeGroup>, FsError> {
        for group in self.groups()? {
            if group == *self.subvolumes.group() {
                continue;
            }
            let other = self.cluster.subvolumes(&self.fs.name, &group);
            match other.info(name) {
                Ok(_there) => return Ok(Some(group)),
                Err(absent) if absent.is_absent() => {}
                Err(error) => {
                    return Err(self.explain(&format!("look for subvolume {name}"), error));
                }
            }
        }
        Ok(None)
    }

    fn groups(&self) -> Result<Vec<SubvolumeGroup>, FsError> {
        match self.cluster.subvolume_groups(&self.fs.name) {
            Ok(groups) => Ok(groups),
            Err(absent) if absent.is_absent() => Err(self.without_groups(absent)),
            Err(error) => Err(self.explain("list subvolume groups", error)),
        }
    }

    /// Nothing of the module's is known there: the file system is gone or renamed, or no group was
    /// ever made in it.
    fn without_groups(&self, source: ceph::Error) -> FsError {
        match self.cluster.file_systems_now() {
            Ok(now) if now.iter().any(|fs| fs.name == self.fs.name) => self.group_missing(),
            Ok(_) => ReachError::FsMissing {
                cluster: self.settings.id.clone(),
                fs: self.fs.name.clone(),
            }
            .into(),
            Err(_) => FsError::Failed {
                doing: "list subvolume groups".to_owned(),
                source,
            },
        }
    }

    pub(super) fn group_missing(&self) -> FsError {
        FsError::GroupMissing {
            fs: self.fs.name.clone(),
            group: self.subvolumes.group().clone(),
        }
    }

    /// The subvolumes of another group.
    pub(super) fn in_group(&self, group: &SubvolumeGroup) -> Subvolumes {
        self.cluster.subvolumes(&self.fs.name, group)
    }
}

/// The error of a command that failed.
pub(super) fn explain(place: &Place, doing: &str, source: ceph::Error) -> FsError {
    let doing = doing.to_owned();
    match source.errno().get() {
        libc::ETIMEDOUT => FsError::Silent { doing, source },
        libc::ENOENT => missing(place, doing, source),
        libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EIO | libc::EAGAIN => {
            module_or_age(place, doing, source)
        }
        _ => FsError::Failed { doing, source },
    }
}

/// Which of the three the manager has not found.
fn missing(place: &Place, doing: String, source: ceph::Error) -> FsError {
    match place.cluster.subvolume_groups(&place.fs.name) {
        Ok(groups) if groups.contains(place.subvolumes.group()) => {
            FsError::Failed { doing, source }
        }
        Ok(_) => place.group_missing(),
        Err(absent) if absent.is_absent() => place.without_groups(absent),
        Err(_) => FsError::Failed { doing, source },
    }
}

/// Whether the module runs at all, and if so, whether the cluster can do what was asked.
fn module_or_age(place: &Place, doing: String, source: ceph::Error) -> FsError {
    let runs = match place.cluster.mgr_commands_now() {
        Ok(commands) => commands.contains(CREATE),
        Err(_) => return FsError::Failed { doing, source },
    };
    if !runs {
        return FsError::ModuleDown { doing, source };
    }
    if !source.is_unsupported() {
        return FsError::Failed { doing, source };
    }
    FsError::Unsupported {
        doing,
        releases: format!(
            "the cluster runs {}, this client has {}",
            releases(&place.cluster),
            ceph::versions()
        )
        .into(),
        source,
    }
}

/// The releases that the cluster's daemons run, as they name them.
fn releases(cluster: &Cluster) -> String {
    let unknown = || "of an unknown release".to_owned();
    let Ok(reply) = cluster.mon_query(&json!({"prefix": "versions"})) else {
        return unknown();
    };
    let overall = reply.json.get("overall").and_then(Value::as_object);
    let names: Vec<&str> = overall
        .into_iter()
        .flat_map(|overall| overall.keys())
        .map(|name| name.strip_prefix("ceph version ").unwrap_or(name))
        .collect();
    if names.is_empty() {
        unknown()
    } else {
        names.join(", ")
    }
}

/// Proves that a volume is gone whose file system is not in the map.
///
/// The monitors leave out of the map what a user may not know of. So the pools are looked at that
/// are marked as some file system's metadata: none may have the volume's record.
pub(super) fn prove_gone(
    cluster: &Cluster,
    settings: &ClusterSettings,
    number: FsId,
    uuid: &ObjectUuid,
    credentials: &Credentials,
) -> Result<(), FsError> {
    let failed = |doing: String| {
        move |source: ceph::Error| FsError::from(ReachError::Ceph { doing, source })
    };
    let reply = cluster
        .mon_query(&json!({"prefix": "osd pool application get"}))
        .map_err(failed("look for pools of file systems".to_owned()))?;
    for (pool, fs) in metadata_pools(&reply.json) {
        let known = FsRef::Name(&fs);
        // A file system of another number: not the volume's.
        let visible = cluster.file_system(known);
        let visible =
            visible.map_err(|error| FsError::asking_for_file_systems(credentials, error))?;
        if visible.is_some() {
            continue;
        }
        let hidden = || FsError::FsHidden {
            number,
            pool: pool.clone(),
            user: credentials.user.clone(),
        };
        let io = match cluster.io(&pool, &settings.cephfs.namespace) {
            Ok(io) => io,
            Err(absent) if absent.is_absent() => continue,
            Err(error) => return Err(failed(format!("open pool {pool}"))(error)),
        };
        let object = Kind::Volume.record_object(uuid);
        match io.omap_get(&object, &[Kind::Volume.name_key()]) {
            Ok(None) => {}
            Ok(Some(_record)) => return Err(hidden()),
            Err(denied) if denied.is_denied() => return Err(hidden()),
            Err(error) => return Err(failed(format!("look into pool {pool}"))(error)),
        }
    }
    Ok(())
}

/// The pools marked as metadata of a file system, and its name.
fn metadata_pools(applications: &Value) -> Vec<(PoolName, cuttle_model::FsName)> {
    let pools = applications.as_object().into_iter().flatten();
    pools
        .filter_map(|(pool, applications)| {
            let fs = applications.get("cephfs")?.get("metadata")?.as_str()?;
            Some((
                PoolName::new(pool.as_str()).ok()?,
                cuttle_model::FsName::new(fs).ok()?,
            ))
        })
        .collect()
}
