//! How a new image is to be made.

use std::ptr;

use ceph_sys::rbd;
use cuttle_model::PoolName;
use libc::c_int;

use crate::connection::text;
use crate::error::Errno;

/// How a new image is made; what is `None` is left to librbd's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageOptions {
    /// The feature bits, exactly. Giving them saves a round trip: librbd need not ask the OSDs.
    pub features: Option<u64>,
    /// The pool for the data.
    pub data_pool: Option<PoolName>,
    /// Bytes per stripe unit.
    pub stripe_unit: Option<u64>,
    /// Objects per stripe.
    pub stripe_count: Option<u64>,
    /// The object size as a power of two (22: 4 MiB).
    pub order: Option<u8>,
}

/// An `rbd_image_options_t`, freed on drop.
pub(crate) struct Built(rbd::rbd_image_options_t);

impl Drop for Built {
    fn drop(&mut self) {
        // SAFETY: the options were made below and are freed once.
        unsafe { rbd::rbd_image_options_destroy(self.0) };
    }
}

impl Built {
    pub(crate) fn new(options: &ImageOptions) -> Result<Self, Errno> {
        let mut handle = ptr::null_mut();
        // SAFETY: the handle is written.
        unsafe { rbd::rbd_image_options_create(&raw mut handle) };
        let built = Self(handle);
        let numbers = [
            (rbd::RBD_IMAGE_OPTION_FORMAT, Some(2)),
            (rbd::RBD_IMAGE_OPTION_FEATURES, options.features),
            (rbd::RBD_IMAGE_OPTION_ORDER, options.order.map(u64::from)),
            (rbd::RBD_IMAGE_OPTION_STRIPE_UNIT, options.stripe_unit),
            (rbd::RBD_IMAGE_OPTION_STRIPE_COUNT, options.stripe_count),
        ];
        for (option, value) in numbers {
            if let Some(value) = value {
                built.set_number(option, value)?;
            }
        }
        if let Some(pool) = &options.data_pool {
            let (option, pool) = (rbd::RBD_IMAGE_OPTION_DATA_POOL, text(pool.as_str())?);
            // SAFETY: the options are live; the text is NUL-terminated and copied.
            let result =
                unsafe { rbd::rbd_image_options_set_string(built.0, option, pool.as_ptr()) };
            Errno::check(result)?;
        }
        Ok(built)
    }

    /// The options, for librbd.
    pub(crate) fn handle(&self) -> rbd::rbd_image_options_t {
        self.0
    }

    pub(crate) fn set_number(&self, option: c_int, value: u64) -> Result<(), Errno> {
        // SAFETY: the options are live and used by this thread alone.
        let result = unsafe { rbd::rbd_image_options_set_uint64(self.0, option, value) };
        Errno::check(result).map(drop)
    }
}
