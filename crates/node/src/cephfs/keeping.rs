//! Starting keepers and taking leave of them.

use std::borrow::Cow;
use std::time::Duration;

use cuttle_door::job;
use cuttle_host::Program;
use cuttle_keeper::{
    Answer, Contact, ContactError, Order, Post, PostError, Question, Refused, Status,
};
use cuttle_model::{Class, chain};
use tracing::warn;

use super::node::CephfsNode;
use crate::host_failure::HostFailure;
use crate::verdict::{Verdict, explain_by_verdict};

/// What is added to the time a mount may take, for the keeper itself.
const PROCESS_START: Duration = Duration::from_secs(5);

/// Why a keeper did not mount.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// ceph-fuse did not mount.
    #[error("ceph-fuse did not mount the volume: {}", told(refused))]
    Refused {
        /// What the keeper says.
        refused: Refused,
    },
    /// Another keeper of the volume is there.
    #[error("the volume is being mounted or unmounted by another process")]
    Taken,
    /// The keeper's socket cannot be used.
    #[error("could not reach the keeper of the mount")]
    Post(#[source] PostError),
    /// The conversation failed.
    #[error("could not agree with the keeper of the mount")]
    Contact(#[source] ContactError),
    /// The keeper has not ended in time.
    #[error("ceph-fuse still hands back to the cluster what it held of the volume")]
    Ending,
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
}

fn told(refused: &Refused) -> String {
    match refused.said.trim() {
        "" => refused.why.clone(),
        said => format!("{} ({said})", refused.why),
    }
}

impl KeepError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            // Nothing of it is left; the cluster may answer the next time.
            Self::Refused { refused } if refused.late => Verdict::Own(1547, Class::Down),
            Self::Refused { .. } => Verdict::Own(1546, Class::Unmet),
            Self::Taken | Self::Ending => Verdict::Running(1545),
            Self::Post(_) | Self::Contact(_) => Verdict::Running(1548),
            Self::Host(failure) => failure.verdict(),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Host(_) => return None,
            Self::Refused { refused } if refused.late => {
                "see `ceph fs status`: is an MDS active? Can this node reach monitors and MDS?"
                    .into()
            }
            Self::Refused { .. } => {
                "ceph-fuse's own words are in the message: most often user, key or capabilities \
                 are wrong, or a mount option"
                    .into()
            }
            Self::Taken | Self::Ending => {
                "repeat the request; if it stays so, see `ceph fs status`".into()
            }
            Self::Post(_) | Self::Contact(_) => "repeat the request".into(),
        })
    }
}

explain_by_verdict!(KeepError);

impl CephfsNode {
    /// Starts a keeper with this order, and waits until its mount works.
    ///
    /// # Errors
    /// [`KeepError`]; nothing is mounted then, now or later.
    pub(super) fn keep(&self, post: &Post, order: &Order) -> Result<Status, KeepError> {
        let directory = &self.settings.directory;
        let made = self.host.ensure_directory(directory, 0o700);
        made.map_err(HostFailure::at("make", directory))?;
        let taken = |error| match error {
            PostError::Taken => KeepError::Taken,
            error @ PostError::Socket { .. } => KeepError::Post(error),
        };
        let listener = post.listen(&self.host).map_err(taken)?;
        let patience = Duration::from_millis(order.start_within_ms) + PROCESS_START;
        let contact = post.reach(patience).map_err(KeepError::Post)?;
        let mut contact = contact.ok_or(KeepError::Contact(ContactError::Ended))?;
        let keeper = &self.settings.keeper;
        let program = Program::new(&keeper.path).args(&keeper.arguments);
        let started = self
            .host
            .spawn_serving("host.keeper", &program, listener, None);
        if let Err(error) = started {
            self.clear(post);
            return Err(HostFailure::at("start the keeper of", &order.mountpoint)(error).into());
        }
        let answer = contact.send(order).and_then(|()| contact.answer());
        match answer {
            Ok(Answer::Status(status)) => Ok(*status),
            Ok(Answer::Refused(refused)) => {
                Self::wait_end(&mut contact, self.settings.patience.keeper);
                Err(KeepError::Refused { refused })
            }
            Err(error) => Err(KeepError::Contact(error)),
        }
    }

    /// Has a keeper whose mount is dead end without healing; answers its last status, and whether
    /// it has gone. One that is ending (`is_ending`) is waited for.
    pub(super) fn retire(
        &self,
        post: &Post,
        is_ending: bool,
    ) -> Result<Option<(Status, bool)>, KeepError> {
        let patience = self.settings.patience.keeper;
        let contact = post.reach(patience).map_err(KeepError::Post)?;
        let Some(mut contact) = contact else {
            return Ok(None);
        };
        let status = match contact.ask(Question::Retire) {
            Ok(status) => status,
            Err(ContactError::Ended) => return Ok(None),
            Err(error) => return Err(KeepError::Contact(error)),
        };
        let is_dead = status.phase == cuttle_keeper::Phase::Dead;
        let limit = if is_ending {
            Self::within(self.settings.patience.end)
        } else {
            patience
        };
        let is_gone = (is_dead || is_ending) && Self::wait_end(&mut contact, limit);
        Ok(Some((status, is_gone)))
    }

    fn wait_end(contact: &mut Contact, limit: Duration) -> bool {
        match contact.wait_end(limit) {
            Ok(ended) => ended,
            Err(error) => {
                warn!(error = chain(&error), "could not wait for a keeper's end");
                false
            }
        }
    }

    /// Removes the files of a post that nobody holds.
    pub(super) fn clear(&self, post: &Post) {
        if let Err(error) = post.clear(&self.host) {
            warn!(error = chain(&error), "a keeper's files are left");
        }
    }

    /// How long a step may take, of the job's time.
    pub(super) fn within(patience: Duration) -> Duration {
        // The keeper must answer before this job ends.
        let left = job::remaining().map(|left| left.saturating_sub(PROCESS_START));
        let least = Duration::from_secs(1);
        left.map_or(patience, |left| patience.min(left).max(least))
    }
}
