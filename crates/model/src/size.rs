//! Sizes in bytes and the rules that turn a requested size into that of an image or subvolume.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Class, Code, Explain};

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(u64);

const KIB_BYTES: u64 = 1 << 10;
const MIB_BYTES: u64 = 1 << 20;
const GIB_BYTES: u64 = 1 << 30;
const TIB_BYTES: u64 = 1 << 40;

/// ceph-csi gives subvolumes whole objects.
const SUBVOLUME_UNIT: ByteSize = ByteSize(4 * MIB_BYTES);

/// The largest image: the greatest whole GiB that the 64-bit signed sizes of CSI can state.
const LARGEST: u64 = (1 << 63) - GIB_BYTES;

impl ByteSize {
    /// No bytes.
    pub const ZERO: Self = Self(0);
    /// 2^20 bytes.
    pub const MIB: Self = Self(MIB_BYTES);
    /// 2^30 bytes.
    pub const GIB: Self = Self(GIB_BYTES);
    /// The largest size an image may have, before the limits of its features.
    pub const LARGEST_IMAGE: Self = Self(LARGEST);

    /// The size of this many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size of this many MiB, when it fits.
    #[must_use]
    pub const fn from_mib(count: u64) -> Option<Self> {
        Self::MIB.checked_mul(count)
    }

    /// The size of this many GiB, when it fits.
    #[must_use]
    pub const fn from_gib(count: u64) -> Option<Self> {
        Self::GIB.checked_mul(count)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of bytes as the signed number CSI carries; sizes past its range are capped.
    #[must_use]
    pub fn wire_bytes(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// The sum, unless it overflows.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// The difference, unless it would be negative.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// The product, unless it overflows.
    #[must_use]
    pub const fn checked_mul(self, count: u64) -> Option<Self> {
        match self.0.checked_mul(count) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }

    /// The next multiple of `unit`, unless it overflows or `unit` is zero.
    #[must_use]
    pub const fn checked_round_up(self, unit: Self) -> Option<Self> {
        match self.0.checked_next_multiple_of(unit.0) {
            Some(bytes) => Some(Self(bytes)),
            None => None,
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            (TIB_BYTES, "TiB"),
            (GIB_BYTES, "GiB"),
            (MIB_BYTES, "MiB"),
            (KIB_BYTES, "KiB"),
        ];
        for (unit, name) in units {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{} {name}", self.0 / unit);
            }
        }
        write!(
            f,
            "{} {}",
            self.0,
            if self.0 == 1 { "byte" } else { "bytes" }
        )
    }
}

/// The range of sizes a request allows. Absent ends are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapacityRange {
    /// At least this much.
    pub required: Option<ByteSize>,
    /// At most this much.
    pub limit: Option<ByteSize>,
}

impl CapacityRange {
    /// Takes the two numbers of a CSI capacity range, where 0 means "not given".
    ///
    /// # Errors
    /// When a number is negative, both are 0, or the limit is below the requirement.
    pub fn from_wire(required_bytes: i64, limit_bytes: i64) -> Result<Self, SizeError> {
        let end = |field, bytes: i64| match u64::try_from(bytes) {
            Err(_negative) => Err(SizeError::Negative { field, bytes }),
            Ok(0) => Ok(None),
            Ok(bytes) => Ok(Some(ByteSize(bytes))),
        };
        let required = end("capacity_range.required_bytes", required_bytes)?;
        let limit = end("capacity_range.limit_bytes", limit_bytes)?;
        if required.is_none() && limit.is_none() {
            return Err(SizeError::Zero);
        }
        if let (Some(required), Some(limit)) = (required, limit)
            && limit < required
        {
            return Err(SizeError::LimitBelowRequired { required, limit });
        }
        Ok(Self { required, limit })
    }
}

/// Why no size follows from a requested range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// A number of the range is negative.
    #[error("{field} must not be negative, is {bytes}")]
    Negative {
        /// The field of the request.
        field: &'static str,
        /// Its value.
        bytes: i64,
    },
    /// The range asks for nothing.
    #[error("capacity_range.required_bytes must be greater than 0")]
    Zero,
    /// The range is empty.
    #[error("capacity_range.limit_bytes ({limit}) is below required_bytes ({required})")]
    LimitBelowRequired {
        /// The lower end.
        required: ByteSize,
        /// The upper end.
        limit: ByteSize,
    },
    /// Images come in whole MiB, subvolumes in multiples of 4 MiB, both from 1 GiB on in whole GiB,
    /// and none of those lies in the range.
    #[error("capacity_range.limit_bytes ({limit}) is too small: {required} rounds up to {rounded}")]
    PastLimit {
        /// The size before rounding.
        required: ByteSize,
        /// The size after rounding.
        rounded: ByteSize,
        /// The upper end of the range.
        limit: ByteSize,
    },
    /// The size is beyond what a volume can have.
    #[error("capacity_range.required_bytes ({required}) is beyond the largest volume ({largest})")]
    TooLarge {
        /// The requested size.
        required: ByteSize,
        /// The largest possible size.
        largest: ByteSize,
    },
}

impl Explain for SizeError {
    fn code(&self) -> Code {
        Code::new(match self {
            Self::Negative { .. } | Self::Zero | Self::LimitBelowRequired { .. } => 1003,
            Self::PastLimit { .. } | Self::TooLarge { .. } => 1004,
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::Negative { .. } | Self::Zero | Self::LimitBelowRequired { .. } => Class::Invalid,
            Self::PastLimit { .. } | Self::TooLarge { .. } => Class::OutOfRange,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Negative { .. } | Self::Zero => {
                "request a size greater than 0, such as 1Gi, in the claim".into()
            }
            Self::LimitBelowRequired { .. } => {
                "raise the claim's limit or lower its request".into()
            }
            Self::PastLimit { rounded, .. } => {
                format!("raise the claim's limit to at least {rounded}").into()
            }
            Self::TooLarge { largest, .. } => format!("request at most {largest}").into(),
        })
    }
}

/// The size an image gets for a requested range.
///
/// No requirement means 1 GiB (or what the limit allows of it); below 1 GiB sizes round up to whole
/// MiB, from there on to whole GiB.
///
/// # Errors
/// When the requirement is 0, above the limit or beyond the largest image, or when rounding passes
/// the limit.
pub fn round_for_image(
    required: Option<ByteSize>,
    limit: Option<ByteSize>,
) -> Result<ByteSize, SizeError> {
    round(required, limit, ByteSize::MIB)
}

/// The quota a subvolume gets for a requested range, as ceph-csi rounds it.
///
/// No requirement means 1 GiB (or what the limit allows of it); below 1 GiB sizes round up to
/// multiples of 4 MiB, from there on to whole GiB.
///
/// # Errors
/// As [`round_for_image`].
pub fn round_for_subvolume(
    required: Option<ByteSize>,
    limit: Option<ByteSize>,
) -> Result<ByteSize, SizeError> {
    round(required, limit, SUBVOLUME_UNIT)
}

/// Rounds up to `unit`, and to whole GiB what is not below one then.
fn round(
    required: Option<ByteSize>,
    limit: Option<ByteSize>,
    unit: ByteSize,
) -> Result<ByteSize, SizeError> {
    let largest = ByteSize::LARGEST_IMAGE;
    let Some(required) = required else {
        return default_size(limit, unit);
    };
    if required == ByteSize::ZERO {
        return Err(SizeError::Zero);
    }
    if let Some(limit) = limit
        && limit < required
    {
        return Err(SizeError::LimitBelowRequired { required, limit });
    }
    let in_units = required.checked_round_up(unit);
    let rounded = in_units.and_then(|size| {
        if size < ByteSize::GIB {
            Some(size)
        } else {
            size.checked_round_up(ByteSize::GIB)
        }
    });
    let rounded = match rounded {
        Some(rounded) if rounded <= largest => rounded,
        Some(_) | None => return Err(SizeError::TooLarge { required, largest }),
    };
    match limit {
        Some(limit) if rounded > limit => Err(SizeError::PastLimit {
            required,
            rounded,
            limit,
        }),
        Some(_) | None => Ok(rounded),
    }
}

/// The size when nothing is required: 1 GiB, or as many whole units as the limit has room for.
fn default_size(limit: Option<ByteSize>, unit: ByteSize) -> Result<ByteSize, SizeError> {
    match limit {
        Some(limit) if limit < unit => Err(SizeError::PastLimit {
            required: ByteSize(1),
            rounded: unit,
            limit,
        }),
        Some(limit) if limit < ByteSize::GIB => {
            let rest = limit.0.checked_rem(unit.0).unwrap_or_default();
            Ok(limit.checked_sub(ByteSize(rest)).unwrap_or(limit))
        }
        Some(_) | None => Ok(ByteSize::GIB),
    }
}

#[cfg(test)]
mod tests;
