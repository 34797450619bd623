//! Checking a file system before it is mounted.
//!
//! The kernel replays journals; that is all a healthy file system ever needs. e2fsck runs only on
//! an ext file system whose superblock says that it has errors, and only with `-p`, which repairs
//! what is safe and stops at anything else; it looks at everything (`-f`) where a mkfs may have
//! been cut off. XFS is never repaired by a machine, and says itself when its mkfs did not finish.

use crate::process::{Exit, Program, told};
use crate::{AbsolutePath, Error, Host};

use super::ext::ExtSuperblock;
use super::survey::Reading;
use super::{History, is_ext};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The file system is fine, or its journal puts it right when it is mounted.
    Sound,
    /// It had errors, which e2fsck repaired.
    Repaired,
    /// It was not looked at: it is mounted, or its device is read-only.
    Skipped,
}

impl Host {
    /// Checks a file system (of a kind as [`Host::probe`] names it) before it is mounted.
    ///
    /// # Idempotency
    /// A second call finds a sound file system.
    ///
    /// # Errors
    /// [`Error::FilesystemDamaged`] when errors are left that need an operator,
    /// [`Error::ProgramFailed`] when e2fsck could not work.
    pub fn check_filesystem(
        &self,
        device: &AbsolutePath,
        kind: &str,
        history: History,
    ) -> Result<Check, Error> {
        let about = self.block_device(device)?;
        let is_mounted = self.mount_table()?.of_device(about.number).next().is_some();
        if about.read_only || is_mounted {
            return Ok(Check::Skipped);
        }
        if !is_ext(kind) {
            return Ok(Check::Sound);
        }
        let survey = self.survey(device, Reading::Cached)?;
        let whole = history == History::MkfsBegun;
        let superblock = ExtSuperblock::read(&survey.head);
        if whole || superblock.is_some_and(|superblock| superblock.has_errors) {
            return self.e2fsck(device, whole);
        }
        Ok(Check::Sound)
    }

    /// `whole`: look at everything, even if the superblock claims to be clean.
    fn e2fsck(&self, device: &AbsolutePath, whole: bool) -> Result<Check, Error> {
        let mut program = Program::new("e2fsck").arg("-p");
        if whole {
            program = program.arg("-f");
        }
        let program = program.arg(device.as_path()).about(device);
        let program = program.within(self.limits.filesystem);
        let finished = self.run("host.fsck", &program)?;
        let damaged = |exit| {
            // e2fsck tells its findings on standard output.
            let mut said = finished.stdout.bytes.clone();
            said.extend_from_slice(&finished.stderr.bytes);
            Err(Error::FilesystemDamaged {
                device: device.to_string(),
                kind: "ext",
                exit,
                said: told(&said),
            })
        };
        match finished.exit {
            Exit::Code(0) => Ok(Check::Sound),
            Exit::Code(1) => Ok(Check::Repaired),
            // 2: the machine should be started anew, because the file system was in use;
            // 4: errors are left.
            exit @ Exit::Code(2..=7) => damaged(exit),
            Exit::Code(_) | Exit::Signal(_) => match finished.expect_success("e2fsck") {
                Ok(_) => Ok(Check::Sound),
                Err(error) => Err(error),
            },
        }
    }
}
