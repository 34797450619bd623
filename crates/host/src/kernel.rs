//! What this kernel can do: release, modules, file systems, features of its RBD client.

use std::fmt;
use std::time::Duration;

use crate::process::Program;
use crate::{Error, Host};

const RBD_FEATURES: &str = "/sys/bus/rbd/supported_features";
const RELEASE: &str = "/proc/sys/kernel/osrelease";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const FILESYSTEMS: &str = "/proc/filesystems";

/// How long loading a module may take.
const LOADING: Duration = Duration::from_secs(30);

/// A kernel's release, `uname -r`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRelease {
    text: String,
    version: (u32, u32),
}

impl KernelRelease {
    /// Reads a release such as `6.12.9-amd64`; parts that are no numbers count as 0.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut numbers = text.split(|character: char| !character.is_ascii_digit());
        let mut next = || {
            numbers
                .next()
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(0)
        };
        let version = (next(), next());
        Self {
            text: text.to_owned(),
            version,
        }
    }

    /// Whether the kernel is of this version or a later one.
    #[must_use]
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        self.version >= (major, minor)
    }
}

impl fmt::Display for KernelRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Host {
    /// What tells this run of the machine from every other: what was noted under another one says
    /// nothing about the devices, processes and mounts of now.
    ///
    /// # Errors
    /// The errno of reading it from `/proc`.
    pub fn boot_id(&self) -> Result<String, Error> {
        let text = self.read_kernel_file(BOOT_ID)?.unwrap_or_default();
        Ok(text.trim().to_owned())
    }

    /// The release of the running kernel.
    ///
    /// # Errors
    /// The errno of reading it from `/proc`.
    pub fn kernel_release(&self) -> Result<KernelRelease, Error> {
        let text = self.read_kernel_file(RELEASE)?.unwrap_or_default();
        Ok(KernelRelease::parse(text.trim()))
    }

    /// The image features the kernel's RBD client supports, as a mask; `None` when the client is
    /// not loaded, or too old to tell (before 4.11).
    ///
    /// # Errors
    /// [`Error::Unreadable`] when the file holds no hexadecimal number, or the errno.
    pub fn rbd_supported_features(&self) -> Result<Option<u64>, Error> {
        let Some(text) = self.read_kernel_file(RBD_FEATURES)? else {
            return Ok(None);
        };
        match parse_mask(&text) {
            Some(mask) => Ok(Some(mask)),
            None => Err(Error::Unreadable {
                path: RBD_FEATURES.to_owned(),
                found: text.chars().take(80).collect(),
                expected: "a hexadecimal number",
            }),
        }
    }

    /// Whether a module is loaded or built in (with parameters or state of its own).
    ///
    /// # Errors
    /// The errno of looking into `/sys/module`.
    pub fn has_module(&self, name: &str) -> Result<bool, Error> {
        let (call, path) = ("host.module", format!("/sys/module/{name}"));
        self.door.call(call, &path, || {
            std::fs::exists(&path).map_err(|error| Error::io(call, &path, "stat", &error))
        })
    }

    /// Loads a module by `modprobe`, unless it is there.
    ///
    /// # Errors
    /// [`Error::ProgramFailed`] when the kernel has no such module, [`Error::ProgramMissing`].
    pub fn load_module(&self, name: &str) -> Result<(), Error> {
        if self.has_module(name)? {
            return Ok(());
        }
        let program = Program::new("modprobe").arg("--").arg(name).within(LOADING);
        self.run("host.modprobe", &program)?
            .expect_success("modprobe")?;
        Ok(())
    }

    /// Whether the kernel knows a file system at this moment (its module may still be loaded when
    /// it is first mounted).
    ///
    /// # Errors
    /// The errno of reading `/proc/filesystems`.
    pub fn knows_filesystem(&self, kind: &str) -> Result<bool, Error> {
        let text = self.read_kernel_file(FILESYSTEMS)?.unwrap_or_default();
        Ok(text
            .lines()
            .any(|line| line.split('\t').next_back() == Some(kind)))
    }

    fn read_kernel_file(&self, path: &'static str) -> Result<Option<String>, Error> {
        let call = "host.kernel";
        self.door
            .call(call, path, || match std::fs::read_to_string(path) {
                Ok(text) => Ok(Some(text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(Error::io(call, path, "read", &error)),
            })
    }
}

fn parse_mask(text: &str) -> Option<u64> {
    let text = text.trim();
    u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
}

#[cfg(test)]
mod tests {
    use cuttle_door::{Doors, FaultPlan};

    use super::*;

    #[test]
    fn releases_compare_by_their_first_two_numbers() {
        let release = KernelRelease::parse("5.14.0-427.el9.x86_64");
        assert!(release.is_at_least(5, 14) && release.is_at_least(4, 99));
        assert!(!release.is_at_least(5, 15) && !release.is_at_least(6, 0));
        assert!(!KernelRelease::parse("").is_at_least(0, 1));
    }

    #[test]
    fn masks_are_hexadecimal_with_or_without_prefix() {
        assert_eq!(parse_mask("0x1f\n"), Some(0x1f));
        assert_eq!(parse_mask("1ff"), Some(0x1ff));
        assert_eq!(parse_mask(""), None);
        assert_eq!(parse_mask("0xyz"), None);
    }

    #[test]
    fn this_kernel_answers() {
        let host = Host::new(Doors::new(FaultPlan::none()).host);
        assert!(host.kernel_release().unwrap().is_at_least(4, 18));
        assert!(host.knows_filesystem("proc").unwrap());
        assert!(!host.knows_filesystem("nosuchfs").unwrap());
        assert!(!host.has_module("no_such_module").unwrap());
        assert_eq!(
            host.rbd_supported_features().unwrap().is_some(),
            host.has_module("rbd").unwrap()
        );
    }
}
