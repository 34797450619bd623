//! What a test in a guest can do to the world around it: a directory that both sides see.
//!
//! The guest writes a wish to a file and waits for the answer beside it; the process that runs the
//! guest looks for wishes and carries them out. Files rather than a socket, because a wish may be
//! to cut the network, and its end must still be said.
//!
//! ```text
//! <n>.wish     a word, from the guest        <n>.answer   empty for success, else what went wrong
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Error, SWITCHBOARD, until};

/// How long a wish may take to be carried out.
const PATIENCE: Duration = Duration::from_secs(30);

/// What can be switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Stop the OSD in its tracks.
    PauseOsd,
    /// Let it go on.
    ResumeOsd,
    /// Stop the monitor in its tracks.
    PauseMonitor,
    /// Let it go on.
    ResumeMonitor,
    /// Let every packet between guest and cluster vanish.
    CutNetwork,
    /// Let packets pass again.
    JoinNetwork,
}

impl Switch {
    const ALL: [Self; 6] = [
        Self::PauseOsd,
        Self::ResumeOsd,
        Self::PauseMonitor,
        Self::ResumeMonitor,
        Self::CutNetwork,
        Self::JoinNetwork,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::PauseOsd => "pause-osd",
            Self::ResumeOsd => "resume-osd",
            Self::PauseMonitor => "pause-monitor",
            Self::ResumeMonitor => "resume-monitor",
            Self::CutNetwork => "cut-network",
            Self::JoinNetwork => "join-network",
        }
    }
}

/// The guest's side.
#[derive(Debug)]
pub struct Switchboard {
    dir: PathBuf,
}

impl Switchboard {
    /// The switchboard of the guest that this process runs in.
    ///
    /// # Panics
    /// When there is none, saying how to get one.
    #[must_use]
    #[expect(clippy::panic, reason = "a test without its guest must fail, loudly")]
    pub fn of_this_guest() -> Self {
        match std::env::var_os(SWITCHBOARD) {
            Some(dir) => Self { dir: dir.into() },
            None => {
                panic!("{SWITCHBOARD} is not set: this test runs in a guest, `make test-kernel`")
            }
        }
    }

    /// Switches, and waits until it is done.
    ///
    /// # Errors
    /// [`Error::Switch`] when the other side could not, [`Error::Waited`] when it does not answer.
    pub fn switch(&self, switch: Switch) -> Result<(), Error> {
        let name = crate::boot::fresh_uuid()?;
        let wish = self.dir.join(format!("{name}.wish"));
        let answer = self.dir.join(format!("{name}.answer"));
        put(&wish, switch.word())?;
        let text = until(switch.word(), PATIENCE, || {
            fs::read_to_string(&answer).map_err(|error| error.to_string())
        })?;
        if text.is_empty() {
            return Ok(());
        }
        Err(Error::Switch {
            what: switch.word(),
            problem: text,
        })
    }
}

/// The other side: carries out the wishes that are in `dir` now.
pub fn answer_switches(dir: &Path, mut carry_out: impl FnMut(Switch) -> Result<(), String>) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for wish in entries.map(|entry| entry.path()) {
        if wish.extension().is_none_or(|extension| extension != "wish") {
            continue;
        }
        let text = fs::read_to_string(&wish).unwrap_or_default();
        let switch = Switch::ALL.into_iter().find(|switch| switch.word() == text);
        let outcome = match switch {
            Some(switch) => carry_out(switch),
            None => Err(format!("there is no switch {text:?}")),
        };
        // A wish that cannot be answered makes the guest wait in vain, and say so.
        drop(fs::remove_file(&wish));
        drop(put(
            &wish.with_extension("answer"),
            &outcome.err().unwrap_or_default(),
        ));
    }
}

/// Writes a file that appears whole or not at all.
fn put(path: &Path, text: &str) -> Result<(), Error> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).map_err(Error::file("write", &fresh))?;
    fs::rename(&fresh, path).map_err(Error::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_carried_out_once_and_its_failure_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let board = Switchboard {
            dir: dir.path().to_owned(),
        };
        let other = std::thread::spawn({
            let dir = dir.path().to_owned();
            move || {
                let mut seen = Vec::new();
                until("two wishes", PATIENCE, || {
                    answer_switches(&dir, |switch| {
                        seen.push(switch);
                        if switch == Switch::CutNetwork {
                            return Err("no scissors".to_owned());
                        }
                        Ok(())
                    });
                    if seen.len() == 2 {
                        Ok(())
                    } else {
                        Err(format!("{seen:?}"))
                    }
                })
                .expect("wishes");
                seen
            }
        });
        board.switch(Switch::PauseOsd).expect("a pause");
        let error = board.switch(Switch::CutNetwork).expect_err("no scissors");
        assert!(error.to_string().contains("no scissors"), "{error}");
        assert_eq!(
            other.join().expect("a thread"),
            [Switch::PauseOsd, Switch::CutNetwork]
        );
    }
}
