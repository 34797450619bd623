//! NodeUnstageVolume: take down everything a stage has made.

use std::borrow::Cow;

use crate::place::PlaceError;
use crate::rbd::attach::Manner;
use crate::rbd::node::RbdNode;
use crate::rbd::request::UnstageVolume;
use crate::rbd::take_down::TakeDownError;
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a volume could not be unstaged.
#[derive(Debug, thiserror::Error)]
pub enum UnstageError {
    /// The staging directory cannot be used.
    #[error("the staging directory cannot be used")]
    Place(#[source] PlaceError),
    /// Something could not be taken down, or not without loss.
    #[error("could not unstage the volume cleanly")]
    TakeDown(#[source] TakeDownError),
}

impl UnstageError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Place(source) => Verdict::Of(source),
            Self::TakeDown(source) => Verdict::Of(source),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        None
    }
}

explain_by_verdict!(UnstageError);

impl RbdNode {
    /// Unstages a volume, using neither Ceph nor secrets.
    ///
    /// # Idempotency
    /// Succeeds when nothing is there. After a failure or crash at any point a repeat goes on.
    ///
    /// # Errors
    /// [`UnstageError`]. When the cluster is down, flushing may not end: the request is given up
    /// on by its deadline, and a repeat finishes it once the cluster is back.
    pub fn unstage(&self, request: &UnstageVolume) -> Result<(), UnstageError> {
        let layout = self
            .layout(&request.staging_path, &request.id)
            .map_err(UnstageError::Place)?;
        match layout {
            None => Ok(()),
            Some(layout) => self
                .take_down(&layout, Manner::AsAsked)
                .map_err(UnstageError::TakeDown),
        }
    }
}
