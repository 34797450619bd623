//! Who makes what a record speaks of, and whether that one still lives.

use std::thread;
use std::time::{Duration, Instant};

use cuttle_journal::{Journal, JournalError};
use cuttle_model::ObjectUuid;

/// How often something that another process is making is looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// How the makers' texts begin of those who take over what ceph-csi began, so that nobody after
/// them takes it for ours.
const FOREIGN: &str = "foreign:";

/// Who began something unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Making {
    /// This driver: without a commit its image holds no data.
    Ours,
    /// ceph-csi, whose older releases recorded no image ids: a header may stand for data, and the
    /// image is never removed.
    Foreign,
}

impl Making {
    /// Who began what is under this maker's text.
    pub(crate) fn of(maker: Option<&str>) -> Self {
        match maker {
            Some(maker) if !maker.starts_with(FOREIGN) => Self::Ours,
            Some(_) | None => Self::Foreign,
        }
    }

    /// The text for the record of one who goes on with it.
    pub(crate) fn text(self, maker: &str) -> String {
        match self {
            Self::Ours => maker.to_owned(),
            Self::Foreign => format!("{FOREIGN}{maker}"),
        }
    }
}

/// Watches an uncommitted record for as long as `patience`: `false` as soon as it changes or is
/// committed, `true` when its maker has stood still all the time and so counts as dead.
pub(crate) fn stands_still(
    journal: &Journal,
    uuid: &ObjectUuid,
    maker: Option<&str>,
    patience: Duration,
) -> Result<bool, JournalError> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        thread::sleep(LOOK_PAUSE);
        let now = journal.load(uuid)?;
        let unchanged = now
            .as_ref()
            .is_some_and(|now| now.maker.as_deref() == maker && !now.is_committed());
        if !unchanged {
            return Ok(false);
        }
    }
    Ok(true)
}
