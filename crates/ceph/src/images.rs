//! RBD images of a pool and namespace: made, found, listed, removed, without opening them.
//!
//! Beside librbd's own functions this reads two of RBD's objects directly, because librbd would
//! open the image (many round trips) for the same answer:
//!
//! | Object | Content | Source in Ceph |
//! |---|---|---|
//! | `rbd_id.<name>` | data: the image's identifier, as an encoded string | `cls/rbd/cls_rbd.cc`, `set_id` |
//! | `rbd_header.<id>` | class `rbd`: `get_size(u64 snap)` answers `u8` order, `u64` bytes; `metadata_set(map<string, bufferlist>)` | same, `get_size`, `metadata_set` |
//! | `rbd_directory` | omap: `name_<name>` holds the identifier, as an encoded string | same, `dir_add_image` |
//!
//! The formats have been the same since images of format 2 exist (Ceph 0.55).

use std::ptr;

use ceph_sys::{rados, rbd};
use cuttle_model::{ByteSize, ImageId, ImageName, RadosNamespace};

use crate::commands::Answer;
use crate::connection::text;
use crate::encoding;
use crate::error::{Errno, Error};
use crate::image_options::{Built, ImageOptions};
use crate::image_plan::object_map_object;
use crate::io::Io;
use crate::read::{ReadOp, read_many};
use crate::write::WriteOp;

/// Asks for an image's head instead of a snapshot (`CEPH_NOSNAP`, `include/rados.h`).
const NO_SNAP: u64 = u64::MAX - 1;
/// Longer than any encoded image identifier.
const ID_OBJECT_MAX: usize = 4096;

/// Some of the images of a pool and namespace, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePage {
    /// The images.
    pub images: Vec<(ImageName, ImageId)>,
    /// Whether more follow.
    pub more: bool,
}

/// The object that holds an image's header.
#[must_use]
pub fn header_object(id: &ImageId) -> String {
    format!("rbd_header.{id}")
}

/// The object that holds the identifier of the image of that name.
#[must_use]
pub fn id_object(name: &ImageName) -> String {
    format!("rbd_id.{name}")
}

/// What RBD's objects hold for the name of an image.
struct FoundByName {
    /// The identifiers. One, unless the image is torn.
    ids: Vec<ImageId>,
    /// The content of the image's `rbd_id` object, if there is one.
    id_object: Option<Vec<u8>>,
}

impl Io {
    /// Makes an image.
    ///
    /// # Errors
    /// `is_present` when the name is taken; `is_absent` for an unknown data pool; EINVAL for
    /// features, striping or order that RBD refuses.
    ///
    /// # Blocking
    /// Some five round trips one after the other.
    ///
    /// # Idempotency
    /// Not idempotent. A crash or time-out in the middle leaves a torn image: its `rbd_id` object,
    /// perhaps its entry in `rbd_directory`, no or half a header. [`Io::remove_image`] removes it.
    pub fn create_image(
        &self,
        name: &ImageName,
        size: ByteSize,
        options: &ImageOptions,
    ) -> Result<(), Error> {
        self.call("rbd.create", name.as_str(), || {
            let image = text(name.as_str())?;
            let options = Built::new(options)?;
            // SAFETY: context and options are live; the name is NUL-terminated and copied.
            let result = unsafe {
                rbd::rbd_create4(
                    self.handle(),
                    image.as_ptr(),
                    size.bytes(),
                    options.handle(),
                )
            };
            Errno::check(result).map(drop)
        })
    }

    /// Removes an image with its data, whole or torn; answers whether there was one.
    ///
    /// # Errors
    /// `is_busy` when it is watched; `is_not_empty` when it has snapshots.
    ///
    /// # Blocking
    /// In proportion to the image's size; a large one belongs in the trash. A torn one takes four
    /// round trips.
    ///
    /// # Idempotency
    /// Idempotent; after a crash in the middle a second call removes the rest.
    pub fn remove_image(&self, name: &ImageName) -> Result<bool, Error> {
        let found = self.found_by_name(name)?;
        let mut whole = false;
        for id in &found.ids {
            whole = whole || self.image_size_by_id(id)?.is_some();
        }
        if !whole {
            return self.remove_found(name, &found);
        }
        let removed = self.call("rbd.remove", name.as_str(), || {
            let image = text(name.as_str())?;
            // SAFETY: the context is live; the name is NUL-terminated and copied.
            Errno::check(unsafe { rbd::rbd_remove(self.handle(), image.as_ptr()) }).map(drop)
        });
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.is_absent() => self.remove_found(name, &found).map(|_found| true),
            Err(error) => Err(error),
        }
    }

    /// Removes what is left under the name of an image without a header, and nothing that another
    /// has put there since it was looked at; answers whether there was anything.
    ///
    /// # Errors
    /// `is_busy` when the image has a header: nothing was touched then.
    ///
    /// # Blocking
    /// Some five round trips.
    ///
    /// # Idempotency
    /// Idempotent.
    pub fn remove_torn_image(&self, name: &ImageName) -> Result<bool, Error> {
        let found = self.found_by_name(name)?;
        for id in &found.ids {
            if self.image_size_by_id(id)?.is_some() {
                let target = self.name(&header_object(id));
                let error = self.error("rados.exec_read", &target, Errno::new(libc::EBUSY));
                return Err(error.with_detail("the image is whole"));
            }
        }
        self.remove_found(name, &found)
    }

    /// What `rbd_id.<name>` and `rbd_directory` hold for a name.
    fn found_by_name(&self, name: &ImageName) -> Result<FoundByName, Error> {
        let (object, entry) = (id_object(name), format!("name_{name}"));
        let reads = [
            (self, ReadOp::data(&object, ID_OBJECT_MAX)),
            (self, ReadOp::omap_get("rbd_directory", &[&entry])),
        ];
        let mut replies = read_many(&reads).into_iter();
        let id_object = replies.next().transpose()?.flatten();
        let directory = replies.next().transpose()?.flatten();
        let found = FoundByName {
            ids: Vec::new(),
            id_object: id_object.map(|reply| reply.bytes),
        };
        let entry = directory.and_then(|mut reply| reply.omap.remove(&entry));
        let mut ids = Vec::new();
        for data in found.id_object.iter().chain(&entry) {
            // A crash of the writer may leave `rbd_id` without content.
            if !data.is_empty() {
                let id = self.parse_id(&object, data)?;
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        Ok(FoundByName { ids, ..found })
    }

    /// Removes what was found under the name of an image without a header; the names last, so
    /// that the rest can be found until it is gone, and only if they are still those found.
    fn remove_found(&self, name: &ImageName, found: &FoundByName) -> Result<bool, Error> {
        for id in &found.ids {
            self.remove(&object_map_object(id))?;
        }
        let mut removed = false;
        for id in &found.ids {
            let entry = encoding::two_strings(name.as_str(), id.as_str())
                .map_err(|errno| self.error("rados.write", &self.name("rbd_directory"), errno))?;
            let op = WriteOp::new().exec("rbd", "dir_remove_image", &entry);
            match self.write("rbd_directory", op) {
                Ok(()) => removed = true,
                // ESTALE: the entry is of the other identifier.
                Err(error) if error.is_absent() || error.errno().get() == libc::ESTALE => {}
                Err(error) => return Err(error),
            }
        }
        let Some(data) = &found.id_object else {
            return Ok(removed);
        };
        // An empty object compares as the zeros that no identifier's length is.
        let known: &[u8] = if data.is_empty() { &[0; 4] } else { data };
        match self.write(
            &id_object(name),
            WriteOp::new().compare_data(known).remove(),
        ) {
            Ok(()) => Ok(true),
            Err(error) if error.is_absent() || error.is_guard_failed() => Ok(removed),
            Err(error) => Err(error),
        }
    }

    /// The identifier of the image of that name; `None` when the cluster says there is none. An
    /// image being made or torn has one, too, unless a crash has left its object empty.
    ///
    /// # Errors
    /// Any other failure of the read; EBADMSG when the object's content has another form.
    ///
    /// # Blocking
    /// One round trip.
    pub fn image_id(&self, name: &ImageName) -> Result<Option<ImageId>, Error> {
        let object = id_object(name);
        let data = self.read(&object, ID_OBJECT_MAX)?;
        data.filter(|data| !data.is_empty())
            .map(|data| self.parse_id(&object, &data))
            .transpose()
    }

    /// Reads an identifier from the content of an [`id_object`].
    ///
    /// # Errors
    /// EBADMSG when the content has another form.
    pub fn parse_id(&self, object: &str, data: &[u8]) -> Result<ImageId, Error> {
        let malformed = |errno: Errno| self.error("rados.read", &self.name(object), errno);
        let id = encoding::string(data).map_err(malformed)?;
        ImageId::new(id)
            .map_err(|error| malformed(Errno::new(libc::EBADMSG)).with_detail(&error.to_string()))
    }

    /// The size of the image with that identifier; `None` when it has no header, or a torn one.
    ///
    /// # Errors
    /// Any other failure of the call; EBADMSG when the answer has another form.
    ///
    /// # Blocking
    /// One round trip.
    pub fn image_size_by_id(&self, id: &ImageId) -> Result<Option<ByteSize>, Error> {
        let object = header_object(id);
        let answer = self.exec(&object, "rbd", "get_size", &NO_SNAP.to_le_bytes())?;
        let Some(answer) = answer else {
            return Ok(None);
        };
        let (_order, size) = encoding::order_and_size(&answer)
            .map_err(|errno| self.error("rados.exec_read", &self.name(&object), errno))?;
        Ok(Some(ByteSize::from_bytes(size)))
    }

    /// Sets metadata of the image with that identifier, without opening it.
    ///
    /// # Errors
    /// `is_absent` when the image has no header.
    ///
    /// # Blocking
    /// One round trip, for any number of entries.
    ///
    /// # Idempotency
    /// Idempotent; all entries are set or none.
    pub fn set_image_metadata_by_id(
        &self,
        id: &ImageId,
        entries: &[(&str, &str)],
    ) -> Result<(), Error> {
        let op = WriteOp::new().assert_exists().set_image_metadata(entries);
        self.write(&header_object(id), op)
    }

    /// One entry of the metadata of the image with that identifier, without opening it; `None` when
    /// there is no such entry, or no such image.
    ///
    /// # Errors
    /// Any other failure of the call; EBADMSG when the answer has another form.
    ///
    /// # Blocking
    /// One round trip.
    pub fn image_metadata_by_id(&self, id: &ImageId, key: &str) -> Result<Option<String>, Error> {
        let object = header_object(id);
        let malformed = |errno| self.error("rados.exec_read", &self.name(&object), errno);
        let input = encoding::one_string(key).map_err(malformed)?;
        let answer = self.exec(&object, "rbd", "metadata_get", &input)?;
        answer
            .map(|answer| encoding::string(&answer).map_err(malformed))
            .transpose()
    }

    /// Removes one entry of the metadata of the image with that identifier, without opening it, if
    /// there is one.
    ///
    /// # Errors
    /// `is_absent` when the image has no header.
    ///
    /// # Blocking
    /// One round trip.
    ///
    /// # Idempotency
    /// Idempotent.
    pub fn remove_image_metadata_by_id(&self, id: &ImageId, key: &str) -> Result<(), Error> {
        let op = WriteOp::new().assert_exists().remove_image_metadata(key);
        self.write(&header_object(id), op)
    }

    /// Whether any client watches the image with that identifier: has it open for writing, or
    /// mapped. An image without a header is not watched.
    ///
    /// Asks by telling them that the header has changed, which does no harm; those that do not
    /// answer count, too. librbd would open the image for this and show the addresses:
    /// [`Image::watchers`](crate::Image::watchers).
    ///
    /// # Errors
    /// Any failure to notify.
    ///
    /// # Blocking
    /// As [`Io::image_has_changed`].
    pub fn image_is_watched(&self, id: &ImageId) -> Result<bool, Error> {
        Ok(self.notify_header(id)? > 0)
    }

    /// Tells the clients that watch the image with that identifier that its header has changed, and
    /// waits until they have heard. Those that do not answer are not waited for any longer; they
    /// see the change when they come back.
    ///
    /// # Errors
    /// Any failure to notify.
    ///
    /// # Blocking
    /// One round trip without watchers; else until they have answered, at most five seconds.
    ///
    /// # Idempotency
    /// Idempotent.
    pub fn image_has_changed(&self, id: &ImageId) -> Result<(), Error> {
        self.notify_header(id).map(drop)
    }

    /// An empty notification of the header object, which watchers take for "the header may have
    /// changed" and answer (librbd's `ImageWatcher::handle_notify`, the kernel's
    /// `rbd_watch_cb`). Gives back how many there are.
    fn notify_header(&self, id: &ImageId) -> Result<u64, Error> {
        const PATIENCE_MS: u64 = 5000;
        let object = header_object(id);
        let notified = self.call("rados.notify", &object, || {
            let name = text(&object)?;
            let mut answer = Answer::new();
            // SAFETY: the context is live; the name is NUL-terminated; nothing is sent; where the
            // answer goes is valid for writing.
            let result = unsafe {
                rados::rados_notify2(
                    self.handle(),
                    name.as_ptr(),
                    ptr::null(),
                    0,
                    PATIENCE_MS,
                    &raw mut answer.start,
                    &raw mut answer.length,
                )
            };
            let answer = answer.bytes();
            match Errno::check(result) {
                // Watchers that did not answer in time; the answer names them.
                Err(errno) if errno.get() == libc::ETIMEDOUT && !answer.is_empty() => {}
                other => drop(other?),
            }
            encoding::notified(&answer)
        });
        match notified {
            Ok(watchers) => Ok(watchers),
            Err(error) if error.is_absent() => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Up to `max` images in the order of their names, after the name `after`.
    ///
    /// # Errors
    /// Any failure of the read; EBADMSG when an entry has another form.
    ///
    /// # Blocking
    /// One round trip. A page may hold fewer than `max` though more follow.
    pub fn image_names(&self, after: Option<&ImageName>, max: u64) -> Result<ImagePage, Error> {
        const PREFIX: &str = "name_";
        let start = after.map_or_else(String::new, |name| format!("{PREFIX}{name}"));
        let Some(page) = self.omap_page("rbd_directory", &start, PREFIX, max)? else {
            return Ok(ImagePage::default());
        };
        let target = self.name("rbd_directory");
        let malformed = |key: &str, why: &str| {
            let error = self.error("rados.omap_get", &target, Errno::new(libc::EBADMSG));
            error.with_detail(&format!("{key}: {why}"))
        };
        let images = page.entries.iter().map(|(key, value)| {
            let name = ImageName::new(key.strip_prefix(PREFIX).unwrap_or(key))
                .map_err(|error| malformed(key, &error.to_string()))?;
            let id = encoding::string(value).map_err(|errno| malformed(key, errno.name()))?;
            let id = ImageId::new(id).map_err(|error| malformed(key, &error.to_string()))?;
            Ok((name, id))
        });
        Ok(ImagePage {
            images: images.collect::<Result<_, Error>>()?,
            more: page.more,
        })
    }

    /// Whether RBD knows that namespace in this context's pool (`rbd namespace create`). The
    /// default namespace always exists.
    ///
    /// # Errors
    /// Any failure of the read.
    ///
    /// # Blocking
    /// One round trip.
    pub fn namespace_exists(&self, namespace: &RadosNamespace) -> Result<bool, Error> {
        if namespace.is_default() {
            return Ok(true);
        }
        self.call("rbd.namespace_exists", namespace.as_str(), || {
            let namespace = text(namespace.as_str())?;
            let mut exists = false;
            // SAFETY: the context is live; the name is NUL-terminated; the answer is written.
            let result = unsafe {
                rbd::rbd_namespace_exists(self.handle(), namespace.as_ptr(), &raw mut exists)
            };
            Errno::check(result)?;
            Ok(exists)
        })
    }

    /// Makes a namespace of RBD's in this context's pool; answers whether it is new.
    ///
    /// # Errors
    /// Any failure but its existence.
    pub fn create_namespace(&self, namespace: &RadosNamespace) -> Result<bool, Error> {
        let made = self.call("rbd.namespace_create", namespace.as_str(), || {
            let namespace = text(namespace.as_str())?;
            // SAFETY: the context is live; the name is NUL-terminated and copied.
            let result = unsafe { rbd::rbd_namespace_create(self.handle(), namespace.as_ptr()) };
            Errno::check(result).map(drop)
        });
        match made {
            Ok(()) => Ok(true),
            Err(error) if error.is_present() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
