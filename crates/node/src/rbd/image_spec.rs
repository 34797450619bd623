//! Which image of which pool: what is attached, remembered and found again.

use std::fmt;

use cuttle_model::{ImageName, PoolName, RadosNamespace};

/// An image by its names. Displayed as `pool[/namespace]/image`.
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
}

impl ImageSpec {
    /// Whether both name the same image. Clusters may hold pools and images of equal names, so the
    /// fsid must be the same where both know it.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same_cluster = match (&self.fsid, &other.fsid) {
            (Some(one), Some(two)) => one == two,
            (None, _) | (_, None) => true,
        };
        same_cluster
            && self.pool == other.pool
            && self.namespace == other.namespace
            && self.image == other.image
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
    }
}

#[cfg(test)]
mod tests {
    use super::for_test as image;

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
}
