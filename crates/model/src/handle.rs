//! Volume handles: the identifiers ceph-csi and Cuttle give to Kubernetes.
//!
//! A composed handle is ASCII text of 64 + L bytes:
//!
//! ```text
//! offset   0     4  5     9  10          10+L  11+L              27+L  28+L
//!          0001  -  000b  -  <clusterID>  -    00000000000000ff   -    <36 characters>
//!          version  L        L bytes           pool number             object UUID
//! ```
//!
//! Numbers are big-endian hex. The version is always `0001` on writing, and any is taken on
//! reading. The other form, `mig_mons-<md5>_image-<uuid>_<hex pool name>`, names a volume of the
//! in-tree RBD plugin that was migrated to CSI; it has no journal.
//!
//! Paths on a node contain the handle *as the request gave it*; [`VolumeHandle`]'s text is the
//! canonical one, which differs from it only when someone wrote a handle by hand.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Class, Code, Explain};
use crate::ids::ObjectUuid;
use crate::names::{ClusterId, ImageName, PoolName, shorten};

/// A decoded volume handle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VolumeHandle {
    /// The usual form: where to find the journal record of the volume.
    Composed(ComposedHandle),
    /// A volume of the in-tree RBD plugin: where to find the image itself.
    Migrated(MigratedHandle),
}

/// The parts of a composed handle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComposedHandle {
    /// The cluster, by its `clusterID` in `config.json`.
    pub cluster: ClusterId,
    /// The number of the pool that holds the image (for CephFS the file system's number). Never
    /// negative in a decoded handle.
    pub location: i64,
    /// The UUID of the journal record.
    pub uuid: ObjectUuid,
}

/// The parts of a migrated handle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MigratedHandle {
    cluster: ClusterId,
    image: ImageName,
    pool: PoolName,
}

/// Text that is no volume handle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("volume handle \"{shown}\" is malformed: {part} {rule}")]
pub struct HandleError {
    shown: String,
    part: &'static str,
    rule: Cow<'static, str>,
}

impl HandleError {
    /// The part of the handle that is wrong.
    #[must_use]
    pub fn part(&self) -> &'static str {
        self.part
    }
}

impl Explain for HandleError {
    fn code(&self) -> Code {
        Code::new(1005)
    }
    fn class(&self) -> Class {
        Class::Invalid
    }
    fn remedy(&self) -> Option<Cow<'static, str>> {
        Some(
            "use the volumeHandle that CreateVolume returned; for a static volume set \
             staticVolume: \"true\" and keep reclaimPolicy Retain"
                .into(),
        )
    }
}

/// A broken rule of one part; the whole text is added by [`VolumeHandle::parse`].
type Broken = (&'static str, Cow<'static, str>);

const IMAGE_MARK: &str = "image-";
const MONS_MARK: &str = "mons-";
const MIGRATED_IMAGE_PREFIX: &str = "kubernetes-dynamic-pvc-";

impl VolumeHandle {
    /// Decodes a handle of either form. Never panics, whatever the text.
    ///
    /// # Errors
    /// When the text is no handle; the error names the part and its rule.
    pub fn parse(text: &str) -> Result<Self, HandleError> {
        let decoded = if text.starts_with("mig_") {
            parse_migrated(text).map(Self::Migrated)
        } else {
            parse_composed(text).map(Self::Composed)
        };
        decoded.map_err(|(part, rule)| HandleError {
            shown: shorten(text),
            part,
            rule,
        })
    }

    /// The cluster of either form.
    #[must_use]
    pub fn cluster(&self) -> &ClusterId {
        match self {
            Self::Composed(handle) => &handle.cluster,
            Self::Migrated(handle) => &handle.cluster,
        }
    }

    /// The canonical text.
    #[must_use]
    pub fn encode(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for VolumeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Composed(handle) => handle.fmt(f),
            Self::Migrated(handle) => handle.fmt(f),
        }
    }
}

impl ComposedHandle {
    /// The canonical text.
    #[must_use]
    pub fn encode(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ComposedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster,
            location,
            uuid,
        } = self;
        write!(
            f,
            "0001-{:04x}-{cluster}-{location:016x}-{uuid}",
            cluster.as_str().len()
        )
    }
}

impl MigratedHandle {
    /// The cluster: the md5 sum of its monitor list, which is also its `clusterID`.
    #[must_use]
    pub fn cluster(&self) -> &ClusterId {
        &self.cluster
    }

    /// The pool of the image.
    #[must_use]
    pub fn pool(&self) -> &PoolName {
        &self.pool
    }

    /// The name of the image, as the in-tree plugin gave it.
    #[must_use]
    pub fn image(&self) -> &ImageName {
        &self.image
    }
}

impl fmt::Display for MigratedHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = self.image.as_str();
        let image = image.strip_prefix(MIGRATED_IMAGE_PREFIX).unwrap_or(image);
        write!(f, "mig_{MONS_MARK}{}_{IMAGE_MARK}{image}_", self.cluster)?;
        self.pool
            .as_str()
            .bytes()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn parse_composed(text: &str) -> Result<ComposedHandle, Broken> {
    let (version, rest) = take(text, 4, "version")?;
    hex(version, "version")?;
    let rest = dash(rest, "version")?;
    let (length, rest) = take(rest, 4, "cluster ID length")?;
    let length = usize::try_from(hex(length, "cluster ID length")?)
        .map_err(|_too_long| ("cluster ID length", Cow::from("does not fit this machine")))?;
    if length == 0 {
        return Err(("cluster ID length", "must not be 0".into()));
    }
    let rest = dash(rest, "cluster ID length")?;
    let (cluster, rest) = take(rest, length, "cluster ID")?;
    let cluster =
        ClusterId::new(cluster).map_err(|e| ("cluster ID", e.rule().to_owned().into()))?;
    let rest = dash(rest, "cluster ID")?;
    let (location, rest) = take(rest, 16, "pool number")?;
    let location = i64::try_from(hex(location, "pool number")?)
        .map_err(|_negative| ("pool number", Cow::from("must not be negative")))?;
    let rest = dash(rest, "pool number")?;
    let uuid = ObjectUuid::parse(rest).map_err(|_rule| {
        (
            "object UUID",
            Cow::from("must be 36 letters, digits or '-'"),
        )
    })?;
    Ok(ComposedHandle {
        cluster,
        location,
        uuid,
    })
}

fn take<'a>(text: &'a str, bytes: usize, part: &'static str) -> Result<(&'a str, &'a str), Broken> {
    text.split_at_checked(bytes).ok_or_else(|| {
        (
            part,
            format!("needs {bytes} bytes, which are not there").into(),
        )
    })
}

fn dash<'a>(text: &'a str, after: &'static str) -> Result<&'a str, Broken> {
    text.strip_prefix('-')
        .ok_or_else(|| (after, "must be followed by '-'".into()))
}

fn hex(text: &str, part: &'static str) -> Result<u64, Broken> {
    // `from_str_radix` alone would take a sign.
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err((part, "must be hexadecimal digits".into()));
    }
    u64::from_str_radix(text, 16).map_err(|e| (part, e.to_string().into()))
}

fn parse_migrated(text: &str) -> Result<MigratedHandle, Broken> {
    // Longer than any pool name can make it; keeps hostile input cheap.
    if text.len() > 4096 {
        return Err(("length", "must be at most 4096 bytes".into()));
    }
    let mut fields = text.split('_').skip(1);
    let (Some(first), Some(second), Some(pool), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err((
            "form",
            "must be mig_mons-<md5>_image-<uuid>_<hex pool name>".into(),
        ));
    };
    let either = |mark: &str| {
        first
            .strip_prefix(mark)
            .or_else(|| second.strip_prefix(mark))
    };
    let cluster =
        either(MONS_MARK).ok_or_else(|| ("monitors", Cow::from("must begin with \"mons-\"")))?;
    let cluster = ClusterId::new(cluster).map_err(|e| ("monitors", e.rule().to_owned().into()))?;
    let image =
        either(IMAGE_MARK).ok_or_else(|| ("image", Cow::from("must begin with \"image-\"")))?;
    if image.is_empty() {
        return Err(("image", "must not be empty".into()));
    }
    let image = ImageName::new(format!("{MIGRATED_IMAGE_PREFIX}{image}"))
        .map_err(|e| ("image", e.rule().to_owned().into()))?;
    Ok(MigratedHandle {
        cluster,
        image,
        pool: hex_pool(pool)?,
    })
}

fn hex_pool(text: &str) -> Result<PoolName, Broken> {
    let wrong = |rule: &'static str| ("pool name", Cow::from(rule));
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.ok_or_else(|| wrong("must be hexadecimal digits"))?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(wrong("must have an even number of hexadecimal digits"));
    }
    let bytes: Result<Vec<u8>, _> = pairs
        .iter()
        .map(|[high, low]| u8::try_from(high * 16 + low))
        .collect();
    let bytes = bytes.map_err(|_range| wrong("must be hexadecimal digits"))?;
    let name = String::from_utf8(bytes).map_err(|_utf8| wrong("must be UTF-8"))?;
    PoolName::new(name).map_err(|e| ("pool name", e.rule().to_owned().into()))
}

#[cfg(test)]
mod tests;
