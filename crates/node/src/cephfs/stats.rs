//! NodeGetVolumeStats: how full a volume is and whether it works.
//!
//! A volume that does not answer is no error: its condition says so. A mount that its keeper says
//! is dead is not touched at all; any other one is asked from a child process that can be given up
//! on.

use std::borrow::Cow;

use cuttle_host::{AbsolutePath, Error as HostError};
use cuttle_model::{Class, chain};

use super::node::CephfsNode;
use super::request::VolumeStats;
use super::seen::{SeenError, is_cephfs, is_fuse, trouble};
use crate::figures::{Amount, Condition, Stats, Usage};
use crate::host_failure::HostFailure;
use crate::place::PlaceError;
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a volume could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum StatsError {
    /// Nothing is at the path.
    #[error("there is no volume at {path}: {why}")]
    Absent {
        /// The path.
        path: String,
        /// What is there instead.
        why: &'static str,
    },
    /// The path cannot be used.
    #[error("the path cannot be used")]
    Place(#[source] PlaceError),
    /// What is mounted could not be found out.
    #[error("could not find out what is mounted")]
    Seen(#[from] SeenError),
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

impl StatsError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Absent { .. } => Verdict::Own(1595, Class::Absent),
            Self::Place(source) => Verdict::Of(source),
            Self::Seen(source) => Verdict::Of(source),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Absent { .. } => Some(
                "publish the volume there; a pod that has ended may be asked for once more".into(),
            ),
            Self::Place(_) | Self::Seen(_) | Self::Host(_) => None,
        }
    }
}

explain_by_verdict!(StatsError);

impl CephfsNode {
    /// Measures a volume and judges its condition.
    ///
    /// # Errors
    /// [`StatsError`]; a dead volume is none of them.
    pub fn stats(&self, request: &VolumeStats) -> Result<Stats, StatsError> {
        let given = request.volume_path.display().to_string();
        let absent = |why| StatsError::Absent {
            path: given.clone(),
            why,
        };
        let path = self.real_path(&request.volume_path);
        let path = path.map_err(StatsError::Place)?;
        let path = path.ok_or_else(|| absent("the path does not exist"))?;
        let table = self.table()?;
        let mount = table.at(&path);
        let mount = mount.ok_or_else(|| absent("nothing is mounted there"))?;
        if !is_cephfs(mount) {
            return Err(absent("what is mounted there is no volume"));
        }
        let mut known = None;
        if is_fuse(mount)
            && let Some(keeping) = self.keeping(&table, mount, &request.id)?
        {
            let now = self.ask(&keeping.post);
            if let Some(status) = &now
                && status.device != Some(mount.device)
            {
                let why = trouble(status);
                let why = why.unwrap_or_else(|| {
                    "ceph-fuse has died; this place still shows its dead mount".to_owned()
                });
                return Ok(abnormal(why));
            }
            known = now;
        }
        match self.host.usage(&path) {
            Ok(usage) => {
                let trouble = known.as_ref().and_then(trouble);
                Ok(Stats {
                    usage: Some(Usage::Share {
                        bytes: Amount {
                            total: usage.total.bytes(),
                            used: usage.used.bytes(),
                            available: usage.available.bytes(),
                        },
                    }),
                    condition: Condition {
                        abnormal: trouble.is_some(),
                        message: trouble.unwrap_or_else(|| "the volume answers".to_owned()),
                    },
                })
            }
            Err(error) => unanswered(error, &path),
        }
    }
}

/// A volume that does not answer: abnormal if that is what the error says. One that does not answer
/// in time is of no use now, but may be tomorrow.
fn unanswered(error: HostError, path: &AbsolutePath) -> Result<Stats, StatsError> {
    if error.is_late() {
        return Ok(abnormal(format!(
            "the volume does not answer (so far); the cluster may be slow or out of reach: {}",
            chain(&error)
        )));
    }
    if error.is_dead_mount() {
        let why = chain(&error);
        return Ok(abnormal(format!("the volume does not work: {why}")));
    }
    Err(HostFailure::at("measure", path)(error).into())
}

fn abnormal(message: String) -> Stats {
    Stats {
        usage: None,
        condition: Condition {
            abnormal: true,
            message,
        },
    }
}
