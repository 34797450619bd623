//! An open image's metadata.

use std::collections::BTreeMap;

use ceph_sys::rbd;
use libc::size_t;

use super::Image;
use crate::connection::text;
use crate::error::{Errno, Error};

/// How many entries are fetched at once.
const PAGE: u64 = 64;

impl Image {
    /// All metadata.
    ///
    /// # Errors
    /// Any failure of the reads.
    ///
    /// # Blocking
    /// One round trip per 64 entries.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>, Error> {
        self.call("rbd.metadata_list", |image| {
            let mut all = BTreeMap::new();
            loop {
                let after = all
                    .last_key_value()
                    .map_or("", |(key, _): (&String, _)| key.as_str());
                let page = page(image, after)?;
                if page.is_empty() {
                    return Ok(all);
                }
                all.extend(page);
            }
        })
    }

    /// Sets one entry and tells the image's watchers.
    ///
    /// # Errors
    /// EROFS when the image was opened read-only.
    ///
    /// # Idempotency
    /// Idempotent.
    pub fn set_metadata(&self, key: &str, value: &str) -> Result<(), Error> {
        self.call("rbd.metadata_set", |image| {
            let (key, value) = (text(key)?, text(value)?);
            // SAFETY: the image is open; both texts are NUL-terminated and copied.
            let result = unsafe { rbd::rbd_metadata_set(image, key.as_ptr(), value.as_ptr()) };
            Errno::check(result).map(drop)
        })
    }

    /// Removes one entry; answers whether there was one.
    ///
    /// # Errors
    /// EROFS when the image was opened read-only.
    pub fn remove_metadata(&self, key: &str) -> Result<bool, Error> {
        let removed = self.call("rbd.metadata_remove", |image| {
            let key = text(key)?;
            // SAFETY: the image is open; the key is NUL-terminated and copied.
            Errno::check(unsafe { rbd::rbd_metadata_remove(image, key.as_ptr()) }).map(drop)
        });
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The entries that follow the key `after`.
fn page(image: rbd::rbd_image_t, after: &str) -> Result<BTreeMap<String, String>, Errno> {
    let after = text(after)?;
    let (mut keys, mut values) = (vec![0_u8; 4096], vec![0_u8; 4096]);
    loop {
        let (mut key_length, mut value_length): (size_t, size_t) = (keys.len(), values.len());
        let (key_start, value_start) = (keys.as_mut_ptr().cast(), values.as_mut_ptr().cast());
        // SAFETY: the image is open; the key is NUL-terminated; both buffers are valid for
        // writing the lengths given.
        let result = unsafe {
            rbd::rbd_metadata_list(
                image,
                after.as_ptr(),
                PAGE,
                key_start,
                &raw mut key_length,
                value_start,
                &raw mut value_length,
            )
        };
        match Errno::check(result) {
            Ok(_) => {
                let keys = texts(&keys, key_length);
                let values = texts(&values, value_length);
                return Ok(keys.into_iter().zip(values).collect());
            }
            Err(errno) if errno.get() == libc::ERANGE => {
                keys.resize(key_length.max(keys.len().saturating_mul(2)), 0);
                values.resize(value_length.max(values.len().saturating_mul(2)), 0);
            }
            Err(errno) => return Err(errno),
        }
    }
}

/// Splits a buffer of NUL-terminated texts.
fn texts(buffer: &[u8], length: size_t) -> Vec<String> {
    let used = buffer.get(..length).unwrap_or(buffer);
    let mut texts: Vec<String> = used
        .split(|byte| *byte == 0)
        .map(|text| String::from_utf8_lossy(text).into_owned())
        .collect();
    // What follows the last NUL is not a text.
    texts.pop();
    texts
}
