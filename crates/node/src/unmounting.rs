//! Unmounting, with the names of those who keep a mount busy.

use std::borrow::Cow;
use std::fmt;

use cuttle_host::{AbsolutePath, Holder, Host, MountTable, Unmounted};
use cuttle_model::Class;

use crate::host_failure::HostFailure;
use crate::verdict::{Verdict, explain_by_verdict};

/// Why a mount could not be taken down.
#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
    /// Somebody uses it.
    #[error("{path} cannot be unmounted, for it is in use: {}", Named(holders))]
    InUse {
        /// Where it is mounted.
        path: AbsolutePath,
        /// Who uses it, as far as can be told.
        holders: Vec<Holder>,
    },
}

/// Holders in a row.
struct Named<'a>(&'a [Holder]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return out.write_str("by a process that cannot be seen from here");
        }
        let mut separator = "";
        for holder in self.0 {
            write!(out, "{separator}{holder}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl UnmountError {
    fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Host(failure) => failure.verdict(),
            Self::InUse { .. } => Verdict::Own(1564, Class::Unmet),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Host(_) => None,
            Self::InUse { .. } => {
                Some("end the processes that use it (`fuser -vm`), then repeat the request".into())
            }
        }
    }
}

explain_by_verdict!(UnmountError);

/// Unmounts everything at `path`, as [`Host::unmount`]; `table` was read before.
pub(crate) fn unmount(
    host: &Host,
    table: &MountTable,
    path: &AbsolutePath,
) -> Result<Unmounted, UnmountError> {
    let error = match host.unmount(path) {
        Ok(unmounted) => return Ok(unmounted),
        Err(error) => error,
    };
    match table.at(path) {
        Some(mount) if error.is_busy() => {
            let holders = host.holders_of_device(mount.device);
            let holders = holders.map_err(HostFailure::at("look for the users of", path))?;
            let path = path.clone();
            Err(UnmountError::InUse { path, holders })
        }
        Some(_) | None => Err(HostFailure::at("unmount", path)(error).into()),
    }
}
