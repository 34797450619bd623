//! Making an image with RBD's own object class calls, in two round trips.
//!
//! `rbd_create4` makes the same objects one after the other, after reading three others: six to
//! seven round trips. Its steps need no answer from each other once the identifier is chosen, so
//! an [`ImagePlan`] names them for [`write_many`](crate::write_many), where a caller's own writes
//! may ride along:
//!
//! | Step | Object | Calls (Ceph's `librbd/image/CreateRequest.cc`, `cls/rbd/cls_rbd.cc`) |
//! |---|---|---|
//! | names | `rbd_id.<name>` | create exclusively, `rbd.set_id(string id)` |
//! | names | `rbd_directory` | in a namespace `rbd.dir_state_assert(u8 0)`; `rbd.dir_add_image(string name, string id)` |
//! | header | `rbd_header.<id>` | create exclusively, `rbd.create(u64 size, u8 order, u64 features, string prefix, i64 data pool)`, `rbd.metadata_set` |
//! | header | `rbd_object_map.<id>` | with that feature: `rbd.object_map_resize(u64 objects, u8 0)` |
//!
//! The names come first: whatever a crash leaves is then found by name and removed by
//! [`Io::remove_image`]. Images beyond the everyday (journaling, another data pool, striping) have
//! no plan and are left to [`Io::create_image`].

use std::ffi::CStr;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ceph_sys::{rados, rbd};
use cuttle_model::{ByteSize, ImageId, ImageName, ObjectUuid};

use crate::connection::text;
use crate::encoding;
use crate::error::{Errno, Error};
use crate::image_options::ImageOptions;
use crate::images::{header_object, id_object};
use crate::io::Io;
use crate::write::{WriteOp, write_many};

/// Features whose images are made of the objects above and nothing else.
const PLANNED: u64 = rbd::RBD_FEATURE_LAYERING
    | rbd::RBD_FEATURE_EXCLUSIVE_LOCK
    | rbd::RBD_FEATURE_OBJECT_MAP
    | rbd::RBD_FEATURE_FAST_DIFF
    | rbd::RBD_FEATURE_DEEP_FLATTEN;
/// The orders librbd allows.
const ORDERS: std::ops::RangeInclusive<u8> = 12..=25;
/// The most objects an object map can tell of (`cls_rbd_types.h`).
const OBJECT_MAP_MOST: u64 = 256_000_000;
/// How long a pool's settings for new images are remembered.
const SETTINGS_FRESH: Duration = Duration::from_secs(30);
/// Where the settings of a pool are kept, and how those for new images begin.
const SETTINGS: (&str, &str) = ("rbd_info", "metadata_conf_rbd_default_");

/// The writes that make an image.
#[derive(Debug, Clone)]
pub struct ImagePlan {
    id: ImageId,
    names: Vec<(String, WriteOp)>,
    header: Vec<(String, WriteOp)>,
}

impl ImagePlan {
    /// The identifier the image will have.
    #[must_use]
    pub fn id(&self) -> &ImageId {
        &self.id
    }

    /// The first step: objects and what to write to each, at once. EEXIST of one of them: the
    /// name is taken, or torn.
    #[must_use]
    pub fn names(&self) -> &[(String, WriteOp)] {
        &self.names
    }

    /// The second step, after the first has worked. With it the image is whole.
    #[must_use]
    pub fn header(&self) -> &[(String, WriteOp)] {
        &self.header
    }
}

impl Io {
    /// Plans an image with that metadata and a random identifier, without making it. `None`: this
    /// image is not of the everyday kind; use [`Io::create_image`].
    ///
    /// # Errors
    /// Any failure to read the pool's settings.
    ///
    /// # Blocking
    /// One round trip, if the pool's settings have not been read in the last 30 s.
    pub fn plan_image(
        &self,
        name: &ImageName,
        size: ByteSize,
        options: &ImageOptions,
        metadata: &[(&str, &str)],
    ) -> Result<Option<ImagePlan>, Error> {
        let id = ImageId::of(&ObjectUuid::random());
        self.plan_image_as(&id, name, size, options, metadata)
    }

    /// Plans an image with that identifier, which must be new in the pool and namespace; otherwise
    /// as [`Io::plan_image`].
    ///
    /// # Errors
    /// As [`Io::plan_image`].
    pub fn plan_image_as(
        &self,
        id: &ImageId,
        name: &ImageName,
        size: ByteSize,
        options: &ImageOptions,
        metadata: &[(&str, &str)],
    ) -> Result<Option<ImagePlan>, Error> {
        let Some((features, order)) = self.everyday(size, options) else {
            return Ok(None);
        };
        if self.pool_has_settings()? {
            return Ok(None);
        }
        let form = Form {
            size,
            features,
            order,
        };
        let plan = plan(name, id, form, metadata, self.namespace().is_default());
        plan.map(Some)
            .map_err(|errno| self.error("rbd.plan", &self.name(name.as_str()), errno))
    }

    /// Carries out a plan by itself: both steps, nothing riding along.
    ///
    /// # Errors
    /// `is_present` when the name is taken, or torn.
    ///
    /// # Blocking
    /// Two round trips.
    ///
    /// # Idempotency
    /// Not idempotent: a second call fails with `is_present`. A crash or time-out in the middle
    /// leaves a torn image, which [`Io::remove_image`] removes.
    pub fn create_planned_image(&self, plan: &ImagePlan) -> Result<(), Error> {
        for step in [&plan.names, &plan.header] {
            let ops: Vec<_> = step
                .iter()
                .map(|(object, op)| (self, object.as_str(), op))
                .collect();
            write_many(&ops)
                .into_iter()
                .collect::<Result<(), Error>>()?;
        }
        Ok(())
    }

    /// The features and order of an everyday image; `None` for any other.
    fn everyday(&self, size: ByteSize, options: &ImageOptions) -> Option<(u64, u8)> {
        let wanted = match options.features {
            Some(features) => features,
            None => features_of(&self.setting("rbd_default_features")?)?,
        };
        let has = |feature: u64| wanted & feature != 0;
        let sound = wanted & !PLANNED == 0
            && (has(rbd::RBD_FEATURE_EXCLUSIVE_LOCK) || !has(rbd::RBD_FEATURE_OBJECT_MAP))
            && (has(rbd::RBD_FEATURE_OBJECT_MAP) || !has(rbd::RBD_FEATURE_FAST_DIFF));
        let striped = options.stripe_unit.is_some() || options.stripe_count.is_some();
        if !sound || striped || options.data_pool.is_some() {
            return None;
        }
        // librbd, too, adds the one to the other.
        let added = if has(rbd::RBD_FEATURE_OBJECT_MAP) {
            rbd::RBD_FEATURE_FAST_DIFF
        } else {
            0
        };
        for (option, plain) in [
            ("rbd_default_stripe_unit", "0"),
            ("rbd_default_stripe_count", "0"),
            ("rbd_default_data_pool", ""),
        ] {
            if self.setting(option)? != plain {
                return None;
            }
        }
        let order = match options.order {
            Some(order) => order,
            None => self.setting("rbd_default_order")?.parse().ok()?,
        };
        let fits = ORDERS.contains(&order)
            && (!has(rbd::RBD_FEATURE_OBJECT_MAP) || objects(size, order) <= OBJECT_MAP_MOST);
        fits.then_some((wanted | added, order))
    }

    /// The value of one of the library's settings.
    fn setting(&self, option: &str) -> Option<String> {
        let option = text(option).ok()?;
        let mut value = vec![0_u8; 256];
        let (start, length) = (value.as_mut_ptr().cast(), value.len());
        let cluster = self.cluster.inner.connection.handle();
        // SAFETY: the connection is live; the name is NUL-terminated; `start` is valid for
        // writing `length` bytes.
        let result = unsafe { rados::rados_conf_get(cluster, option.as_ptr(), start, length) };
        Errno::check(result).ok()?;
        Some(
            CStr::from_bytes_until_nul(&value)
                .ok()?
                .to_str()
                .ok()?
                .to_owned(),
        )
    }

    /// Whether the pool has settings of its own for new images (`rbd config pool set`), which
    /// librbd honours and a plan would not.
    fn pool_has_settings(&self) -> Result<bool, Error> {
        let known = || {
            self.cluster
                .inner
                .pools
                .settings
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let key = (self.pool_id().get(), self.namespace().as_str().to_owned());
        if let Some((read, has)) = known().get(&key)
            && read.elapsed() < SETTINGS_FRESH
        {
            return Ok(*has);
        }
        let (object, prefix) = SETTINGS;
        let page = self.omap_page(object, "", prefix, 1)?;
        let has = page.is_some_and(|page| !page.entries.is_empty());
        known().insert(key, (Instant::now(), has));
        Ok(has)
    }
}

/// The features in the value of librbd's setting, a number or names; `None` when it has others than
/// those that can be planned.
fn features_of(setting: &str) -> Option<u64> {
    if let Ok(number) = setting.parse() {
        return Some(number);
    }
    let bit = |name: &str| match name.trim() {
        "layering" => Some(rbd::RBD_FEATURE_LAYERING),
        "exclusive-lock" => Some(rbd::RBD_FEATURE_EXCLUSIVE_LOCK),
        "object-map" => Some(rbd::RBD_FEATURE_OBJECT_MAP),
        "fast-diff" => Some(rbd::RBD_FEATURE_FAST_DIFF),
        "deep-flatten" => Some(rbd::RBD_FEATURE_DEEP_FLATTEN),
        _ => None,
    };
    setting
        .split(',')
        .try_fold(0, |all, name| Some(all | bit(name)?))
}

/// How many objects an image of that size has.
fn objects(size: ByteSize, order: u8) -> u64 {
    let object = 1_u64.checked_shl(order.into()).unwrap_or(u64::MAX);
    size.bytes().div_ceil(object)
}

/// What an image is like.
#[derive(Clone, Copy)]
struct Form {
    size: ByteSize,
    features: u64,
    order: u8,
}

fn plan(
    name: &ImageName,
    id: &ImageId,
    form: Form,
    metadata: &[(&str, &str)],
    is_default_namespace: bool,
) -> Result<ImagePlan, Errno> {
    let Form {
        size,
        features,
        order,
    } = form;
    let mut directory = WriteOp::new();
    if !is_default_namespace {
        // Answers ENOENT for a namespace that RBD does not know, and refuses one being removed.
        directory = directory.exec("rbd", "dir_state_assert", &[0]);
    }
    let entry = encoding::two_strings(name.as_str(), id.as_str())?;
    let names = vec![
        (
            "rbd_directory".to_owned(),
            directory.exec("rbd", "dir_add_image", &entry),
        ),
        (
            id_object(name),
            WriteOp::new().create_exclusive().exec(
                "rbd",
                "set_id",
                &encoding::one_string(id.as_str())?,
            ),
        ),
    ];
    let header = encoding::header(size.bytes(), order, features, &format!("rbd_data.{id}"))?;
    let mut making = WriteOp::new()
        .create_exclusive()
        .exec("rbd", "create", &header);
    if !metadata.is_empty() {
        making = making.set_image_metadata(metadata);
    }
    let mut header = vec![(header_object(id), making)];
    if features & rbd::RBD_FEATURE_OBJECT_MAP != 0 {
        let map = encoding::object_map(objects(size, order));
        let op = WriteOp::new().exec("rbd", "object_map_resize", &map);
        header.push((object_map_object(id), op));
    }
    Ok(ImagePlan {
        id: id.clone(),
        names,
        header,
    })
}

/// The object that holds an image's object map.
pub(crate) fn object_map_object(id: &ImageId) -> String {
    format!("rbd_object_map.{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_as_a_number_or_as_names() {
        assert_eq!(features_of("61"), Some(61));
        assert_eq!(features_of("layering, exclusive-lock"), Some(5));
        for other in ["", "layering,journaling", "-1", "layering;exclusive-lock"] {
            assert_eq!(features_of(other), None, "{other}");
        }
    }

    #[test]
    fn objects_are_counted_up() {
        let count = |bytes| objects(ByteSize::from_bytes(bytes), 22);
        assert_eq!(
            [count(0), count(1), count(4 << 20), count((4 << 20) + 1)],
            [0, 1, 1, 2]
        );
    }
}
