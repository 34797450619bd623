//! Reading, writing and removing the stash of a staging directory.

use std::borrow::Cow;

use cuttle_host::{AbsolutePath, Error as HostError, Host};
use cuttle_model::Class;

use crate::host_failure::HostFailure;
use crate::layout::Layout;
use crate::rbd::stash::{Stash, StashMalformed};
use crate::verdict::{Verdict, explain_by_verdict};

/// The most that is read of a stash, in bytes.
const LONGEST: usize = 64 * 1024;

/// Why a stash could not be read, written or removed.
#[derive(Debug, thiserror::Error)]
pub enum StashError {
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
    /// What stands there is no stash.
    #[error("{path} cannot be understood")]
    Malformed {
        /// The stash.
        path: AbsolutePath,
        /// Why not.
        source: StashMalformed,
    },
}

impl StashError {
    /// Whether the record ends in the middle (or is empty): whoever wrote it did not finish.
    pub(crate) fn is_torn(&self) -> bool {
        matches!(self, Self::Malformed { source: StashMalformed::Json(error), .. } if error.is_eof())
    }

    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Host(failure) => failure.verdict(),
            Self::Malformed { .. } => Verdict::Own(1502, Class::Unmet),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Host(_) => None,
            Self::Malformed { .. } => Some(
                "unmount what is mounted below the staging directory, detach its device (`rbd \
                 device list`, `losetup`), remove the file and repeat the request"
                    .into(),
            ),
        }
    }
}

explain_by_verdict!(StashError);

/// The stash of one staging directory, on disk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StashFile<'a> {
    host: &'a Host,
    path: &'a AbsolutePath,
}

impl<'a> StashFile<'a> {
    pub(crate) fn of(host: &'a Host, layout: &'a Layout) -> Self {
        Self {
            host,
            path: &layout.stash,
        }
    }

    /// The stash; `None` when there is none. What an earlier run of the machine has noted of
    /// processes and devices is left out.
    pub(crate) fn read(self) -> Result<Option<Stash>, StashError> {
        let text = self.host.read_file(self.path, LONGEST);
        let Some(text) = text.map_err(|source| self.failed("read", source))? else {
            return Ok(None);
        };
        let mut stash = Stash::decode(&text).map_err(|source| StashError::Malformed {
            path: self.path.clone(),
            source,
        })?;
        if let Some(then) = &stash.boot {
            let now = self.host.boot_id();
            let now = now.map_err(HostFailure::at("read", "the machine's boot id"))?;
            if *then != now {
                stash.outlive();
            }
        }
        Ok(Some(stash))
    }

    /// Replaces the stash in one step: a crash leaves the old one or the new one.
    pub(crate) fn write(self, stash: &Stash) -> Result<(), StashError> {
        let written = self.host.write_file(self.path, stash.encode().as_bytes());
        written.map_err(|source| self.failed("write", source))
    }

    /// Removes the stash, if there is one.
    pub(crate) fn remove(self) -> Result<(), StashError> {
        let removed = self.host.remove_file(self.path);
        removed
            .map(|_was_there| ())
            .map_err(|source| self.failed("remove", source))
    }

    fn failed(self, doing: &'static str, source: HostError) -> StashError {
        HostFailure::at(doing, self.path)(source).into()
    }
}
