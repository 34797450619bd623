//! Which image of which pool: what is attached, remembered and found again.

use std::fmt;

use cuttle_model::{ImageId, ImageName, PoolId, PoolName, RadosNamespace};

/// An image by its names, and by what stays when names change. Displayed as
/// `pool[/namespace]/image`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// Its pool.
    pub pool: PoolName,
    /// Its RADOS namespace.
    pub namespace: RadosNamespace,
    /// Its name.
    pub image: ImageName,
    /// Its cluster's fsid, where it is known: ceph-csi's stash does not tell.
    pub fsid: Option<String>,
    /// Its pool's number, where it is known.
    pub pool_id: Option<PoolId>,
    /// Its identifier, where it is known.
    pub image_id: Option<ImageId>,
}

impl ImageSpec {
    /// Whether both are the same image.
    ///
    /// Clusters may hold pools and images of equal names, and an image may be replaced by another
    /// of its name, so whatever both know must be the same. Names may change: they count only
    /// where the identifiers are not known.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        fn fits<T: PartialEq>(one: Option<&T>, two: Option<&T>) -> Option<bool> {
            Some(one? == two?)
        }
        let by_number = [
            fits(self.fsid.as_ref(), other.fsid.as_ref()),
            fits(self.pool_id.as_ref(), other.pool_id.as_ref()),
            fits(self.image_id.as_ref(), other.image_id.as_ref()),
        ];
        if by_number.contains(&Some(false)) || self.namespace != other.namespace {
            return false;
        }
        let by_name = self.pool == other.pool && self.image == other.image;
        by_name || by_number == [Some(true); 3]
    }
}

impl ImageSpec {
    /// The image by its names and by what tells it from others of its names, for messages.
    #[must_use]
    pub(crate) fn identified(&self) -> String {
        let id = self.image_id.as_ref().map(|id| format!("id {id}"));
        let cluster = self.fsid.as_ref().map(|fsid| format!("cluster {fsid}"));
        let known: Vec<String> = id.into_iter().chain(cluster).collect();
        match known.as_slice() {
            [] => self.to_string(),
            known => format!("{self} ({})", known.join(", ")),
        }
    }
}

impl fmt::Display for ImageSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/", self.pool)?;
        if !self.namespace.is_default() {
            write!(out, "{}/", self.namespace)?;
        }
        write!(out, "{}", self.image)
    }
}

#[cfg(test)]
pub(crate) fn for_test(pool: &str, namespace: &str, image: &str, fsid: Option<&str>) -> ImageSpec {
    ImageSpec {
        pool: PoolName::new(pool).unwrap(),
        namespace: RadosNamespace::new(namespace).unwrap(),
        image: ImageName::new(image).unwrap(),
        fsid: fsid.map(str::to_owned),
        pool_id: None,
        image_id: None,
    }
}

#[cfg(test)]
mod tests {
    use cuttle_model::{ImageId, PoolId};

    use super::{ImageSpec, for_test as image};

    fn known(pool: &str, name: &str, id: &str) -> ImageSpec {
        ImageSpec {
            pool_id: Some(PoolId::new(3)),
            image_id: Some(ImageId::new(id).unwrap()),
            ..image(pool, "", name, Some("1"))
        }
    }

    #[test]
    fn the_specification_is_rbds() {
        assert_eq!(image("p", "", "i", None).to_string(), "p/i");
        assert_eq!(image("p", "ns", "i", None).to_string(), "p/ns/i");
    }

    #[test]
    fn equal_names_in_two_clusters_are_two_images() {
        assert!(image("p", "", "i", Some("1")).is_same(&image("p", "", "i", Some("1"))));
        assert!(image("p", "", "i", Some("1")).is_same(&image("p", "", "i", None)));
        assert!(!image("p", "", "i", Some("1")).is_same(&image("p", "", "i", Some("2"))));
        assert!(!image("p", "", "i", None).is_same(&image("p", "n", "i", None)));
    }

    #[test]
    fn an_image_is_known_by_its_identifier_rather_than_its_names() {
        assert!(known("p", "i", "a1").is_same(&known("p", "i", "a1")));
        assert!(!known("p", "i", "a1").is_same(&known("p", "i", "b2")));
        assert!(known("p", "i", "a1").is_same(&known("renamed", "moved", "a1")));
        assert!(known("p", "i", "a1").is_same(&image("p", "", "i", None)));
        assert!(!known("p", "i", "a1").is_same(&image("p", "", "other", None)));
        let other_cluster = ImageSpec {
            fsid: Some("2".to_owned()),
            ..known("p", "i", "a1")
        };
        assert!(!known("p", "i", "a1").is_same(&other_cluster));
        let elsewhere = ImageSpec {
            namespace: image("p", "n", "i", None).namespace,
            ..known("p", "i", "a1")
        };
        assert!(!known("p", "i", "a1").is_same(&elsewhere));
    }
}
