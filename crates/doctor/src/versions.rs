//! The releases of the cluster's daemons and of the libraries here.

use ceph::{Cluster, LateSymbol};
use serde_json::{Value, json};

use crate::cluster::unanswered;
use crate::report::{Check, Report, Severity, Told};

/// The releases that this driver is made for.
const OLDEST: u32 = 16;
const NEWEST: u32 = 20;

/// A version of Ceph: release, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl Release {
    /// Reads `ceph version 16.2.15 (…) pacific (stable)`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let version = text.split_whitespace().nth(2)?;
        let mut numbers = version.split(['.', '-']).map(str::parse::<u32>);
        let mut next = || numbers.next()?.ok();
        Some(Self(next()?, next()?, next().unwrap_or(0)))
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The versions of all daemons; the oldest of them is answered.
pub(crate) fn cluster(cluster: &Cluster, report: &mut Report) -> Option<Release> {
    const ABOUT: &str = "cluster";
    let reply = match cluster.mon_query(&json!({"prefix": "versions"})) {
        Ok(reply) => reply.json,
        Err(error) => {
            unanswered(report, Check::Versions, ABOUT, &error);
            return None;
        }
    };
    let overall = reply.get("overall").and_then(Value::as_object);
    let mut releases: Vec<Release> = overall
        .into_iter()
        .flatten()
        .filter_map(|(text, _count)| Release::read(text))
        .collect();
    releases.sort_unstable();
    let (Some(oldest), Some(newest)) = (releases.first().copied(), releases.last().copied()) else {
        let told = Told::new(reply.to_string(), "the cluster's version cannot be read");
        report.add(Severity::Unknown, Check::Versions, ABOUT, told);
        return None;
    };
    let list = releases.iter().map(Release::to_string).collect::<Vec<_>>();
    let evidence = format!("daemons of {}", list.join(", "));
    if oldest.0 < OLDEST {
        let meaning = format!(
            "the driver is made for Ceph {OLDEST} to {NEWEST}; older clusters lack commands that it needs"
        );
        let told = Told::new(evidence, meaning).remedy("upgrade the cluster first");
        report.add(Severity::Error, Check::Versions, ABOUT, told);
    } else if newest.0 > NEWEST {
        let meaning = "the driver was not tried with this release";
        let told = Told::new(evidence, meaning).remedy("try it before it matters");
        report.add(Severity::Note, Check::Versions, ABOUT, told);
    } else if oldest.0 != newest.0 {
        let meaning =
            "daemons of several releases: an upgrade is under way, or was left unfinished";
        let told = Told::new(evidence, meaning).remedy("finish the upgrade; `ceph versions`");
        report.add(Severity::Warning, Check::Versions, ABOUT, told);
    } else {
        report.good(Check::Versions, ABOUT, evidence);
    }
    Some(oldest)
}

/// The libraries here, and what they lack.
pub(crate) fn libraries(report: &mut Report) {
    let missing: Vec<&str> = LateSymbol::ALL
        .iter()
        .filter(|symbol| !symbol.is_present())
        .map(|symbol| symbol.name())
        .collect();
    let evidence = ceph::versions().to_string();
    if missing.is_empty() {
        return report.good(Check::Libraries, "libraries", evidence);
    }
    let meaning = format!(
        "{} not in them: what is built on these is refused as unsupported; all else works",
        are(&missing)
    );
    let told = Told::new(evidence, meaning)
        .remedy("use an image with newer Ceph libraries if you need it");
    report.add(Severity::Note, Check::Libraries, "libraries", told);
}

fn are(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_from_what_daemons_say() {
        let read = |text| Release::read(text);
        let text = "ceph version 16.2.15 (618f) pacific (stable)";
        assert_eq!(read(text), Some(Release(16, 2, 15)));
        let text = "ceph version 19.3.0-77-gabc (x) squid (dev)";
        assert_eq!(read(text), Some(Release(19, 3, 0)));
        assert_eq!(read("nonsense"), None);
        assert!(Release(18, 2, 3) < Release(18, 2, 4));
    }
}
