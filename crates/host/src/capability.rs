//! The capabilities of this process.

use crate::{Error, Host};

const STATUS: &str = "/proc/thread-self/status";

/// A capability the driver asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Mounts, loop devices, most of what the node plugin does.
    SysAdmin,
    /// Loading kernel modules.
    SysModule,
    /// Growing a mounted ext4, which counts as exceeding its limits.
    SysResource,
}

impl Capability {
    /// The name in capabilities(7).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysModule => "CAP_SYS_MODULE",
            Self::SysResource => "CAP_SYS_RESOURCE",
        }
    }

    fn bit(self) -> u32 {
        match self {
            Self::SysAdmin => 21,
            Self::SysModule => 16,
            Self::SysResource => 24,
        }
    }
}

impl Host {
    /// Whether this process holds a capability (in its effective set).
    ///
    /// # Errors
    /// The errno of reading `/proc`, or [`Error::Unreadable`].
    pub fn has_capability(&self, capability: Capability) -> Result<bool, Error> {
        let call = "host.capabilities";
        self.door.call(call, STATUS, || {
            let status = std::fs::read_to_string(STATUS)
                .map_err(|error| Error::io(call, STATUS, "read", &error))?;
            match effective(&status) {
                Some(set) => Ok(set & (1 << capability.bit()) != 0),
                None => Err(Error::Unreadable {
                    path: STATUS.to_owned(),
                    found: status.chars().take(80).collect(),
                    expected: "a line CapEff: with a hexadecimal set",
                }),
            }
        })
    }
}

fn effective(status: &str) -> Option<u64> {
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use cuttle_door::{Doors, FaultPlan};

    use super::*;

    #[test]
    fn the_set_is_read_as_hexadecimal() {
        let set = effective("Name:\tx\nCapEff:\t000001fffeffffff\nCapBnd:\t0\n").unwrap();
        assert_eq!(set & (1 << Capability::SysResource.bit()), 0);
        assert_ne!(set & (1 << Capability::SysAdmin.bit()), 0);
        assert_eq!(effective("CapPrm: 1\n"), None);
        assert_eq!(effective("CapEff: zz\n"), None);
    }

    #[test]
    fn the_tests_run_as_an_administrator() {
        let host = Host::new(Doors::new(FaultPlan::none()).host);
        assert!(host.has_capability(Capability::SysAdmin).unwrap());
    }
}
