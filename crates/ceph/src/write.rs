//! Compound writes: guards and changes of one object that happen together or not at all.

use std::borrow::Borrow;
use std::fmt;
use std::ptr;

use ceph_sys::rados;
use cuttle_door::OpenCall;
use cuttle_model::ByteSize;
use libc::{c_char, size_t};

use crate::aio::Completion;
use crate::connection::text;
use crate::encoding;
use crate::error::{Errno, Error};
use crate::io::Io;

/// From this number on an errno means that compared data differs (`MAX_ERRNO`, `include/rados.h`).
const DIFFERENT_DATA: i32 = 4095;

/// Guards and changes of one object, carried out in order, all or none.
///
/// ```
/// # use ceph::WriteOp;
/// let claim = WriteOp::new()
///     .create()
///     .compare_omap("csi.volume.pvc-1", None)
///     .set_omap(&[("csi.volume.pvc-1", "6a2e1f0c-2f7d-4c7e-9d0a-5c7b1a2e3f40")]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct WriteOp {
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Create {
        exclusive: bool,
    },
    AssertExists,
    CompareOmap {
        key: String,
        value: Vec<u8>,
    },
    CompareData {
        data: Vec<u8>,
    },
    SetOmap {
        entries: Vec<(String, Vec<u8>)>,
    },
    RemoveOmapKeys {
        keys: Vec<String>,
    },
    WriteFull {
        data: Vec<u8>,
    },
    Remove,
    Exec {
        class: String,
        method: String,
        input: Vec<u8>,
    },
}

impl WriteOp {
    /// An operation without steps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Creates the object; the operation fails with EEXIST when it exists.
    #[must_use]
    pub fn create_exclusive(self) -> Self {
        self.step(Step::Create { exclusive: true })
    }

    /// Creates the object unless it exists.
    #[must_use]
    pub fn create(self) -> Self {
        self.step(Step::Create { exclusive: false })
    }

    /// The operation fails with ENOENT unless the object exists.
    #[must_use]
    pub fn assert_exists(self) -> Self {
        self.step(Step::AssertExists)
    }

    /// The operation fails with ECANCELED unless the omap value of `key` is `value`. `None` means
    /// absent; the OSD cannot tell a missing key from one with an empty value.
    #[must_use]
    pub fn compare_omap(self, key: &str, value: Option<&[u8]>) -> Self {
        let value = value.unwrap_or_default().to_vec();
        self.step(Step::CompareOmap {
            key: key.to_owned(),
            value,
        })
    }

    /// The operation fails with ECANCELED unless the object's data begins with `data`, and with
    /// ENOENT when there is no object. Beyond the object's end, zeros are compared.
    #[must_use]
    pub fn compare_data(self, data: &[u8]) -> Self {
        self.assert_exists().step(Step::CompareData {
            data: data.to_vec(),
        })
    }

    /// Sets omap values. Creates the object unless it exists.
    #[must_use]
    pub fn set_omap<K: AsRef<str>, V: AsRef<[u8]>>(self, entries: &[(K, V)]) -> Self {
        let owned = |(key, value): &(K, V)| (key.as_ref().to_owned(), value.as_ref().to_vec());
        self.step(Step::SetOmap {
            entries: entries.iter().map(owned).collect(),
        })
    }

    /// Removes omap keys, present or not.
    #[must_use]
    pub fn remove_omap_keys<K: AsRef<str>>(self, keys: &[K]) -> Self {
        let keys = keys.iter().map(|key| key.as_ref().to_owned()).collect();
        self.step(Step::RemoveOmapKeys { keys })
    }

    /// Replaces the object's data. Creates the object unless it exists.
    #[must_use]
    pub fn write_full(self, data: &[u8]) -> Self {
        self.step(Step::WriteFull {
            data: data.to_vec(),
        })
    }

    /// Removes the object; the operation fails with ENOENT when it does not exist.
    #[must_use]
    pub fn remove(self) -> Self {
        self.step(Step::Remove)
    }

    /// Calls a writing method of an object class.
    #[must_use]
    pub fn exec(self, class: &str, method: &str, input: &[u8]) -> Self {
        let (class, method) = (class.to_owned(), method.to_owned());
        self.step(Step::Exec {
            class,
            method,
            input: input.to_vec(),
        })
    }

    /// Sets metadata of an RBD image; for its header object ([`header_object`](crate::header_object)).
    ///
    /// Class `rbd`, method `metadata_set`, input `map<string, bufferlist>` (Ceph's
    /// `cls/rbd/cls_rbd.cc`). Unlike `rbd_metadata_set` it does not tell the image's watchers,
    /// which only matters for `conf_*` keys.
    #[must_use]
    pub fn set_image_metadata(self, entries: &[(&str, &str)]) -> Self {
        // Keys and values are far below 4 GiB; were they not, the class would refuse the input.
        let input = encoding::metadata(entries).unwrap_or_default();
        self.exec("rbd", "metadata_set", &input)
    }

    /// Sets the size of an RBD image that nothing but its header tells: one without an object map
    /// or a journal. For its header object; its clients are to be told
    /// ([`Io::image_has_changed`]).
    ///
    /// Class `rbd`, method `set_size`, input `u64`. A smaller size would leave data behind.
    #[must_use]
    pub fn set_image_size(self, size: ByteSize) -> Self {
        self.exec("rbd", "set_size", &size.bytes().to_le_bytes())
    }

    /// Removes one entry of an RBD image's metadata, present or not. For its header object, as
    /// [`WriteOp::set_image_metadata`].
    #[must_use]
    pub fn remove_image_metadata(self, key: &str) -> Self {
        let input = encoding::one_string(key).unwrap_or_default();
        self.exec("rbd", "metadata_remove", &input)
    }
}

/// Makes several compound writes, of different objects, at once and waits for all: together they
/// take as long as the slowest. Answers in the order asked. Each counts as one call at the door.
#[must_use]
pub fn write_many(ops: &[(&Io, &str, &WriteOp)]) -> Vec<Result<(), Error>> {
    let begun: Vec<_> = ops
        .iter()
        .map(|(io, object, op)| begin(io, object, op))
        .collect();
    begun.into_iter().map(|started| started?.wait()).collect()
}

/// A compound write under way, begun by [`Io::start_write`].
///
/// Dropping it waits for its end, too, without telling the outcome.
#[must_use = "the outcome comes from `wait`"]
pub struct StartedWrite {
    io: Io,
    target: String,
    pending: Pending,
    open: OpenCall,
}

impl fmt::Debug for StartedWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StartedWrite").field(&self.target).finish()
    }
}

impl StartedWrite {
    /// Waits for the write's end.
    ///
    /// # Errors
    /// As [`Io::write`].
    pub fn wait(self) -> Result<(), Error> {
        // A comparison of data that fails tells the place of the difference in its number.
        let outcome = self.pending.completion.wait().map_err(|errno| {
            if errno.get() >= DIFFERENT_DATA {
                Errno::new(libc::ECANCELED)
            } else {
                errno
            }
        });
        self.open
            .end(outcome.as_ref().err().map(|errno| errno.get()));
        outcome.map_err(|errno| self.io.error("rados.write", &self.target, errno))
    }
}

fn begin(io: &Io, object: &str, op: &WriteOp) -> Result<StartedWrite, Error> {
    let target = io.name(object);
    let open = io
        .cluster
        .inner
        .door
        .begin::<Error>("rados.write", &target)?;
    match Pending::send(io, object, op) {
        Ok(pending) => Ok(StartedWrite {
            io: io.clone(),
            target,
            pending,
            open,
        }),
        Err(errno) => {
            open.end(Some(errno.get()));
            Err(io.error("rados.write", &target, errno))
        }
    }
}

/// A `rados_write_op_t`, freed on drop.
struct Built(rados::rados_write_op_t);

impl Drop for Built {
    fn drop(&mut self) {
        // SAFETY: the operation was made below and is freed once.
        unsafe { rados::rados_release_write_op(self.0) };
    }
}

/// A write under way: the completion first, so that it is waited for before the rest is freed.
struct Pending {
    completion: Completion,
    _op: Built,
}

impl Pending {
    fn send(io: &Io, object: &str, op: &WriteOp) -> Result<Self, Errno> {
        let object = text(object)?;
        // SAFETY: needs nothing; freed on drop.
        let built = Built(unsafe { rados::rados_create_write_op() });
        for step in &op.steps {
            add(&built, step)?;
        }
        let completion = Completion::new()?;
        // A full cluster is to be answered as such, at once, and removals must work on it.
        let flags = rados::LIBRADOS_OPERATION_FULL_TRY;
        // SAFETY: context, operation and completion are live; the name is NUL-terminated and
        // copied; no time is given.
        let result = unsafe {
            rados::rados_aio_write_op_operate(
                built.0,
                io.handle(),
                completion.handle(),
                object.as_ptr(),
                ptr::null_mut(),
                flags,
            )
        };
        Errno::check(result)?;
        completion.began();
        Ok(Self {
            completion,
            _op: built,
        })
    }
}

fn add(op: &Built, step: &Step) -> Result<(), Errno> {
    match step {
        Step::Create { exclusive } => add_create(op, *exclusive),
        // SAFETY: the operation is live and used by this thread alone.
        Step::AssertExists => unsafe { rados::rados_write_op_assert_exists(op.0) },
        Step::CompareOmap { key, value } => add_compare(op, key, value)?,
        Step::CompareData { data } => add_compare_data(op, data),
        Step::SetOmap { entries } => add_set_omap(op, entries),
        Step::RemoveOmapKeys { keys } => add_remove_keys(op, keys),
        Step::WriteFull { data } => add_write_full(op, data),
        // SAFETY: the operation is live and used by this thread alone.
        Step::Remove => unsafe { rados::rados_write_op_remove(op.0) },
        Step::Exec {
            class,
            method,
            input,
        } => add_exec(op, class, method, input)?,
    }
    Ok(())
}

fn add_create(op: &Built, exclusive: bool) {
    let how = if exclusive {
        rados::LIBRADOS_CREATE_EXCLUSIVE
    } else {
        rados::LIBRADOS_CREATE_IDEMPOTENT
    };
    // SAFETY: the operation is live; the category is unused and null.
    unsafe { rados::rados_write_op_create(op.0, how, ptr::null()) };
}

fn add_compare(op: &Built, key: &str, value: &[u8]) -> Result<(), Errno> {
    let equal = u8::try_from(rados::LIBRADOS_CMPXATTR_OP_EQ)
        .map_err(|_impossible| Errno::new(libc::EINVAL))?;
    // SAFETY: the operation is live; key and value are valid for their lengths and copied; the
    // step's own result is not asked for.
    unsafe {
        rados::rados_write_op_omap_cmp2(
            op.0,
            key.as_ptr().cast(),
            equal,
            value.as_ptr().cast(),
            key.len(),
            value.len(),
            ptr::null_mut(),
        );
    }
    Ok(())
}

fn add_compare_data(op: &Built, data: &[u8]) {
    // SAFETY: the operation is live; the data is valid for its length and copied; the step's own
    // result is not asked for.
    unsafe {
        rados::rados_write_op_cmpext(op.0, data.as_ptr().cast(), data.len(), 0, ptr::null_mut());
    }
}

fn add_set_omap(op: &Built, entries: &[(String, Vec<u8>)]) {
    let keys: Vec<*const c_char> = entries.iter().map(|(key, _)| key.as_ptr().cast()).collect();
    let values: Vec<*const c_char> = entries
        .iter()
        .map(|(_, value)| value.as_ptr().cast())
        .collect();
    let key_lengths: Vec<size_t> = entries.iter().map(|(key, _)| key.len()).collect();
    let value_lengths: Vec<size_t> = entries.iter().map(|(_, value)| value.len()).collect();
    // SAFETY: the operation is live; all four arrays hold one element per entry; all is copied.
    unsafe {
        rados::rados_write_op_omap_set2(
            op.0,
            keys.as_ptr(),
            values.as_ptr(),
            key_lengths.as_ptr(),
            value_lengths.as_ptr(),
            entries.len(),
        );
    }
}

fn add_remove_keys(op: &Built, keys: &[String]) {
    let starts: Vec<*const c_char> = keys.iter().map(|key| key.as_ptr().cast()).collect();
    let lengths: Vec<size_t> = keys.iter().map(String::len).collect();
    // SAFETY: the operation is live; both arrays hold one element per key; all is copied.
    unsafe {
        rados::rados_write_op_omap_rm_keys2(op.0, starts.as_ptr(), lengths.as_ptr(), keys.len());
    }
}

fn add_write_full(op: &Built, data: &[u8]) {
    // SAFETY: the operation is live; the data is valid for its length and copied.
    unsafe { rados::rados_write_op_write_full(op.0, data.as_ptr().cast(), data.len()) };
}

fn add_exec(op: &Built, class: &str, method: &str, input: &[u8]) -> Result<(), Errno> {
    let (class, method) = (text(class)?, text(method)?);
    // SAFETY: the operation is live; the names are NUL-terminated, the input is valid for its
    // length, all three are copied; the step's own result is not asked for.
    unsafe {
        rados::rados_write_op_exec(
            op.0,
            class.as_ptr(),
            method.as_ptr(),
            input.as_ptr().cast(),
            input.len(),
            ptr::null_mut(),
        );
    }
    Ok(())
}

impl Io {
    /// Carries out a compound write.
    ///
    /// # Errors
    /// The errno of the first step that failed; nothing was changed then. After a time-out
    /// (`is_timeout`) the operation may still be carried out.
    ///
    /// # Blocking
    /// One round trip, up to the operation time-out.
    ///
    /// # Idempotency
    /// librados repeats an operation after a lost connection so that it happens once. A second
    /// call is a second operation: guards make it harmless.
    pub fn write(&self, object: &str, op: impl Borrow<WriteOp>) -> Result<(), Error> {
        let nothing = || {
            Err(Error::new(
                "rados.write",
                self.name(object),
                Errno::new(libc::EIO),
            ))
        };
        write_many(&[(self, object, op.borrow())])
            .pop()
            .unwrap_or_else(nothing)
    }

    /// Begins a compound write and returns at once, so that something else can be done meanwhile.
    ///
    /// # Errors
    /// When the door refuses it or it cannot be sent; nothing was changed then.
    pub fn start_write(&self, object: &str, op: &WriteOp) -> Result<StartedWrite, Error> {
        begin(self, object, op)
    }

    /// Removes an object; answers whether there was one.
    ///
    /// # Errors
    /// Any failure but its absence.
    pub fn remove(&self, object: &str) -> Result<bool, Error> {
        match self.write(object, WriteOp::new().remove()) {
            Ok(()) => Ok(true),
            Err(error) if error.is_absent() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
