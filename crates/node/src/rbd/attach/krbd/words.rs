//! What the kernel's Ceph client says in its log when it cannot talk to the cluster, made plain.
//!
//! Its interface gives up with ETIMEDOUT or EIO; the reason is only in the log. The lines are those
//! of `net/ceph/messenger_v1.c` and `messenger_v2.c`, the same since 2.6.34 and 5.11.

use std::fmt;

/// A feature of the protocol that a cluster may demand of its clients: bit, name, the kernel that
/// has it, and how to do without it. `include/linux/ceph/ceph_features.h` and Ceph's notes on CRUSH.
struct Feature {
    bit: u32,
    name: &'static str,
    since: &'static str,
    without: &'static str,
}

const TUNABLES: &str = "`ceph osd crush tunables` with an older profile (data will move)";
const BALANCER: &str =
    "`ceph balancer mode crush-compat` and `ceph osd rm-pg-upmap-items` for the upmaps there are";

const FEATURES: &[Feature] = &[
    feature(18, "CRUSH_TUNABLES", "3.6", TUNABLES),
    feature(21, "SERVER_LUMINOUS (upmaps)", "4.13", BALANCER),
    feature(25, "CRUSH_TUNABLES2", "3.9", TUNABLES),
    feature(
        30,
        "OSDHASHPSPOOL",
        "3.9",
        "`ceph osd pool set POOL hashpspool false` (data will move)",
    ),
    feature(35, "OSD_CACHEPOOL", "3.14", "a pool without a cache tier"),
    feature(36, "CRUSH_V2", "3.14", "a pool that is not erasure coded"),
    feature(37, "EXPORT_PEER", "3.14", ""),
    feature(41, "CRUSH_TUNABLES3 or primary affinity", "3.15", TUNABLES),
    feature(48, "CRUSH_V4 (straw2 buckets)", "4.1", TUNABLES),
    feature(58, "CRUSH_TUNABLES5", "4.5", TUNABLES),
];

const fn feature(
    bit: u32,
    name: &'static str,
    since: &'static str,
    without: &'static str,
) -> Feature {
    Feature {
        bit,
        name,
        since,
        without,
    }
}

/// The features of the protocol that the cluster demands and this kernel lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lacking(u64);

/// What a kernel that cannot talk to the cluster lacks, if that is what it says.
#[must_use]
pub(super) fn lacking(lines: &[String]) -> Option<Lacking> {
    let mut bits = lines.iter().filter_map(|line| {
        // `… feature set mismatch, my 106b84a842a42 < server's 40106b84a842a42, missing 400…`
        // `… msgr2 feature set mismatch, my supported 1 < server's required 3, need 2 …`
        let (_, rest) = line.split_once("feature set mismatch, ")?;
        let after = ["missing ", "need "]
            .iter()
            .find_map(|word| Some(rest.split_once(word)?.1))?;
        let digits = after.split(|c: char| !c.is_ascii_hexdigit()).next()?;
        u64::from_str_radix(digits, 16).ok()
    });
    bits.rfind(|bits| *bits != 0).map(Lacking)
}

impl Lacking {
    fn known(self) -> impl Iterator<Item = &'static Feature> {
        FEATURES
            .iter()
            .filter(move |one| self.0 & (1 << one.bit) != 0)
    }

    /// What an operator can do.
    #[must_use]
    pub(super) fn remedy(self) -> String {
        let newest = self
            .known()
            .max_by_key(|one| version(one.since))
            .map(|one| format!("run a kernel of version {} or later", one.since));
        let mut ways: Vec<String> = newest.into_iter().collect();
        for one in self.known().filter(|one| !one.without.is_empty()) {
            let way = format!("do without {}: {}", one.name, one.without);
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        ways.push("choose a mounter that needs no kernel client (`fuse`, `rbd-nbd`)".to_owned());
        ways.join(", or ")
    }
}

fn version(text: &str) -> (u32, u32) {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut separator = "";
        for one in self.known() {
            write!(f, "{separator}{} (kernel {})", one.name, one.since)?;
            rest &= !(1 << one.bit);
            separator = ", ";
        }
        if rest != 0 {
            write!(f, "{separator}unknown features {rest:#x}")?;
        }
        Ok(())
    }
}

/// The last few different lines, in brackets, for a message.
#[must_use]
pub(super) fn shown(lines: &[String]) -> String {
    let mut last: Vec<&str> = Vec::new();
    for line in lines.iter().rev() {
        if last.len() < 4 && !last.contains(&line.as_str()) {
            last.push(line);
        }
    }
    last.reverse();
    match last.as_slice() {
        [] => String::new(),
        lines => format!(" ({})", lines.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn a_mismatch_is_decoded() {
        let told = lines(&[
            "libceph: mon0 (1)10.0.0.1:6789 feature set mismatch, my 106b84a842a42 < server's 40106b84a842a42, missing 400000000000000",
            "libceph: mon0 (1)10.0.0.1:6789 missing required protocol features",
        ]);
        let lacking = lacking(&told).unwrap();
        assert_eq!(lacking.to_string(), "CRUSH_TUNABLES5 (kernel 4.5)");
        assert!(
            lacking
                .remedy()
                .starts_with("run a kernel of version 4.5 or later, or do without")
        );
    }

    #[test]
    fn several_features_name_the_newest_kernel_and_unknown_ones_stay_numbers() {
        let told = lines(&[
            "libceph: osd1 (2)10.0.0.1:6800 msgr2 feature set mismatch, my supported 0 < server's required 0, need 8000000000240000",
        ]);
        let lacking = lacking(&told).unwrap();
        assert_eq!(
            lacking.to_string(),
            "CRUSH_TUNABLES (kernel 3.6), SERVER_LUMINOUS (upmaps) (kernel 4.13), \
             unknown features 0x8000000000000000"
        );
        assert!(lacking.remedy().contains("4.13"));
    }

    #[test]
    fn other_lines_are_only_shown() {
        let told = lines(&["a", "b", "a", "c", "d", "e"]);
        assert_eq!(lacking(&told), None);
        assert_eq!(shown(&told), " (a; c; d; e)");
        assert_eq!(shown(&[]), "");
        assert_eq!(lacking(&lines(&["feature set mismatch, my x"])), None);
    }
}
