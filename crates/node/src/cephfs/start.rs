//! Mounting a volume by ceph-fuse, under a keeper.

use std::borrow::Cow;
use std::time::Duration;

use cuttle_host::{AbsolutePath, DeviceNumber, Error as HostError};
use cuttle_keeper::{Adopted, Ender, Order, Post, Status};
use cuttle_model::{CephfsMounter, Class};
use tracing::warn;

use super::keeping::KeepError;
use super::node::CephfsNode;
use super::options::{self, MountOptionError};
use super::plan::FusePlan;
use super::request::StageVolume;
use super::whereabouts::{Found, WhereaboutsError};
use crate::host_failure::HostFailure;
use crate::verdict::{Verdict, explain_by_verdict};

/// The program of the client.
const CEPH_FUSE: &str = "ceph-fuse";

/// The attribute with the quota of a directory, as the client enforces it.
const QUOTA: &str = "ceph.quota.max_bytes";

/// Why a volume could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no client.
    #[error("ceph-fuse is not installed")]
    NoClient,
    /// A mount option cannot be used.
    #[error("the mount options cannot be used")]
    Option(#[source] MountOptionError),
    /// The volume could not be found.
    #[error("could not find the volume")]
    Whereabouts(#[source] WhereaboutsError),
    /// The keeper did not mount.
    #[error("could not mount the volume")]
    Keep(#[source] KeepError),
    /// The cluster has a quota that the mount does not show.
    #[error(
        "the volume has a quota of {quota} that ceph-fuse does not see: writers could exceed it"
    )]
    QuotaUnseen {
        /// The quota.
        quota: cuttle_model::ByteSize,
    },
    /// A path cannot be used.
    #[error("{path} cannot be used as a network namespace")]
    Network {
        /// The path.
        path: String,
    },
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl StartError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::NoClient => Verdict::Own(1543, Class::Unmet),
            Self::Option(source) => Verdict::Of(source),
            Self::Whereabouts(source) => Verdict::Of(source),
            Self::Keep(source) => Verdict::Of(source),
            Self::QuotaUnseen { .. } => Verdict::Own(1549, Class::Unmet),
            Self::Network { .. } => Verdict::Own(1505, Class::Unmet),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::NoClient => "install ceph-fuse in the plugin's image".into(),
            Self::QuotaUnseen { .. } => {
                "the user may lack the capability for the directory that has the quota; see \
                 `ceph auth get`. Writers without a limit are not let in"
                    .into()
            }
            Self::Network { .. } => {
                "correct cephFS.netNamespaceFilePath of the cluster's entry in config.json".into()
            }
            Self::Option(_) | Self::Whereabouts(_) | Self::Keep(_) | Self::Host(_) => return None,
        })
    }
}

explain_by_verdict!(StartError);

/// What a keeper before has left.
#[derive(Debug, Default)]
pub(super) struct Heritage {
    /// Dead file systems that may still be seen at targets.
    pub(super) heals: Vec<DeviceNumber>,
    /// The session of the client that has died.
    pub(super) session: Option<String>,
}

impl From<Status> for Heritage {
    fn from(status: Status) -> Self {
        let mut heals = status.dead;
        heals.extend(status.device);
        Self {
            heals,
            session: status.session,
        }
    }
}

impl CephfsNode {
    /// Mounts a volume at the staging path, which is free.
    pub(super) fn start(
        &self,
        request: &StageVolume,
        staging: &AbsolutePath,
        post: &Post,
        heritage: Heritage,
    ) -> Result<(), StartError> {
        let found = self.find(request).map_err(StartError::Whereabouts)?;
        let mut order = self.order(request, staging, post, &found)?;
        order.heals = heritage.heals;
        order.dead_session = heritage.session;
        self.keep(post, &order).map_err(StartError::Keep)?;
        let checked = self.check_quota(staging, &found);
        if checked.is_err() {
            // Nobody has it yet. What cannot be taken down is found by the next stage or unstage.
            let held = self.hold(post);
            if let Err(error) = self.host.unmount(staging) {
                warn!(%staging, %error, "a mount without a quota could not be taken down");
            }
            drop(held);
        }
        checked
    }

    /// Starts a keeper for a mount that is there and works.
    pub(super) fn adopt(
        &self,
        request: &StageVolume,
        staging: &AbsolutePath,
        post: &Post,
        adopted: Adopted,
    ) -> Result<(), StartError> {
        let found = self.find(request).map_err(StartError::Whereabouts)?;
        let mut order = self.order(request, staging, post, &found)?;
        order.adopted = Some(adopted);
        self.keep(post, &order).map_err(StartError::Keep)?;
        Ok(())
    }

    fn order(
        &self,
        request: &StageVolume,
        staging: &AbsolutePath,
        post: &Post,
        found: &Found,
    ) -> Result<Order, StartError> {
        if !self.host.has_program(CEPH_FUSE) {
            return Err(StartError::NoClient);
        }
        if request.parameters.mounter == Some(CephfsMounter::Kernel) {
            warn!(volume = %request.id, "the kernel's client is not supported yet: ceph-fuse is taken");
        }
        let settings = &self.settings;
        let options = options::of_volume(request, settings).map_err(StartError::Option)?;
        let source = &found.source;
        let (cluster, user) = (&request.cluster, &request.credentials.user);
        let plan = FusePlan {
            mountpoint: staging,
            cluster,
            user,
            source,
            options: &options,
            ceph_conf: settings.ceph_conf.as_deref(),
        };
        let network = cluster.cephfs.net_namespace_file.as_deref();
        let network = network.map(|path| {
            AbsolutePath::try_from(path).map_err(|_rule| StartError::Network {
                path: path.display().to_string(),
            })
        });
        let fs = source.fs.as_ref().map(ToString::to_string);
        let ender = settings.ender.as_ref().map(|program| Ender {
            program: program.path.to_string_lossy().into_owned(),
            arguments: program.arguments.clone(),
            monitors: cluster.monitors.joined(),
            user: user.to_string(),
            fs: fs.clone(),
        });
        let of_fs = fs.map(|fs| format!(" of {fs}")).unwrap_or_default();
        Ok(Order {
            volume: request.id.to_string(),
            directory: settings.directory.clone(),
            mountpoint: staging.clone(),
            source: format!("{}{of_fs} as client.{user}", source.root),
            program: CEPH_FUSE.to_owned(),
            arguments: plan.arguments(),
            key: request.credentials.key.clone(),
            network: network.transpose()?,
            start_within_ms: millis(Self::within(settings.patience.mount)),
            look_every_ms: millis(settings.patience.look_every),
            unit: post.unit(),
            heals: Vec::new(),
            ender,
            dead_session: None,
            adopted: None,
            json_log: settings.json_log,
            faults: String::new(),
        })
    }

    /// Looks whether the mount shows the quota that it has to keep writers to. A volume that has
    /// none is told in the log.
    fn check_quota(&self, staging: &AbsolutePath, found: &Found) -> Result<(), StartError> {
        let Some(subvolume) = &found.subvolume else {
            return Ok(());
        };
        match self.host.attribute(staging, QUOTA) {
            Ok(Some(quota)) if quota.iter().any(|digit| *digit != b'0') => return Ok(()),
            Ok(_none) => {}
            Err(error) if is_unknown(&error) => {}
            Err(error) => return Err(HostFailure::at("read the quota of", staging)(error).into()),
        }
        let info = subvolume.info().map_err(StartError::Whereabouts)?;
        match info.quota {
            Some(quota) => Err(StartError::QuotaUnseen { quota }),
            None => {
                warn!(%staging, "the volume has no quota: somebody has taken it away");
                Ok(())
            }
        }
    }
}

/// Whether the client does not know the attribute.
fn is_unknown(error: &HostError) -> bool {
    use cuttle_door::FromErrno;
    matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::ENODATA))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
