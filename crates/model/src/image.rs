//! Properties of an RBD image that a StorageClass can choose, and how a node attaches it.

use std::fmt;

use crate::size::ByteSize;

/// A set of image features.
///
/// The bits are librbd's (`RBD_FEATURE_*`), so the set can be passed on as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ImageFeatures(u64);

/// The features a StorageClass may name: name, librbd's bit, the feature it needs.
const NAMED: [(&str, ImageFeatures, Option<ImageFeatures>); 6] = [
    ("layering", ImageFeatures::LAYERING, None),
    ("exclusive-lock", ImageFeatures::EXCLUSIVE_LOCK, None),
    (
        "object-map",
        ImageFeatures::OBJECT_MAP,
        Some(ImageFeatures::EXCLUSIVE_LOCK),
    ),
    (
        "fast-diff",
        ImageFeatures::FAST_DIFF,
        Some(ImageFeatures::OBJECT_MAP),
    ),
    ("deep-flatten", ImageFeatures::DEEP_FLATTEN, None),
    (
        "journaling",
        ImageFeatures::JOURNALING,
        Some(ImageFeatures::EXCLUSIVE_LOCK),
    ),
];

/// Every feature librbd knows by name, for messages about images made elsewhere.
const ALL_NAMES: [(u64, &str); 11] = [
    (1 << 0, "layering"),
    (1 << 1, "striping"),
    (1 << 2, "exclusive-lock"),
    (1 << 3, "object-map"),
    (1 << 4, "fast-diff"),
    (1 << 5, "deep-flatten"),
    (1 << 6, "journaling"),
    (1 << 7, "data-pool"),
    (1 << 8, "operations"),
    (1 << 9, "migrating"),
    (1 << 10, "non-primary"),
];

/// Why a list of features was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeatureError {
    /// The list has no names in it.
    #[error("must not be empty")]
    Empty,
    /// A name is not a feature a StorageClass may set.
    #[error("names the unknown feature \"{0}\"")]
    Unknown(String),
    /// A feature is listed without one it stands on.
    #[error("has {feature} without {needs}, which it needs")]
    Needs {
        /// The listed feature.
        feature: &'static str,
        /// The missing one.
        needs: ImageFeatures,
    },
}

impl ImageFeatures {
    /// Clones.
    pub const LAYERING: Self = Self(1 << 0);
    /// Data striped over objects; set by librbd when striping is asked for.
    pub const STRIPING: Self = Self(1 << 1);
    /// One writer at a time.
    pub const EXCLUSIVE_LOCK: Self = Self(1 << 2);
    /// A map of the objects that exist.
    pub const OBJECT_MAP: Self = Self(1 << 3);
    /// Fast differences between snapshots.
    pub const FAST_DIFF: Self = Self(1 << 4);
    /// Flattening frees the parent's snapshots too.
    pub const DEEP_FLATTEN: Self = Self(1 << 5);
    /// A journal of writes for mirroring.
    pub const JOURNALING: Self = Self(1 << 6);
    /// Data in another pool; set by librbd when a data pool is asked for.
    pub const DATA_POOL: Self = Self(1 << 7);

    /// The set with these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits, as librbd counts them.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether all features of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The features of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Reads a comma-separated list, as a StorageClass has it. Spaces around a name are tolerated.
    ///
    /// # Errors
    /// Every unknown name, and every listed feature whose need is not listed.
    pub fn parse(list: &str) -> Result<Self, Vec<FeatureError>> {
        let mut wrong = Vec::new();
        let mut set = Self::default();
        for name in list.split(',').map(str::trim) {
            match NAMED.iter().find(|(known, ..)| *known == name) {
                Some((_, feature, _)) => set = set.union(*feature),
                None if list.trim().is_empty() => wrong.push(FeatureError::Empty),
                None => wrong.push(FeatureError::Unknown(crate::names::shorten(name))),
            }
        }
        for (feature, bit, needs) in NAMED {
            if let Some(needs) = needs
                && set.contains(bit)
                && !set.contains(needs)
            {
                wrong.push(FeatureError::Needs { feature, needs });
            }
        }
        if wrong.is_empty() {
            Ok(set)
        } else {
            Err(wrong)
        }
    }

    /// The names a StorageClass may list, joined for a message.
    #[must_use]
    pub fn known_names() -> String {
        NAMED.map(|(name, ..)| name).join(", ")
    }
}

impl fmt::Display for ImageFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut separator = "";
        for (bit, name) in ALL_NAMES {
            if rest & bit != 0 {
                write!(f, "{separator}{name}")?;
                separator = ",";
                rest &= !bit;
            }
        }
        if rest != 0 {
            write!(f, "{separator}{rest:#x}")?;
        }
        Ok(())
    }
}

/// How an image's data is striped over its objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Striping {
    /// Bytes written to one object before moving to the next.
    pub unit: ByteSize,
    /// Number of objects striped over.
    pub count: u64,
}

/// The size of an image's objects, a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectSize {
    order: u8,
}

impl ObjectSize {
    /// librbd's default: 4 MiB.
    pub const DEFAULT: Self = Self { order: 22 };

    /// Most objects an object map can hold (`cls_rbd`'s limit).
    const OBJECT_MAP_OBJECTS: u64 = 256_000_000;

    /// The object size of this many bytes; librbd takes powers of two from 4 KiB to 32 MiB.
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        let order = u8::try_from(bytes.trailing_zeros()).ok()?;
        (bytes.is_power_of_two() && (12..=25).contains(&order)).then_some(Self { order })
    }

    /// The binary logarithm of the size, as librbd wants it.
    #[must_use]
    pub const fn order(self) -> u8 {
        self.order
    }

    /// The size itself.
    #[must_use]
    pub const fn size(self) -> ByteSize {
        ByteSize::from_bytes(1 << self.order)
    }

    /// The largest image with objects of this size whose objects an object map can hold. librbd
    /// answers a larger one with a bare `EINVAL`.
    #[must_use]
    pub const fn largest_image_with_object_map(self) -> ByteSize {
        ByteSize::from_bytes(Self::OBJECT_MAP_OBJECTS << self.order)
    }
}

/// How a node attaches an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mounter {
    /// The kernel's rbd module.
    #[default]
    Krbd,
    /// The rbd-nbd program over the kernel's nbd module.
    Nbd,
    /// A FUSE export of the image under a loop device; needs no Ceph support in the kernel.
    Fuse,
}

impl Mounter {
    /// The value of the `mounter` parameter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Krbd => "rbd",
            Self::Nbd => "rbd-nbd",
            Self::Fuse => "fuse",
        }
    }

    /// The mounter with this parameter value.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Krbd, Self::Nbd, Self::Fuse]
            .into_iter()
            .find(|mounter| mounter.name() == name)
    }
}

impl fmt::Display for Mounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What happens to a volume's rbd-nbd log file when the volume is detached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum LogStrategy {
    /// Deleted.
    #[default]
    Remove,
    /// Packed.
    Compress,
    /// Left as it is.
    Preserve,
}

impl LogStrategy {
    /// The value of the `cephLogStrategy` parameter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Compress => "compress",
            Self::Preserve => "preserve",
        }
    }

    /// The strategy with this parameter value, in any letter case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Remove, Self::Compress, Self::Preserve]
            .into_iter()
            .find(|strategy| strategy.name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_list_becomes_librbds_bits() {
        let set = ImageFeatures::parse("layering, exclusive-lock,object-map,fast-diff").unwrap();
        assert_eq!(set.bits(), 0b1_1101);
        assert_eq!(
            set.to_string(),
            "layering,exclusive-lock,object-map,fast-diff"
        );
        assert_eq!(ImageFeatures::parse("deep-flatten").unwrap().bits(), 32);
        assert_eq!(
            ImageFeatures::from_bits(1 | 1 << 7 | 1 << 40).to_string(),
            "layering,data-pool,0x10000000000"
        );
        assert!(
            set.without(ImageFeatures::FAST_DIFF)
                .union(set)
                .contains(set)
        );
        assert!(ImageFeatures::default().is_empty());
    }

    #[test]
    fn every_mistake_of_a_feature_list_is_told() {
        let wrong = |list: &str| -> Vec<String> {
            ImageFeatures::parse(list)
                .unwrap_err()
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert_eq!(wrong(""), ["must not be empty"]);
        assert_eq!(
            wrong("fast-diff,striping,journaling"),
            [
                "names the unknown feature \"striping\"",
                "has fast-diff without object-map, which it needs",
                "has journaling without exclusive-lock, which it needs",
            ]
        );
        assert_eq!(wrong("layering,"), ["names the unknown feature \"\""]);
    }

    #[test]
    fn object_sizes_are_powers_of_two_librbd_takes() {
        assert_eq!(ObjectSize::from_bytes(4 << 20), Some(ObjectSize::DEFAULT));
        assert_eq!(ObjectSize::DEFAULT.order(), 22);
        assert_eq!(ObjectSize::DEFAULT.size().to_string(), "4 MiB");
        for bad in [0, 1, 2048, (4 << 20) + 1, 64 << 20, u64::MAX] {
            assert_eq!(ObjectSize::from_bytes(bad), None, "{bad}");
        }
        assert_eq!(
            ObjectSize::DEFAULT.largest_image_with_object_map().bytes(),
            256_000_000 * (4 << 20)
        );
    }

    #[test]
    fn mounters_and_strategies_are_found_by_name() {
        assert_eq!(Mounter::from_name("rbd"), Some(Mounter::Krbd));
        assert_eq!(Mounter::from_name("rbd-nbd"), Some(Mounter::Nbd));
        assert_eq!(Mounter::from_name("fuse"), Some(Mounter::Fuse));
        assert_eq!(Mounter::from_name("krbd"), None);
        assert_eq!(
            LogStrategy::from_name("Compress"),
            Some(LogStrategy::Compress)
        );
        assert_eq!(LogStrategy::from_name("keep"), None);
    }
}
