//! What the kernel says of the images it has mapped: `/sys/bus/rbd/devices/<n>/`.
//!
//! Read from sysfs rather than asked of `rbd device list`: no child process, no text to parse, and
//! it works with the cluster down. Pure: the caller brings the files' contents.

use crate::rbd::image_spec::ImageSpec;

/// One mapped image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The device's number: `/dev/rbd<number>`.
    pub(super) number: u32,
    /// The pool's name at mapping time.
    pub(super) pool: String,
    /// The RADOS namespace; empty for the default one and for kernels that know none.
    pub(super) namespace: String,
    /// The image's name.
    pub(super) image: String,
    /// The snapshot mapped, `-` for the image itself.
    pub(super) snapshot: String,
    /// The cluster; kernels before 4.12 do not tell.
    pub(super) fsid: Option<String>,
    /// The pool's number.
    pub(super) pool_id: Option<i64>,
    /// The image's identifier.
    pub(super) image_id: Option<String>,
}

impl Mapping {
    /// What is mapped as `number`, if that is the head of `image`; `attribute` reads one file of
    /// its directory.
    ///
    /// A node maps hundreds of images: of all others no more than the name is read.
    pub(super) fn of<E>(
        image: &ImageSpec,
        number: u32,
        mut attribute: impl FnMut(&str) -> Result<Option<String>, E>,
    ) -> Result<Option<Self>, E> {
        let Some(name) = attribute("name")?.filter(|name| name == image.image.as_str()) else {
            return Ok(None);
        };
        let Some(pool) = attribute("pool")? else {
            return Ok(None);
        };
        let mapping = Self {
            number,
            pool,
            image: name,
            namespace: attribute("pool_ns")?.unwrap_or_default(),
            snapshot: attribute("current_snap")?.unwrap_or_default(),
            fsid: attribute("cluster_fsid")?.filter(|fsid| !fsid.is_empty()),
            pool_id: attribute("pool_id")?.and_then(|number| number.parse().ok()),
            image_id: attribute("image_id")?.filter(|id| !id.is_empty()),
        };
        Ok(Some(mapping).filter(|mapping| mapping.is_of(image)))
    }

    /// Whether this maps the head of `image`.
    ///
    /// Clusters may hold pools and images of equal names, and an image may have been replaced by
    /// another of its name: whatever both sides know must be the same. The names are those of the
    /// time of mapping, so they must be the same, too.
    #[must_use]
    fn is_of(&self, image: &ImageSpec) -> bool {
        fn fits<T: PartialEq + ?Sized>(here: Option<&T>, wanted: Option<&T>) -> bool {
            match (here, wanted) {
                (Some(here), Some(wanted)) => here == wanted,
                (None, _) | (_, None) => true,
            }
        }
        let image_id = image.image_id.as_ref().map(cuttle_model::ImageId::as_str);
        let pool_id = image.pool_id.map(cuttle_model::PoolId::get);
        fits(self.fsid.as_ref(), image.fsid.as_ref())
            && fits(self.pool_id.as_ref(), pool_id.as_ref())
            && fits(self.image_id.as_deref(), image_id)
            && self.snapshot == "-"
            && self.pool == image.pool.as_str()
            && self.namespace == image.namespace.as_str()
            && self.image == image.image.as_str()
    }
}

#[cfg(test)]
mod tests {
    use cuttle_model::{ImageId, PoolId};

    use super::*;
    use crate::rbd::image_spec::for_test;

    fn mapping() -> Mapping {
        Mapping {
            number: 0,
            pool: "p".to_owned(),
            namespace: String::new(),
            image: "i".to_owned(),
            snapshot: "-".to_owned(),
            fsid: Some("one".to_owned()),
            pool_id: Some(3),
            image_id: Some("10ab".to_owned()),
        }
    }

    /// Reads the mapping of `image` of a kernel that tells these; counts the files read.
    fn read(image: &ImageSpec, told: &[(&str, &str)]) -> (Option<Mapping>, usize) {
        let mut reads = 0;
        let found = Mapping::of(image, 0, |name| {
            reads += 1;
            let told = told.iter().find(|(attribute, _)| *attribute == name);
            Ok::<_, std::convert::Infallible>(told.map(|(_, text)| (*text).to_owned()))
        });
        (found.unwrap(), reads)
    }

    #[test]
    fn of_another_image_only_the_name_is_read() {
        let wanted = image("", Some("one"));
        let mut told = [
            ("pool", "p"),
            ("name", "i"),
            ("pool_ns", ""),
            ("current_snap", "-"),
            ("cluster_fsid", "one"),
            ("pool_id", "3"),
            ("image_id", "10ab"),
        ];
        assert_eq!(read(&wanted, &told), (Some(mapping()), 7));
        told[1].1 = "j";
        assert_eq!(read(&wanted, &told), (None, 1));
        // A kernel before 4.12, and a device that is just going.
        told[1].1 = "i";
        let (found, _) = read(&wanted, &told[..4]);
        assert_eq!(found.unwrap().fsid, None);
        assert_eq!(read(&wanted, &told[1..]), (None, 2));
        assert_eq!(read(&wanted, &[]), (None, 1));
    }

    fn image(namespace: &str, fsid: Option<&str>) -> ImageSpec {
        for_test("p", namespace, "i", fsid)
    }

    #[test]
    fn cluster_namespace_and_snapshot_must_fit() {
        assert!(mapping().is_of(&image("", Some("one"))));
        assert!(mapping().is_of(&image("", None)));
        assert!(!mapping().is_of(&image("", Some("two"))));
        assert!(!mapping().is_of(&image("tenant", Some("one"))));
        let with_id = |id: &str| {
            let mut wanted = image("", Some("one"));
            wanted.image_id = Some(ImageId::new(id).unwrap());
            wanted.pool_id = Some(PoolId::new(3));
            wanted
        };
        assert!(mapping().is_of(&with_id("10ab")));
        // Another image of the same name.
        assert!(!mapping().is_of(&with_id("20cd")));
        let snapshot = Mapping {
            snapshot: "s".to_owned(),
            ..mapping()
        };
        assert!(!snapshot.is_of(&image("", Some("one"))));
    }
}
