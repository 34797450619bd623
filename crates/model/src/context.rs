//! The volume context: what a node learns about a volume beside its handle.
//!
//! For volumes made by CreateVolume it repeats the StorageClass's parameters; for static volumes it
//! is written by hand and says where the image is. Unknown keys are left alone: sidecars and other
//! drivers add their own.

use std::collections::BTreeMap;

use crate::mistakes::{Mistakes, ParameterErrors, Place};
use crate::names::{ClusterId, ImageName, PoolName};
use crate::parameters::{AttachParameters, RuleText, boolean, refuse_encryption};

mod cephfs;

pub use cephfs::{CephfsContext, CephfsPlace, ToldSubvolume};

/// A checked volume context of an RBD volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RbdContext {
    /// Where the image is, when the context has to say it; `None` means that the handle does.
    pub image: Option<StaticImage>,
    /// How to attach and format it.
    pub attach: AttachParameters,
}

/// The place of a static volume's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticImage {
    /// The cluster, by its entry in `config.json`.
    pub cluster: ClusterId,
    /// The pool.
    pub pool: PoolName,
    /// The image: the volume's handle, or `imageName` for migrated volumes.
    pub image: ImageName,
}

impl RbdContext {
    /// Checks a volume context; `handle` is the request's volume id, which names the image of a
    /// static volume.
    ///
    /// # Errors
    /// All mistakes together.
    pub fn parse(handle: &str, given: &BTreeMap<String, String>) -> Result<Self, ParameterErrors> {
        let mut mistakes = Mistakes::default();
        let flag = |key: &str, mistakes: &mut Mistakes| match given.get(key).map(|v| boolean(v)) {
            Some(Some(value)) => value,
            // ceph-csi compares with "true" only, so an empty or odd value means false there; an
            // odd one is more likely a mistake.
            Some(None) if given.get(key).is_some_and(|v| !v.is_empty()) => {
                mistakes.add(key, "must be true or false", "write \"true\" or \"false\"");
                false
            }
            Some(None) | None => false,
        };
        let is_static = flag("staticVolume", &mut mistakes);
        let migrated = flag("migration", &mut mistakes);
        refuse_encryption(given, &mut mistakes);
        let attach = AttachParameters::read(given, &mut mistakes);
        let image = if is_static {
            place(handle, migrated, given, &mut mistakes)
        } else {
            None
        };
        if mistakes.is_empty() {
            Ok(Self { image, attach })
        } else {
            Err(mistakes.into_errors(Place::VolumeContext))
        }
    }
}

fn place(
    handle: &str,
    migrated: bool,
    given: &BTreeMap<String, String>,
    mistakes: &mut Mistakes,
) -> Option<StaticImage> {
    let mut field = |key: &'static str, remedy: &str| {
        let value = given.get(key).filter(|value| !value.is_empty());
        if value.is_none() {
            mistakes.add(key, "is missing", remedy);
        }
        value
    };
    let cluster = field("clusterID", "set it to a clusterID of config.json");
    let pool = field("pool", "set it to the pool of the image");
    let image = if migrated {
        field("imageName", "set it to the name of the image")
            .map(|name| ("imageName", name.as_str()))
    } else {
        Some(("volumeHandle", handle))
    };
    let mut check = |key: &str, error: crate::names::NameError| {
        mistakes.add(key, error.rule_text(), "correct it");
    };
    let cluster = cluster.and_then(|text| {
        ClusterId::new(text.clone())
            .map_err(|error| check("clusterID", error))
            .ok()
    });
    let pool = pool.and_then(|text| {
        PoolName::new(text.clone())
            .map_err(|error| check("pool", error))
            .ok()
    });
    let image =
        image.and_then(|(key, text)| ImageName::new(text).map_err(|error| check(key, error)).ok());
    Some(StaticImage {
        cluster: cluster?,
        pool: pool?,
        image: image?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_dynamic_volume_is_found_by_its_handle() {
        let context = RbdContext::parse(
            "0001-…",
            &map(&[
                ("clusterID", "a"),
                ("pool", "p"),
                ("journalPool", "p"),
                ("imageName", "csi-vol-1"),
                ("mounter", "fuse"),
                ("mkfsOptions", "-m0  -b 4096"),
                ("storage.kubernetes.io/csiProvisionerIdentity", "1-2-rbd"),
            ]),
        )
        .unwrap();
        assert_eq!(context.image, None);
        assert_eq!(context.attach.mounter, crate::image::Mounter::Fuse);
        assert_eq!(context.attach.mkfs_options.unwrap(), ["-m0", "-b", "4096"]);
    }

    #[test]
    fn a_static_volume_says_where_its_image_is() {
        let given = map(&[("staticVolume", "true"), ("clusterID", "a"), ("pool", "p")]);
        let image = RbdContext::parse("disk-1", &given).unwrap().image.unwrap();
        assert_eq!(image.image.as_str(), "disk-1");
        let mut migrated = given;
        migrated.insert("migration".to_owned(), "true".to_owned());
        let errors = RbdContext::parse("disk-1", &migrated).unwrap_err();
        assert_eq!(errors.mistakes()[0].field, "imageName");
        migrated.insert(
            "imageName".to_owned(),
            "kubernetes-dynamic-pvc-1".to_owned(),
        );
        let image = RbdContext::parse("disk-1", &migrated)
            .unwrap()
            .image
            .unwrap();
        assert_eq!(image.image.as_str(), "kubernetes-dynamic-pvc-1");
    }

    #[test]
    fn all_mistakes_of_a_context_are_told() {
        let given = map(&[
            ("staticVolume", "true"),
            ("migration", "maybe"),
            ("pool", "a/b"),
            ("mounter", "kernel"),
            ("encrypted", "true"),
        ]);
        let errors = RbdContext::parse("a@b", &given).unwrap_err();
        let fields: Vec<_> = errors.mistakes().iter().map(|m| m.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "clusterID",
                "encrypted",
                "migration",
                "mounter",
                "pool",
                "volumeHandle"
            ]
        );
    }
}
