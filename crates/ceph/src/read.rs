//! Reads of objects: data, omap, class methods; several at once cost one round trip.

use std::collections::BTreeMap;
use std::ptr;

use ceph_sys::rados;
use cuttle_door::OpenCall;
use libc::{c_char, c_int, c_uchar, size_t};

use crate::aio::Completion;
use crate::commands::Answer;
use crate::connection::text;
use crate::error::{Errno, Error};
use crate::io::Io;

/// How many omap entries one page asks for at most; OSDs send no more than this at once anyway
/// (`osd_max_omap_entries_per_request`, 1024 by default).
const PAGE: u64 = 1000;

/// One read of one object.
#[derive(Debug, Clone)]
pub struct ReadOp {
    object: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Data {
        max: usize,
    },
    Keys {
        keys: Vec<String>,
    },
    Page {
        after: String,
        prefix: String,
        max: u64,
    },
    Exec {
        class: String,
        method: String,
        input: Vec<u8>,
    },
}

/// What a [`ReadOp`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReply {
    /// Omap entries, for omap reads.
    pub omap: BTreeMap<String, Vec<u8>>,
    /// Whether more omap entries follow those.
    pub more: bool,
    /// The data, or the method's answer.
    pub bytes: Vec<u8>,
}

/// Some of an object's omap entries, in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OmapPage {
    /// The entries.
    pub entries: BTreeMap<String, Vec<u8>>,
    /// Whether more follow.
    pub more: bool,
}

impl ReadOp {
    /// Reads an object's data from its start, up to `max` bytes.
    #[must_use]
    pub fn data(object: &str, max: usize) -> Self {
        Self {
            object: object.to_owned(),
            what: What::Data { max },
        }
    }

    /// Reads the omap values of these keys; keys without a value are left out.
    #[must_use]
    pub fn omap_get(object: &str, keys: &[&str]) -> Self {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Self {
            object: object.to_owned(),
            what: What::Keys { keys },
        }
    }

    /// Reads up to `max` omap entries after the key `after`, whose keys begin with `prefix`.
    #[must_use]
    pub fn omap_page(object: &str, after: &str, prefix: &str, max: u64) -> Self {
        let what = What::Page {
            after: after.to_owned(),
            prefix: prefix.to_owned(),
            max,
        };
        Self {
            object: object.to_owned(),
            what,
        }
    }

    /// Calls a reading method of an object class.
    #[must_use]
    pub fn exec(object: &str, class: &str, method: &str, input: &[u8]) -> Self {
        let (class, method) = (class.to_owned(), method.to_owned());
        let what = What::Exec {
            class,
            method,
            input: input.to_vec(),
        };
        Self {
            object: object.to_owned(),
            what,
        }
    }

    fn call_name(&self) -> &'static str {
        match &self.what {
            What::Data { .. } => "rados.read",
            What::Keys { .. } | What::Page { .. } => "rados.omap_get",
            What::Exec { .. } => "rados.exec_read",
        }
    }
}

/// Makes several reads at once and waits for all: together they take as long as the slowest.
///
/// Answers in the order asked; `Ok(None)` means that the cluster says there is no such object (or,
/// for a class method, nothing it looks for). Each read counts as one call at the door.
#[must_use]
pub fn read_many(ops: &[(&Io, ReadOp)]) -> Vec<Result<Option<ReadReply>, Error>> {
    let begun: Vec<_> = ops.iter().map(|(io, op)| begin(io, op)).collect();
    let ended = begun.into_iter().zip(ops).map(|(pending, (io, op))| {
        let (mut pending, open) = pending?;
        let outcome = pending.end();
        open.end(outcome.as_ref().err().map(|errno| errno.get()));
        match outcome {
            Ok(reply) => Ok(Some(reply)),
            Err(errno) if errno.get() == libc::ENOENT => Ok(None),
            Err(errno) => Err(io.error(op.call_name(), &io.name(&op.object), errno)),
        }
    });
    ended.collect()
}

fn begin(io: &Io, op: &ReadOp) -> Result<(Box<Pending>, OpenCall), Error> {
    let (call, target) = (op.call_name(), io.name(&op.object));
    let open = io.cluster.inner.door.begin::<Error>(call, &target)?;
    match Pending::send(io, op) {
        Ok(pending) => Ok((pending, open)),
        Err(errno) => {
            open.end(Some(errno.get()));
            Err(io.error(call, &target, errno))
        }
    }
}

/// A read under way. Boxed, because librados writes into its fields until the completion fires.
struct Pending {
    op: rados::rados_read_op_t,
    completion: Option<Completion>,
    omap: rados::rados_omap_iter_t,
    more: c_uchar,
    buffer: Vec<u8>,
    filled: size_t,
    answer: Answer,
    result: c_int,
}

impl Drop for Pending {
    fn drop(&mut self) {
        // Waits for the operation if it is still under way: it writes into these fields.
        drop(self.completion.take());
        if !self.omap.is_null() {
            // SAFETY: the iterator was made by the read below and is freed once.
            unsafe { rados::rados_omap_get_end(self.omap) };
        }
        // SAFETY: the operation was made in `send`, is no longer under way, and is freed once.
        unsafe { rados::rados_release_read_op(self.op) };
    }
}

impl Pending {
    fn send(io: &Io, op: &ReadOp) -> Result<Box<Self>, Errno> {
        let object = text(&op.object)?;
        let mut pending = Box::new(Self {
            // SAFETY: needs nothing; freed on drop.
            op: unsafe { rados::rados_create_read_op() },
            completion: None,
            omap: ptr::null_mut(),
            more: 0,
            buffer: Vec::new(),
            filled: 0,
            answer: Answer::new(),
            result: 0,
        });
        pending.build(&op.what)?;
        let completion = Completion::new()?;
        // SAFETY: context, operation and completion are live; the name is NUL-terminated and
        // copied; where the answer goes is boxed and outlives the operation (see `Drop`).
        let result = unsafe {
            rados::rados_aio_read_op_operate(
                pending.op,
                io.handle(),
                completion.handle(),
                object.as_ptr(),
                rados::LIBRADOS_OPERATION_NOFLAG,
            )
        };
        Errno::check(result)?;
        completion.began();
        pending.completion = Some(completion);
        Ok(pending)
    }

    fn build(&mut self, what: &What) -> Result<(), Errno> {
        match what {
            What::Data { max } => self.build_data(*max),
            What::Keys { keys } => self.build_keys(keys),
            What::Page { after, prefix, max } => return self.build_page(after, prefix, *max),
            What::Exec {
                class,
                method,
                input,
            } => return self.build_exec(class, method, input),
        }
        Ok(())
    }

    fn build_data(&mut self, max: usize) {
        self.buffer = vec![0; max];
        let start = self.buffer.as_mut_ptr().cast();
        let (filled, result) = (&raw mut self.filled, &raw mut self.result);
        // SAFETY: the buffer holds `max` bytes; it and both fields live until the end.
        unsafe { rados::rados_read_op_read(self.op, 0, max, start, filled, result) };
    }

    fn build_keys(&mut self, keys: &[String]) {
        let starts: Vec<*const c_char> = keys.iter().map(|key| key.as_ptr().cast()).collect();
        let lengths: Vec<size_t> = keys.iter().map(String::len).collect();
        let (omap, result) = (&raw mut self.omap, &raw mut self.result);
        // SAFETY: both arrays hold one element per key and the keys are copied; both fields live
        // until the end.
        unsafe {
            rados::rados_read_op_omap_get_vals_by_keys2(
                self.op,
                starts.as_ptr(),
                starts.len(),
                lengths.as_ptr(),
                omap,
                result,
            );
        }
    }

    fn build_page(&mut self, after: &str, prefix: &str, max: u64) -> Result<(), Errno> {
        let (after, prefix) = (text(after)?, text(prefix)?);
        let (omap, more) = (&raw mut self.omap, &raw mut self.more);
        let result = &raw mut self.result;
        // SAFETY: both texts are NUL-terminated and copied; the three fields live until the end.
        unsafe {
            rados::rados_read_op_omap_get_vals2(
                self.op,
                after.as_ptr(),
                prefix.as_ptr(),
                max,
                omap,
                more,
                result,
            );
        }
        Ok(())
    }

    fn build_exec(&mut self, class: &str, method: &str, input: &[u8]) -> Result<(), Errno> {
        let (class, method) = (text(class)?, text(method)?);
        let (start, length) = (&raw mut self.answer.start, &raw mut self.answer.length);
        let result = &raw mut self.result;
        // SAFETY: the names are NUL-terminated, the input is valid for its length, all three are
        // copied; where the answer goes lives until the end.
        unsafe {
            rados::rados_read_op_exec(
                self.op,
                class.as_ptr(),
                method.as_ptr(),
                input.as_ptr().cast(),
                input.len(),
                start,
                length,
                result,
            );
        }
        Ok(())
    }

    /// Waits for the end and takes the answer out.
    fn end(&mut self) -> Result<ReadReply, Errno> {
        if let Some(completion) = self.completion.take() {
            completion.wait()?;
        }
        let mut bytes = std::mem::take(&mut self.buffer);
        bytes.truncate(self.filled);
        if bytes.is_empty() {
            bytes = self.answer.bytes();
        }
        Ok(ReadReply {
            omap: self.entries()?,
            more: self.more != 0,
            bytes,
        })
    }

    fn entries(&self) -> Result<BTreeMap<String, Vec<u8>>, Errno> {
        let mut entries = BTreeMap::new();
        if self.omap.is_null() {
            return Ok(entries);
        }
        loop {
            let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
            let (mut key_length, mut value_length) = (0, 0);
            // SAFETY: the iterator is live and used by this thread alone; the four places are
            // valid for writing.
            let result = unsafe {
                rados::rados_omap_get_next2(
                    self.omap,
                    &raw mut key,
                    &raw mut value,
                    &raw mut key_length,
                    &raw mut value_length,
                )
            };
            Errno::check(result)?;
            if key.is_null() {
                return Ok(entries);
            }
            let key = String::from_utf8_lossy(bytes(key, key_length)).into_owned();
            entries.insert(key, bytes(value, value_length).to_vec());
        }
    }
}

/// Bytes that an omap iterator owns; used before the iterator moves on or ends.
fn bytes<'a>(start: *const c_char, length: size_t) -> &'a [u8] {
    if start.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: librados wrote start and length of bytes that live until the iterator's end; the
    // two callers copy them at once.
    unsafe { std::slice::from_raw_parts(start.cast(), length) }
}

impl Io {
    /// Reads the omap values of `keys`; keys without a value are left out; `None` when the cluster
    /// says there is no such object.
    ///
    /// # Errors
    /// Any other failure of the read.
    ///
    /// # Blocking
    /// One round trip, up to the operation time-out.
    pub fn omap_get(
        &self,
        object: &str,
        keys: &[&str],
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, Error> {
        let reply = self.read_one(ReadOp::omap_get(object, keys))?;
        Ok(reply.map(|reply| reply.omap))
    }

    /// Reads all omap entries, page by page; `None` when there is no such object. For objects
    /// known to be small.
    ///
    /// # Errors
    /// Any other failure of a read.
    pub fn omap_all(&self, object: &str) -> Result<Option<BTreeMap<String, Vec<u8>>>, Error> {
        let mut all = BTreeMap::new();
        let mut after = String::new();
        loop {
            let Some(page) = self.omap_page(object, &after, "", PAGE)? else {
                return Ok(None);
            };
            let last = page.entries.last_key_value().map(|(key, _)| key.clone());
            all.extend(page.entries);
            match last {
                Some(last) if page.more => after = last,
                _ => return Ok(Some(all)),
            }
        }
    }

    /// Reads up to `max` omap entries in key order, after the key `after` (empty: from the start)
    /// and with keys beginning with `prefix` (empty: all); `None` when there is no such object.
    ///
    /// # Errors
    /// Any other failure of the read.
    ///
    /// # Blocking
    /// One round trip, up to the operation time-out. A page may hold fewer than `max` entries
    /// though more follow: go by [`OmapPage::more`].
    pub fn omap_page(
        &self,
        object: &str,
        after: &str,
        prefix: &str,
        max: u64,
    ) -> Result<Option<OmapPage>, Error> {
        let reply = self.read_one(ReadOp::omap_page(object, after, prefix, max))?;
        Ok(reply.map(|reply| OmapPage {
            entries: reply.omap,
            more: reply.more,
        }))
    }
}
