//! NodeStageVolume: mount the volume at the staging path.

use std::borrow::Cow;

use cuttle_host::{AbsolutePath, EntryKind, Mount};
use cuttle_keeper::{Adopted, Phase, Post, Status};
use cuttle_model::Class;
use tracing::{info, warn};

use super::keeping::KeepError;
use super::node::CephfsNode;
use super::options;
use super::request::StageVolume;
use super::seen::{described, is_cephfs, is_fuse};
use super::start::{Heritage, StartError};
use crate::host_failure::HostFailure;
use crate::place::PlaceError;
use crate::verdict::{Verdict, explain_by_verdict};

/// How often it is looked again when a mount heals or ends while it is looked at.
const ROUNDS: usize = 3;

/// Why a volume could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The staging path cannot be used.
    #[error("the staging path cannot be used")]
    Place(#[source] PlaceError),
    /// The volume is staged for readers only.
    #[error("{path} shows the volume read-only, but it is to be written")]
    StagedOtherwise {
        /// The staging path.
        path: AbsolutePath,
    },
    /// The volume could not be mounted.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The keeper of a mount that is there could not be dealt with.
    #[error("could not take over the mount that is there")]
    Keep(#[source] KeepError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl StageError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Place(source) => Verdict::Of(source),
            Self::StagedOtherwise { .. } => Verdict::Own(1555, Class::Unmet),
            Self::Start(source) => Verdict::Of(source),
            Self::Keep(source) => Verdict::Of(source),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::StagedOtherwise { .. } => {
                Some("unstage the volume, then repeat the request".into())
            }
            Self::Place(_) | Self::Start(_) | Self::Keep(_) | Self::Host(_) => None,
        }
    }
}

explain_by_verdict!(StageError);

/// What is to be done about what there is.
enum Next {
    /// Nothing: the volume is staged.
    Staged,
    /// Something has just changed.
    LookAgain,
    /// The place is free.
    Start(Heritage),
    /// A mount works that nobody keeps.
    Adopt(Adopted),
}

impl CephfsNode {
    /// Stages a volume.
    ///
    /// # Guarantees
    /// The mount answers when this returns, and shows the quota that the cluster has for the
    /// volume. A mount that has died is replaced, here and at every target.
    ///
    /// # Idempotency
    /// A volume that is staged is a success; the cluster is not asked then.
    ///
    /// # Errors
    /// [`StageError`]; nothing is mounted then.
    pub fn stage(&self, request: &StageVolume) -> Result<(), StageError> {
        let staging = self.real_path(&request.staging_path);
        let staging = staging.map_err(StageError::Place)?;
        let missing = || {
            let path = request.staging_path.display().to_string();
            StageError::Place(PlaceError::StagingMissing { path })
        };
        let staging = staging.ok_or_else(missing)?;
        let post = self.post(&request.id, &staging)?;
        let mut heritage = Heritage::default();
        for _ in 0..ROUNDS {
            match self.next(request, &staging, &post, &mut heritage)? {
                Next::Staged => return Ok(()),
                Next::LookAgain => {}
                Next::Start(heritage) => {
                    self.start(request, &staging, &post, heritage)?;
                    info!(volume = %request.id, %staging, "staged");
                    return Ok(());
                }
                Next::Adopt(adopted) => {
                    self.adopt(request, &staging, &post, adopted)?;
                    info!(volume = %request.id, %staging, "a mount without a keeper is kept again");
                    return Ok(());
                }
            }
        }
        Err(StageError::Keep(KeepError::Ending))
    }

    fn next(
        &self,
        request: &StageVolume,
        staging: &AbsolutePath,
        post: &Post,
        heritage: &mut Heritage,
    ) -> Result<Next, StageError> {
        let table = self.table()?;
        let mount = table.at(staging);
        if let Some(other) = mount.filter(|mount| !is_cephfs(mount)) {
            return Err(StageError::Place(PlaceError::Taken {
                path: staging.clone(),
                found: described(other),
            }));
        }
        // Staged by ceph-csi through the kernel's client.
        if let Some(mount) = mount.filter(|mount| !is_fuse(mount)) {
            return staged(request, staging, mount, self);
        }
        let Some(status) = self.ask(post) else {
            return self.unkept(staging, post, mount, std::mem::take(heritage));
        };
        if let Some(mount) = mount
            && status.phase == Phase::Serving
            && status.device == Some(mount.device)
        {
            return staged(request, staging, mount, self);
        }
        if status.phase == Phase::Starting {
            return Err(StageError::Keep(KeepError::Taken));
        }
        // It may have an old key: the request's is better.
        let retired = self.retire(post, mount.is_none());
        match retired.map_err(StageError::Keep)? {
            None => Ok(Next::LookAgain),
            Some((status, true)) => {
                if status.phase == Phase::Dead {
                    *heritage = status.into();
                }
                Ok(Next::LookAgain)
            }
            Some((_status, false)) if mount.is_none() => Err(StageError::Keep(KeepError::Ending)),
            Some((_status, false)) => Ok(Next::LookAgain),
        }
    }

    /// What is to be done where no keeper is.
    fn unkept(
        &self,
        staging: &AbsolutePath,
        post: &Post,
        mount: Option<&Mount>,
        heritage: Heritage,
    ) -> Result<Next, StageError> {
        let told = self.told(post)?;
        let heritage = match told.clone() {
            Some(told) if heritage.heals.is_empty() => told.into(),
            Some(_) | None => heritage,
        };
        let failed = HostFailure::at("look at", staging);
        let entry = self.host.entry(staging);
        let Some(mount) = mount else {
            return match entry.map_err(failed)?.map(|entry| entry.kind) {
                Some(EntryKind::Directory) => Ok(Next::Start(heritage)),
                Some(other) => Err(StageError::Place(PlaceError::WrongKind {
                    path: staging.clone(),
                    found: other.words(),
                    expected: "a directory",
                })),
                None => Err(StageError::Place(PlaceError::StagingMissing {
                    path: staging.to_string(),
                })),
            };
        };
        match entry {
            Ok(_answers) => Ok(Next::Adopt(self.adopted(mount, told))),
            Err(error) if error.is_dead_mount() => {
                warn!(%staging, %error, "a dead mount is replaced");
                let failed = HostFailure::at("unmount what is dead at", staging);
                self.host.unmount_lazily(staging).map_err(failed)?;
                let mut heritage = heritage;
                if !heritage.heals.contains(&mount.device) {
                    heritage.heals.push(mount.device);
                }
                Ok(Next::Start(heritage))
            }
            Err(error) => Err(failed(error).into()),
        }
    }

    /// What is known of a mount that works.
    fn adopted(&self, mount: &Mount, told: Option<Status>) -> Adopted {
        let device = mount.device;
        let told = told.filter(|told| told.device == Some(device));
        let client = told.as_ref().and_then(|told| told.client);
        let runs = |client: &cuttle_keeper::Running| {
            self.host.is_running((*client).into()).unwrap_or(false)
        };
        Adopted {
            device,
            client: client.filter(runs),
            session: told.and_then(|told| told.session),
        }
    }
}

/// Accepts a mount that is there, if it can be used as asked.
fn staged(
    request: &StageVolume,
    staging: &AbsolutePath,
    mount: &Mount,
    node: &CephfsNode,
) -> Result<Next, StageError> {
    let options = options::of_volume(request, &node.settings).map_err(StartError::Option)?;
    if mount.is_read_only() && !options.iter().any(|option| option == "ro") {
        let path = staging.clone();
        return Err(StageError::StagedOtherwise { path });
    }
    Ok(Next::Staged)
}
