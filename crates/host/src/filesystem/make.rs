//! Making a file system.

use crate::process::Program;
use crate::{AbsolutePath, Error, Host};

use super::{FilesystemKind, History, Probe};

/// A file system to be made.
#[derive(Debug, Clone, Copy)]
pub struct MakeFilesystem<'a> {
    /// The device.
    pub device: &'a AbsolutePath,
    /// The kind.
    pub kind: FilesystemKind,
    /// Options for mkfs in place of the usual ones; each is one argument.
    pub options: Option<&'a [String]>,
}

/// That a device may be formatted, as it was found a moment ago.
#[derive(Debug, PartialEq, Eq)]
pub struct Clearance {
    device: AbsolutePath,
    /// Whether remains of a mkfs may be there.
    again: bool,
}

impl MakeFilesystem<'_> {
    /// The program that makes it. `again`: an unfinished file system of the kind may be there.
    fn program(&self, again: bool) -> Program {
        let usual: &[&str] = match self.kind {
            FilesystemKind::Ext3 => &["-m0", "-Enodiscard"],
            FilesystemKind::Ext4 => &["-m0", "-Enodiscard,lazy_itable_init=1,lazy_journal_init=1"],
            FilesystemKind::Xfs => &["-K"],
        };
        let mut program = Program::new(format!("mkfs.{}", self.kind.name()));
        program = match self.options {
            Some(options) => program.args(options),
            None => program.args(usual),
        };
        if self.kind == FilesystemKind::Xfs {
            let said = self.options.unwrap_or_default();
            // Kernels older than the node that formats could not mount it otherwise.
            if !said.iter().any(|option| option.contains("reflink")) {
                program = program.args(["-m", "reflink=0"]);
            }
            if again {
                program = program.arg("-f");
            }
        }
        program.arg(self.device.as_path())
    }
}

impl Host {
    /// Finds out whether a device may be formatted: it is positively empty, or carries only the
    /// remains of a mkfs which the caller knows of (see the head of this module). Nothing is
    /// written.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] with what was found (also while the device is mounted), and those of
    /// [`Host::probe`].
    pub fn clear_for_mkfs(
        &self,
        device: &AbsolutePath,
        history: History,
    ) -> Result<Clearance, Error> {
        let refuse = |found: String| {
            Err(Error::NotEmpty {
                device: device.to_string(),
                found,
            })
        };
        let number = self.block_device(device)?.number;
        if let Some(mount) = self.mount_table()?.of_device(number).next() {
            return refuse(format!("mounted on {}", mount.mount_point.display()));
        }
        let again = match self.probe(device)? {
            Probe::Empty => match self.find_anything(device)? {
                None => false,
                // The mkfs may have begun elsewhere than where a probe looks.
                Some(_) if history == History::MkfsBegun => true,
                Some(at) => return refuse(format!("content that is not recognised, at byte {at}")),
            },
            Probe::Remains { .. } if history == History::MkfsBegun => true,
            other @ (Probe::Remains { .. }
            | Probe::Filesystem { .. }
            | Probe::PartitionTable { .. }
            | Probe::Signature { .. }
            | Probe::Unknown { .. }) => return refuse(other.words()),
        };
        let device = device.clone();
        Ok(Clearance { device, again })
    }

    /// Makes a file system on a device that has just been cleared for it.
    ///
    /// # Guarantees
    /// A device with any other content is left untouched; that includes content in the middle, as
    /// far as samples of every object of an image show it.
    ///
    /// # Crash
    /// The device is then empty, carries remains, or a file system, perhaps not a whole one
    /// (then call [`Host::check_filesystem`] with [`History::MkfsBegun`]).
    ///
    /// # Idempotency
    /// None: a device that carries a file system is not cleared again.
    ///
    /// # Errors
    /// [`Error::NotEmpty`] for a device that was not cleared, [`Error::ProgramFailed`] with mkfs's
    /// words (also while somebody else uses the device), [`Error::ProgramLate`].
    pub fn make_filesystem(
        &self,
        wanted: &MakeFilesystem<'_>,
        clearance: Clearance,
    ) -> Result<(), Error> {
        let Clearance { device, again } = clearance;
        if device != *wanted.device {
            return Err(Error::NotEmpty {
                device: wanted.device.to_string(),
                found: "never looked at".to_owned(),
            });
        }
        let program = wanted.program(again);
        let program = program.about(&device).within(self.limits.filesystem);
        let finished = self.run("host.mkfs", &program)?;
        finished.expect_success(&program.name()).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(kind: FilesystemKind, options: Option<&[String]>, again: bool) -> Vec<String> {
        let device = AbsolutePath::new("/dev/x").unwrap();
        let program = MakeFilesystem {
            device: &device,
            kind,
            options,
        }
        .program(again);
        assert_eq!(program.name(), format!("mkfs.{}", kind.name()));
        program
            .arguments()
            .iter()
            .map(|argument| argument.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn usual_options_are_those_of_ceph_csi() {
        let ext4 = arguments(FilesystemKind::Ext4, None, false);
        let expected = [
            "-m0",
            "-Enodiscard,lazy_itable_init=1,lazy_journal_init=1",
            "/dev/x",
        ];
        assert_eq!(ext4, expected);
        let xfs = arguments(FilesystemKind::Xfs, None, false);
        assert_eq!(xfs, ["-K", "-m", "reflink=0", "/dev/x"]);
    }

    #[test]
    fn given_options_take_their_place() {
        let options = ["-N".to_owned(), "1000".to_owned()];
        let ext4 = arguments(FilesystemKind::Ext4, Some(&options), true);
        assert_eq!(ext4, ["-N", "1000", "/dev/x"]);
        let options = ["-mreflink=1".to_owned()];
        let xfs = arguments(FilesystemKind::Xfs, Some(&options), true);
        assert_eq!(xfs, ["-mreflink=1", "-f", "/dev/x"]);
    }
}
