//! The parameters of an RBD StorageClass, checked as a whole. Those of CephFS have a file of their
//! own.
//!
//! All mistakes are reported at once. Keys that belong to other components (`csi.storage.k8s.io/*`)
//! are stripped; those that name the claim become the volume's metadata. Keys nobody knows are
//! mistakes, not silently dropped. No cluster is looked up here.

use std::collections::BTreeMap;

use crate::image::{ImageFeatures, Mounter, ObjectSize, Striping};
use crate::mistakes::{Mistakes, ParameterErrors, Place};
use crate::names::{ClusterId, ImagePrefix, PoolName};
use crate::size::ByteSize;

mod attach;
mod cephfs;
mod keys;
mod snapshot;

pub use attach::AttachParameters;
pub use cephfs::{CephfsAttachParameters, CephfsMounter, CephfsParameters, CephfsParsed};
use keys::{KEYS, check_keys};
pub use snapshot::{SnapshotMetadata, SnapshotParameters};

/// The prefix of keys that Kubernetes' own components read.
const SIDECAR_PREFIX: &str = "csi.storage.k8s.io/";

/// The metadata keys `--extra-create-metadata` adds.
pub const PVC_NAME_KEY: &str = "csi.storage.k8s.io/pvc/name";
/// See [`PVC_NAME_KEY`].
pub const PVC_NAMESPACE_KEY: &str = "csi.storage.k8s.io/pvc/namespace";
/// See [`PVC_NAME_KEY`].
pub const PV_NAME_KEY: &str = "csi.storage.k8s.io/pv/name";

/// What a StorageClass says about the images it makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RbdParameters {
    /// The cluster, by its entry in `config.json`.
    pub cluster: ClusterId,
    /// The pool of images and journal.
    pub pool: PoolName,
    /// The pool of the images' data, when it is another one.
    pub data_pool: Option<PoolName>,
    /// What image names begin with.
    pub prefix: ImagePrefix,
    /// The features of images; librbd's defaults when absent.
    pub features: Option<ImageFeatures>,
    /// Striping, when asked for.
    pub striping: Option<Striping>,
    /// The size of objects, when asked for.
    pub object_size: Option<ObjectSize>,
    /// How nodes attach the images.
    pub attach: AttachParameters,
}

/// Who a volume is for, as Kubernetes tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumeMetadata {
    /// The name of the PersistentVolumeClaim.
    pub pvc_name: Option<String>,
    /// Its namespace, the volume's owner.
    pub pvc_namespace: Option<String>,
    /// The name of the PersistentVolume.
    pub pv_name: Option<String>,
}

/// A StorageClass's parameters after checking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// What to make.
    pub parameters: RbdParameters,
    /// Who it is for.
    pub metadata: VolumeMetadata,
    /// The parameters that belong into the volume context, as they were given: all but those of
    /// Kubernetes' own components and `topologyConstrainedPools`.
    pub context: BTreeMap<String, String>,
}

impl RbdParameters {
    /// Checks the parameters of CreateVolume.
    ///
    /// # Errors
    /// All mistakes together, each with its field, the rule it breaks and what to write instead.
    pub fn parse(given: &BTreeMap<String, String>) -> Result<Parsed, ParameterErrors> {
        let mut mistakes = Mistakes::default();
        check_keys(given, &KEYS, &mut mistakes);
        refuse_later_features(given, &mut mistakes);
        let cluster = required(
            given,
            "clusterID",
            "set it to a clusterID of config.json",
            ClusterId::new,
            &mut mistakes,
        );
        let pool = pool(given, &mut mistakes);
        let data_pool = named(
            given,
            "dataPool",
            "name an existing pool",
            PoolName::new,
            &mut mistakes,
        );
        let prefix = named(
            given,
            "volumeNamePrefix",
            "remove it, or set a prefix such as csi-vol-",
            ImagePrefix::new,
            &mut mistakes,
        );
        if given.get("radosNamespace").is_some_and(String::is_empty) {
            mistakes.add(
                "radosNamespace",
                "must not be empty",
                "remove it; the namespace is that of the cluster's entry in config.json",
            );
        }
        let attach = AttachParameters::read(given, &mut mistakes);
        let features = features(given, attach.mounter, &mut mistakes);
        let object_size = object_size(given, &mut mistakes);
        let striping = striping(given, object_size, &mut mistakes);
        match (cluster, pool) {
            (Some(cluster), Some(pool)) if mistakes.is_empty() => Ok(Parsed {
                parameters: Self {
                    cluster,
                    pool,
                    data_pool,
                    prefix: prefix.unwrap_or_default(),
                    features,
                    striping,
                    object_size,
                    attach,
                },
                metadata: VolumeMetadata::read(given),
                context: context(given),
            }),
            _ => Err(mistakes.into_errors(Place::StorageClass)),
        }
    }

    /// The largest image these parameters allow: an object map holds a limited number of objects.
    /// Without a list of features librbd's defaults count, which include the object map.
    #[must_use]
    pub fn largest_image(&self) -> ByteSize {
        let has_map = self
            .features
            .is_none_or(|set| set.contains(ImageFeatures::OBJECT_MAP));
        if has_map {
            self.object_size
                .unwrap_or(ObjectSize::DEFAULT)
                .largest_image_with_object_map()
        } else {
            ByteSize::LARGEST_IMAGE
        }
    }
}

impl VolumeMetadata {
    /// The keys of all entries.
    pub const KEYS: [&'static str; 3] = [PVC_NAME_KEY, PVC_NAMESPACE_KEY, PV_NAME_KEY];

    fn read(given: &BTreeMap<String, String>) -> Self {
        let value = |key| given.get(key).filter(|text| !text.is_empty()).cloned();
        Self {
            pvc_name: value(PVC_NAME_KEY),
            pvc_namespace: value(PVC_NAMESPACE_KEY),
            pv_name: value(PV_NAME_KEY),
        }
    }

    /// The metadata to set on the image: key and value of each known fact.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            (PVC_NAME_KEY, &self.pvc_name),
            (PVC_NAMESPACE_KEY, &self.pvc_namespace),
            (PV_NAME_KEY, &self.pv_name),
        ]
        .into_iter()
        .filter_map(|(key, value)| value.as_deref().map(|value| (key, value)))
    }
}

fn context(given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    given
        .iter()
        .filter(|(key, _)| !key.starts_with(SIDECAR_PREFIX) && *key != "topologyConstrainedPools")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Parameters of features that are still to come: an image made without them would not be what was
/// asked for.
fn refuse_later_features(given: &BTreeMap<String, String>, mistakes: &mut Mistakes) {
    const LATER: &str = "is not supported yet";
    refuse_encryption(given, mistakes);
    let filled = |key: &str| given.get(key).is_some_and(|value| !value.trim().is_empty());
    if filled("topologyConstrainedPools") {
        mistakes.add(
            "topologyConstrainedPools",
            LATER,
            "remove it and name one pool in pool",
        );
    }
    if let Some(value) = given.get("thickProvision") {
        let remedy = "set it to \"false\" or remove it; images are always thin";
        match boolean(value) {
            Some(true) => mistakes.add("thickProvision", LATER, remedy),
            Some(false) => {}
            None => mistakes.add("thickProvision", "must be true or false", remedy),
        }
    }
}

/// Refuses encryption, naming each parameter that asks for it. With `encrypted: "false"` the other
/// encryption parameters mean nothing, as with ceph-csi.
pub(crate) fn refuse_encryption(given: &BTreeMap<String, String>, mistakes: &mut Mistakes) {
    const LATER: &str = "is not supported yet";
    const REMEDY: &str = "remove it, or set encrypted to \"false\"";
    match given.get("encrypted").map(|value| boolean(value)) {
        Some(Some(false)) => return,
        Some(None) => {
            mistakes.add(
                "encrypted",
                "must be true or false",
                "set it to \"false\" or remove it",
            );
        }
        Some(Some(true)) => {
            mistakes.add("encrypted", LATER, "set it to \"false\" or remove it");
        }
        None => {}
    }
    for key in ["encryptionKMSID", "encryptionType"] {
        if given.contains_key(key) {
            mistakes.add(key, LATER, REMEDY);
        }
    }
}

fn pool(given: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Option<PoolName> {
    // With a topology the pool comes from there; that the topology is not supported is enough to say.
    let topology = given
        .get("topologyConstrainedPools")
        .is_some_and(|v| !v.trim().is_empty());
    if topology && !given.contains_key("pool") {
        return None;
    }
    required(
        given,
        "pool",
        "set it to an existing RADOS pool",
        PoolName::new,
        mistakes,
    )
}

pub(crate) fn required<T, E: std::fmt::Display + RuleText>(
    given: &BTreeMap<String, String>,
    key: &str,
    remedy: &str,
    check: fn(String) -> Result<T, E>,
    mistakes: &mut Mistakes,
) -> Option<T> {
    if !given.contains_key(key) {
        mistakes.add(key, "is missing", remedy);
        return None;
    }
    named(given, key, remedy, check, mistakes)
}

pub(crate) fn named<T, E: RuleText>(
    given: &BTreeMap<String, String>,
    key: &str,
    remedy: &str,
    check: fn(String) -> Result<T, E>,
    mistakes: &mut Mistakes,
) -> Option<T> {
    let value = given.get(key)?;
    mistakes.take(
        key,
        remedy,
        check(value.clone()).map_err(|error| error.rule_text()),
    )
}

/// Errors that can tell the broken rule alone, without the field they do not know.
pub(crate) trait RuleText {
    /// The rule, such as `must not be empty`.
    fn rule_text(&self) -> String;
}

impl RuleText for crate::names::NameError {
    fn rule_text(&self) -> String {
        self.rule().to_owned()
    }
}

/// A truth value in the forms Go's `strconv.ParseBool` takes.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

fn features(
    given: &BTreeMap<String, String>,
    mounter: Mounter,
    mistakes: &mut Mistakes,
) -> Option<ImageFeatures> {
    let list = given.get("imageFeatures")?;
    let remedy = format!(
        "list any of {} without spaces, or remove it",
        ImageFeatures::known_names()
    );
    match ImageFeatures::parse(list) {
        Ok(set) => {
            // The kernel's client has no journaling.
            if set.contains(ImageFeatures::JOURNALING) && mounter == Mounter::Krbd {
                mistakes.add(
                    "imageFeatures",
                    "has journaling, which mounter \"rbd\" cannot attach",
                    "set mounter to rbd-nbd, or remove journaling",
                );
            }
            Some(set)
        }
        Err(wrong) => {
            for error in wrong {
                mistakes.add("imageFeatures", error.to_string(), remedy.clone());
            }
            None
        }
    }
}

fn object_size(given: &BTreeMap<String, String>, mistakes: &mut Mistakes) -> Option<ObjectSize> {
    let text = given.get("objectSize")?;
    let size = number(text).and_then(ObjectSize::from_bytes);
    if size.is_none() {
        mistakes.add(
            "objectSize",
            "must be a power of two from 4096 to 33554432 bytes",
            "remove it, or write the number of bytes, such as 4194304",
        );
    }
    size
}

fn striping(
    given: &BTreeMap<String, String>,
    object_size: Option<ObjectSize>,
    mistakes: &mut Mistakes,
) -> Option<Striping> {
    const BOTH: &str = "set both stripeUnit and stripeCount, or neither";
    let mut field = |key: &str, other: &str| {
        let text = given.get(key)?;
        if !given.contains_key(other) {
            mistakes.add(key, format!("needs {other} beside it"), BOTH);
        }
        let value = number(text);
        if value.is_none() {
            mistakes.add(key, "must be a whole number", "write it in decimal digits");
        }
        value
    };
    let unit = field("stripeUnit", "stripeCount");
    let count = field("stripeCount", "stripeUnit");
    let (Some(unit), Some(count @ 1..)) = (unit, count) else {
        return None;
    };
    let object = object_size.unwrap_or(ObjectSize::DEFAULT).size();
    if unit == 0 || !object.bytes().is_multiple_of(unit) {
        mistakes.add(
            "stripeUnit",
            format!("must divide the object size of {object}"),
            "choose a power of two up to the object size, or change objectSize",
        );
        return None;
    }
    Some(Striping {
        unit: ByteSize::from_bytes(unit),
        count,
    })
}

/// Decimal digits only, as Go's `ParseUint` with base 10: no sign, no unit.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
