//! Combinations of versions and settings that are known to fail, although each alone works.

use cuttle_host::{Host, KernelRelease};

use crate::cluster::ClusterPlan;
use crate::reach::Protocols;
use crate::report::{Check, Report, Severity, Told};
use crate::versions::Release;

/// The type of a cephx key that kernels before 7.0 do not know (AES with 256 bits).
const LONG_KEY: u16 = 2;

/// What the combinations are made of.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) kernel: Option<KernelRelease>,
    pub(crate) release: Option<Release>,
    pub(crate) key_type: Option<u16>,
    pub(crate) second_only: bool,
    pub(crate) read_affinity: bool,
}

/// One known trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    severity: Severity,
    about: &'static str,
    told: Told,
}

/// Those that need no login.
pub(crate) fn of_host(host: &Host, plan: &ClusterPlan, spoken: Protocols, report: &mut Report) {
    let facts = Facts {
        second_only: spoken.second && !spoken.first,
        ..facts(host, plan)
    };
    let found = before_login(&facts);
    if found.is_empty() {
        report.good(Check::Pair, "kernel and cluster", "no known trouble");
    }
    tell(found, report);
}

/// Those that need the cluster's version.
pub(crate) fn of_cluster(
    host: &Host,
    plan: &ClusterPlan,
    release: Option<Release>,
    report: &mut Report,
) {
    let facts = Facts {
        release,
        ..facts(host, plan)
    };
    let found = with_release(&facts);
    if found.is_empty() && release.is_some() {
        report.good(Check::Pair, "settings and cluster", "no known trouble");
    }
    tell(found, report);
}

fn tell(found: Vec<Trouble>, report: &mut Report) {
    for Trouble {
        severity,
        about,
        told,
    } in found
    {
        report.add(severity, Check::Pair, about, told);
    }
}

fn facts(host: &Host, plan: &ClusterPlan) -> Facts {
    let key = plan
        .credentials
        .as_ref()
        .and_then(|known| known.key.decoded());
    let key_type = key.as_ref().and_then(|key| match key.expose() {
        [low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    });
    Facts {
        kernel: host.kernel_release().ok(),
        release: None,
        key_type,
        second_only: false,
        read_affinity: plan.settings.read_affinity.enabled,
    }
}

fn before_login(facts: &Facts) -> Vec<Trouble> {
    let older = |major, minor| {
        let kernel = facts.kernel.as_ref();
        kernel.filter(|kernel| !kernel.is_at_least(major, minor))
    };
    let mut found = Vec::new();
    if let (true, Some(kernel)) = (facts.second_only, older(5, 11)) {
        found.push(Trouble {
            severity: Severity::Error,
            about: "second version of the protocol and an old kernel",
            told: Told::new(
                format!("the monitors speak version 2 alone, the kernel is {kernel}"),
                "kernels before 5.11 speak version 1 only: mapping and mounting time out",
            )
            .remedy("ceph config set mon ms_bind_msgr1 true, a newer kernel, or mounter: fuse"),
        });
    }
    if let (Some(LONG_KEY), Some(kernel)) = (facts.key_type, older(7, 0)) {
        found.push(Trouble {
            severity: Severity::Warning,
            about: "long key and an old kernel",
            told: Told::new(
                format!("the user's key is of the 256-bit type, the kernel is {kernel}"),
                "kernels before 7.0 do not know such keys unless the distribution added them: \
                 mapping fails with EINVAL",
            )
            .remedy("give nodes a user whose key is of the type aes"),
        });
    }
    found
}

fn with_release(facts: &Facts) -> Vec<Trouble> {
    let mut found = Vec::new();
    if facts.release == Some(Release(20, 2, 0)) && facts.read_affinity {
        found.push(Trouble {
            severity: Severity::Warning,
            about: "Ceph 20.2.0 and read affinity",
            told: Told::new(
                "the cluster is of 20.2.0 and readAffinity.enabled is set",
                "reading from near OSDs is known to fail with this version",
            )
            .remedy("upgrade the cluster, or set readAffinity.enabled to false in config.json"),
        });
    }
    if let Some(release) = facts.release
        && release.0 == 18
        && release < Release(18, 2, 4)
    {
        found.push(Trouble {
            severity: Severity::Note,
            about: "Ceph 18 before 18.2.4 and many clones",
            told: Told::new(
                format!("the cluster is of {release}"),
                "its manager is known to get stuck when many clones are made at once",
            )
            .remedy("upgrade to 18.2.4 or later"),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            kernel: Some(KernelRelease::parse("6.12.9")),
            release: Some(Release(19, 2, 0)),
            key_type: Some(1),
            second_only: true,
            read_affinity: true,
        }
    }

    fn found(facts: &Facts) -> Vec<&'static str> {
        let all = before_login(facts).into_iter().chain(with_release(facts));
        all.map(|trouble| trouble.about).collect()
    }

    #[test]
    fn what_works_is_no_trouble() {
        assert_eq!(found(&facts()), [""; 0]);
        let silent = Facts {
            kernel: None,
            release: None,
            key_type: None,
            ..facts()
        };
        assert_eq!(found(&silent), [""; 0], "nothing is concluded from nothing");
    }

    #[test]
    fn each_pair_is_named_by_its_own_facts_alone() {
        let old = Some(KernelRelease::parse("5.10.0-28"));
        let cases = [
            (
                Facts {
                    kernel: old.clone(),
                    ..facts()
                },
                "second version of the protocol and an old kernel",
            ),
            (
                Facts {
                    key_type: Some(LONG_KEY),
                    ..facts()
                },
                "long key and an old kernel",
            ),
            (
                Facts {
                    release: Some(Release(20, 2, 0)),
                    ..facts()
                },
                "Ceph 20.2.0 and read affinity",
            ),
            (
                Facts {
                    release: Some(Release(18, 2, 3)),
                    ..facts()
                },
                "Ceph 18 before 18.2.4 and many clones",
            ),
        ];
        for (facts, about) in cases {
            assert_eq!(found(&facts), [about]);
        }
        let both = Facts {
            kernel: old,
            second_only: false,
            ..facts()
        };
        assert_eq!(found(&both), [""; 0]);
        let mended = Facts {
            release: Some(Release(18, 2, 4)),
            ..facts()
        };
        assert_eq!(found(&mended), [""; 0]);
    }
}
