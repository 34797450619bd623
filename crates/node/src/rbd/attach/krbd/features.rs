//! Which image features the node's kernel can map, and what to say about those it cannot.
//!
//! Since 4.11 the kernel tells in `/sys/bus/rbd/supported_features`. Before, its version decides;
//! each later version has all that the earlier ones had.

use std::fmt;

use cuttle_host::KernelRelease;

/// An image feature: its bit in the image's header, its name as `rbd info` prints it, and the
/// kernel version (major, minor) that learnt it.
struct Feature {
    bit: u64,
    name: &'static str,
    since: Option<(u32, u32)>,
    /// Whether `rbd feature disable` can take it from an existing image.
    removable: bool,
}

/// All features a librbd may set. Versions: the kernel's `drivers/block/rbd.c` history.
const FEATURES: &[Feature] = &[
    feature(0, "layering", Some((3, 8)), false),
    feature(1, "striping", Some((3, 10)), false),
    feature(2, "exclusive-lock", Some((4, 9)), true),
    feature(3, "object-map", Some((5, 3)), true),
    feature(4, "fast-diff", Some((5, 3)), true),
    feature(5, "deep-flatten", Some((5, 1)), true),
    feature(6, "journaling", None, true),
    feature(7, "data-pool", Some((4, 11)), false),
    feature(8, "operations", Some((4, 16)), false),
    feature(9, "migrating", None, false),
    feature(10, "non-primary", None, false),
    feature(11, "dirty-cache", None, false),
];

const fn feature(
    shift: u32,
    name: &'static str,
    since: Option<(u32, u32)>,
    removable: bool,
) -> Feature {
    Feature {
        bit: 1 << shift,
        name,
        since,
        removable,
    }
}

/// The features a kernel can map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KernelFeatures(u64);

impl KernelFeatures {
    /// The mask that the kernel tells.
    #[must_use]
    pub(super) fn told(mask: u64) -> Self {
        Self(mask)
    }

    /// What a kernel of this release can map, for those that do not tell.
    #[must_use]
    pub(super) fn of_release(release: &KernelRelease) -> Self {
        let known = FEATURES
            .iter()
            .filter(|feature| {
                let since = feature.since;
                since.is_some_and(|(major, minor)| release.is_at_least(major, minor))
            })
            .fold(0, |mask, feature| mask | feature.bit);
        Self(known)
    }

    /// The features of an image that this kernel cannot map; empty when it can be mapped.
    #[must_use]
    pub(super) fn missing(self, image_features: u64) -> MissingFeatures {
        MissingFeatures(image_features & !self.0)
    }
}

/// Features an image has and the kernel lacks. Displayed as a list of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MissingFeatures(u64);

impl MissingFeatures {
    /// Whether nothing is missing.
    #[must_use]
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn known(self) -> impl Iterator<Item = &'static Feature> {
        FEATURES
            .iter()
            .filter(move |feature| self.0 & feature.bit != 0)
    }

    /// The bits that no feature of the table explains.
    fn unknown(self) -> u64 {
        self.known()
            .fold(self.0, |mask, feature| mask & !feature.bit)
    }

    /// What an operator can do about the missing features of `image`.
    #[must_use]
    pub(super) fn remedy(self, image: &impl fmt::Display) -> String {
        let mut ways = Vec::new();
        let newest = self.known().map(|feature| feature.since).max().flatten();
        let learnable = self.unknown() == 0 && self.known().all(|feature| feature.since.is_some());
        if let (true, Some((major, minor))) = (learnable, newest) {
            ways.push(format!("run a kernel of version {major}.{minor} or later"));
        }
        if self.unknown() == 0 && self.known().all(|feature| feature.removable) {
            // Newest first: fast-diff must go before object-map, that before exclusive-lock.
            let mut names: Vec<_> = self.known().map(|feature| feature.name).collect();
            names.reverse();
            ways.push(format!(
                "take them from the image with `rbd feature disable {image} {}`",
                names.join(" ")
            ));
        }
        ways.push(
            "choose `mounter: fuse` in the StorageClass, which needs nothing of the kernel"
                .to_owned(),
        );
        ways.join(", or ")
    }
}

impl fmt::Display for MissingFeatures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for feature in self.known() {
            write!(out, "{separator}{}", feature.name)?;
            match feature.since {
                Some((major, minor)) => write!(out, " (kernel {major}.{minor})")?,
                None => write!(out, " (no kernel)")?,
            }
            separator = ", ";
        }
        if self.unknown() != 0 {
            write!(out, "{separator}unknown features {:#x}", self.unknown())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYERING: u64 = 1;
    const EXCLUSIVE_LOCK: u64 = 1 << 2;
    const OBJECT_MAP: u64 = 1 << 3;
    const FAST_DIFF: u64 = 1 << 4;
    const JOURNALING: u64 = 1 << 6;

    fn of(release: &str) -> KernelFeatures {
        KernelFeatures::of_release(&KernelRelease::parse(release))
    }

    #[test]
    fn the_kernels_own_word_counts() {
        let kernel = KernelFeatures::told(0x1bf);
        assert!(kernel.missing(LAYERING | FAST_DIFF).is_empty());
        assert!(!kernel.missing(JOURNALING).is_empty());
    }

    #[test]
    fn older_kernels_have_all_that_came_before() {
        let kernel = of("4.10.17-generic");
        assert!(kernel.missing(LAYERING | EXCLUSIVE_LOCK).is_empty());
        assert_eq!(
            kernel
                .missing(LAYERING | OBJECT_MAP | FAST_DIFF)
                .to_string(),
            "object-map (kernel 5.3), fast-diff (kernel 5.3)"
        );
        assert!(!of("strange").missing(LAYERING).is_empty());
    }

    #[test]
    fn the_remedy_fits_the_features() {
        let kernel = of("5.2");
        let remedy = kernel.missing(OBJECT_MAP | FAST_DIFF).remedy(&"p/i");
        assert!(remedy.contains("version 5.3"), "{remedy}");
        assert!(
            remedy.contains("rbd feature disable p/i fast-diff object-map"),
            "{remedy}"
        );
        let never = kernel.missing(JOURNALING).remedy(&"p/i");
        assert!(!never.contains("version"), "{never}");
        assert!(never.contains("journaling"), "{never}");
        let unknown = kernel.missing(1 << 40);
        assert_eq!(unknown.to_string(), "unknown features 0x10000000000");
        assert!(unknown.remedy(&"p/i").starts_with("choose `mounter: fuse`"));
    }
}
