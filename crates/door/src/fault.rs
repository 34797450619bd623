//! Faults injected at the doors, so that tests can cut an operation at any outside call.
//!
//! A plan is written `effect@n[:call][=ERRNO]`, several separated by commas:
//!
//! | Text | Meaning |
//! |---|---|
//! | `kill@7` | the process gets SIGKILL before the 7th call of either door |
//! | `fail@3=ETIMEDOUT` | the 3rd call does not run and fails with ETIMEDOUT |
//! | `hang@5` | the 5th call blocks until the process ends |
//! | `pause@5=3000ms` | the 5th call waits so long, then runs |
//! | `kill@2:rbd.create` | as above, counting only calls named `rbd.create` |
//! | `fail@1:host=EIO` | as above, counting only calls of the host door |
//!
//! A filter names a call (`rbd.create`), a family (`rbd`, matching `rbd.*`) or a door (`ceph`,
//! `host`). Calls are counted from 1, each fault strikes once.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::errno::errno_from_name;

/// What an injected fault does in place of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// SIGKILL to the own process.
    Kill,
    /// The call does not run and fails with this errno.
    Fail(i32),
    /// The calling thread blocks until the process ends.
    Hang,
    /// The calling thread waits so long before the call runs.
    Pause(Duration),
}

/// One fault: the effect, and the call it strikes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What happens.
    pub effect: Effect,
    /// The number of the call struck, counted from 1 among the calls that match `filter`.
    pub nth: u64,
    /// The call, family of calls or door that is counted; `None` counts all.
    pub filter: Option<String>,
}

/// The faults to inject; empty in production.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan {
    faults: Vec<Fault>,
}

/// Why a fault plan's text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultPlanError {
    /// The text before `@` is not an effect.
    #[error("{fault:?}: the effect must be kill, fail, hang or pause")]
    Effect {
        /// The fault's text.
        fault: String,
    },
    /// There is no call number, or it is not a whole number from 1 up.
    #[error("{fault:?}: a call number from 1 up must follow the @")]
    Number {
        /// The fault's text.
        fault: String,
    },
    /// What follows the `=`, or that nothing does, is wrong for the effect.
    #[error(
        "{fault:?}: fail takes =ERRNO, a name such as EIO or a number, pause takes =MILLISECONDSms, \
         the others take nothing"
    )]
    Errno {
        /// The fault's text.
        fault: String,
    },
}

impl FaultPlan {
    /// The plan that injects nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads a plan in the form given at the module's head. An empty text injects nothing.
    ///
    /// # Errors
    /// Names the first fault that breaks the form.
    pub fn parse(text: &str) -> Result<Self, FaultPlanError> {
        let faults = text
            .split(',')
            .map(str::trim)
            .filter(|fault| !fault.is_empty())
            .map(parse_fault)
            .collect::<Result<_, _>>()?;
        Ok(Self { faults })
    }

    /// The planned faults, in the order written.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl FromStr for FaultPlan {
    type Err = FaultPlanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

fn parse_fault(text: &str) -> Result<Fault, FaultPlanError> {
    let number_wrong = || FaultPlanError::Number {
        fault: text.to_owned(),
    };
    let errno_wrong = || FaultPlanError::Errno {
        fault: text.to_owned(),
    };
    let (effect, rest) = text.split_once('@').ok_or_else(number_wrong)?;
    let (place, value) = match rest.split_once('=') {
        Some((place, value)) => (place, Some(value)),
        None => (rest, None),
    };
    let (number, filter) = match place.split_once(':') {
        Some((number, filter)) => (number, Some(filter.to_owned())),
        None => (place, None),
    };
    let nth = number
        .parse()
        .ok()
        .filter(|nth| *nth > 0)
        .ok_or_else(number_wrong)?;
    let effect = match (effect, value) {
        ("kill", None) => Effect::Kill,
        ("hang", None) => Effect::Hang,
        ("fail", Some(errno)) => Effect::Fail(parse_errno(errno).ok_or_else(errno_wrong)?),
        ("pause", Some(time)) => Effect::Pause(parse_time(time).ok_or_else(errno_wrong)?),
        ("kill" | "hang" | "fail" | "pause", _) => return Err(errno_wrong()),
        _ => {
            return Err(FaultPlanError::Effect {
                fault: text.to_owned(),
            });
        }
    };
    Ok(Fault {
        effect,
        nth,
        filter,
    })
}

fn parse_errno(text: &str) -> Option<i32> {
    errno_from_name(text).or_else(|| text.parse().ok().filter(|errno| *errno > 0))
}

fn parse_time(text: &str) -> Option<Duration> {
    text.strip_suffix("ms")?
        .parse()
        .ok()
        .map(Duration::from_millis)
}

/// A plan with its counters, shared by both doors.
#[derive(Debug, Default)]
pub(crate) struct Armed {
    faults: Vec<(Fault, AtomicU64)>,
}

impl Armed {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        Self {
            faults: plan
                .faults
                .into_iter()
                .map(|fault| (fault, AtomicU64::new(0)))
                .collect(),
        }
    }

    /// Counts one call and answers the fault that strikes it, if any.
    pub(crate) fn strike(&self, door: &str, call: &str) -> Option<Effect> {
        let mut struck = None;
        for (fault, seen) in &self.faults {
            if !matches(fault.filter.as_deref(), door, call) {
                continue;
            }
            let number = seen.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            if number == fault.nth && struck.is_none() {
                struck = Some(fault.effect);
            }
        }
        struck
    }
}

fn matches(filter: Option<&str>, door: &str, call: &str) -> bool {
    let Some(filter) = filter else { return true };
    filter == door
        || call
            .strip_prefix(filter)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let plan = FaultPlan::parse(
            "kill@7, fail@3=ETIMEDOUT,hang@5:rbd.create,fail@1:host=5,pause@4:rados=250ms",
        );
        let fault = |effect, nth, filter: Option<&str>| Fault {
            effect,
            nth,
            filter: filter.map(str::to_owned),
        };
        assert_eq!(
            plan.unwrap().faults(),
            [
                fault(Effect::Kill, 7, None),
                fault(Effect::Fail(libc::ETIMEDOUT), 3, None),
                fault(Effect::Hang, 5, Some("rbd.create")),
                fault(Effect::Fail(libc::EIO), 1, Some("host")),
                fault(Effect::Pause(Duration::from_millis(250)), 4, Some("rados")),
            ]
        );
        assert_eq!(FaultPlan::parse(""), Ok(FaultPlan::none()));
    }

    #[test]
    fn wrong_forms_name_the_fault() {
        let refused = |text: &str| FaultPlan::parse(text).unwrap_err();
        assert!(matches!(
            refused("kill@7,kill"),
            FaultPlanError::Number { .. }
        ));
        assert!(matches!(refused("kill@0"), FaultPlanError::Number { .. }));
        assert!(matches!(refused("fail@1"), FaultPlanError::Errno { .. }));
        assert!(matches!(
            refused("fail@1=ENOTHING"),
            FaultPlanError::Errno { .. }
        ));
        assert!(matches!(
            refused("hang@1=EIO"),
            FaultPlanError::Errno { .. }
        ));
        assert!(matches!(refused("pause@1=3"), FaultPlanError::Errno { .. }));
        assert!(matches!(
            refused("explode@1"),
            FaultPlanError::Effect { .. }
        ));
        assert!(refused("explode@1").to_string().contains("explode@1"));
    }

    #[test]
    fn counts_only_what_the_filter_names() {
        let armed =
            Armed::new(FaultPlan::parse("fail@2:rbd.create=EIO,fail@3:host=EPERM").unwrap());
        let strikes: Vec<_> = [
            ("ceph", "rbd.create"),
            ("ceph", "rbd.create_and_more"),
            ("host", "host.mount"),
            ("ceph", "rbd.create"),
            ("ceph", "rbd.create"),
            ("host", "probe.blkid"),
            ("host", "host.mount"),
        ]
        .map(|(door, call)| armed.strike(door, call))
        .into();
        let (eio, eperm) = (
            Some(Effect::Fail(libc::EIO)),
            Some(Effect::Fail(libc::EPERM)),
        );
        assert_eq!(strikes, [None, None, None, eio, None, None, eperm]);
    }

    #[test]
    fn a_family_matches_its_members_alone() {
        let armed = Armed::new(FaultPlan::parse("fail@1:rbd=EIO").unwrap());
        assert_eq!(armed.strike("ceph", "rados.write"), None);
        assert_eq!(armed.strike("ceph", "rbdx.create"), None);
        assert_eq!(
            armed.strike("ceph", "rbd.create"),
            Some(Effect::Fail(libc::EIO))
        );
    }
}
