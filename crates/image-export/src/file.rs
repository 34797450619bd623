//! The FUSE file system: one regular file, the root, whose bytes are the image's.
//!
//! The file has the image's size and no other life: it cannot be truncated, renamed or written
//! past its end. There is no second cache: the kernel passes every read and write on
//! (`FOPEN_DIRECT_IO`), several writes at a time (`FOPEN_PARALLEL_DIRECT_WRITES`).

use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenAccMode, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use tracing::{debug, warn};

use crate::MAX_REQUEST_BYTES;
use crate::backend::Backend;
use crate::sizes::Question;

/// Requests the kernel may have open at once for asynchronous I/O; a loop device's queue holds 128.
const MAX_BACKGROUND: u16 = 64;

/// Gives a hole its zeroes back: what a loop device makes of a discard.
const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
/// Writes zeroes: what a loop device makes of a write of zeroes that must not free space.
const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;

/// The file.
#[derive(Debug)]
pub(crate) struct ImageFile {
    backend: Arc<Backend>,
    sizes: Sender<Question>,
    read_only: bool,
}

impl ImageFile {
    pub(crate) fn new(backend: Arc<Backend>, sizes: Sender<Question>, read_only: bool) -> Self {
        Self {
            backend,
            sizes,
            read_only,
        }
    }

    fn ask(&self, question: Question) {
        // The thread outlives the file; were it gone, the reply inside would answer EIO.
        if self.sizes.send(question).is_err() {
            warn!("the thread that answers attributes has ended");
        }
    }

    fn sync(&self, reply: ReplyEmpty) {
        if self.read_only {
            return reply.ok();
        }
        self.backend.flush(move |outcome| answer(reply, outcome));
    }
}

fn answer(reply: ReplyEmpty, outcome: Result<(), Errno>) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for ImageFile {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let refused = |what: &str, nearest: u64| {
            io::Error::other(format!("the kernel takes at most {nearest} for {what}"))
        };
        config
            .set_max_write(MAX_REQUEST_BYTES)
            .map_err(|nearest| refused("max_write", nearest.into()))?;
        config
            .set_max_background(MAX_BACKGROUND)
            .map_err(|nearest| refused("max_background", nearest.into()))?;
        // Without it, asynchronous direct reads are made one after the other.
        if let Err(missing) = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO) {
            debug!(?missing, "the kernel's FUSE lacks a capability");
        }
        Ok(())
    }

    fn getattr(&self, _: &Request, _: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.ask(Question::Attributes(reply));
    }

    fn setattr(
        &self,
        _request: &Request,
        _ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<std::time::SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<std::time::SystemTime>,
        _chgtime: Option<std::time::SystemTime>,
        _bkuptime: Option<std::time::SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let resizes = size.is_some_and(|size| size != self.backend.size());
        if resizes || mode.is_some() || uid.is_some() || gid.is_some() {
            return reply.error(Errno::EPERM);
        }
        // Times are not kept; setting them is no error.
        self.ask(Question::Attributes(reply));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.ask(Question::FileSystem(reply));
    }

    fn open(&self, _: &Request, _: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if self.read_only && flags.acc_mode() != OpenAccMode::O_RDONLY {
            return reply.error(Errno::EROFS);
        }
        let direct = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES;
        reply.opened(FileHandle(0), direct);
    }

    fn read(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let inside = self.backend.inside(offset, size.into());
        let Ok(length @ 1..) = usize::try_from(inside) else {
            return reply.data(&[]);
        };
        self.backend.read(offset, length, |outcome| match outcome {
            Ok(data) => reply.data(data),
            Err(errno) => reply.error(errno),
        });
    }

    fn write(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        if self.read_only {
            return reply.error(Errno::EROFS);
        }
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let inside = self.backend.inside(offset, length);
        // A write that crosses the end is cut short, as on a block device.
        let written = u32::try_from(inside).unwrap_or(u32::MAX);
        let data = usize::try_from(inside).ok().and_then(|end| data.get(..end));
        let Some(data @ [_, ..]) = data else {
            return match length {
                0 => reply.written(0),
                _ => reply.error(Errno::ENOSPC),
            };
        };
        // O_SYNC includes O_DSYNC.
        let stable = flags.0 & libc::O_DSYNC != 0;
        self.backend
            .write(offset, data, stable, move |outcome| match outcome {
                Ok(()) => reply.written(written),
                Err(errno) => reply.error(errno),
            });
    }

    fn fallocate(
        &self,
        _request: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let inside = self.backend.inside(offset, length);
        match mode {
            PUNCH | ZERO if self.read_only => return reply.error(Errno::EROFS),
            // Beyond the end everything is a hole already.
            PUNCH => {}
            ZERO if inside == length => {}
            ZERO => return reply.error(Errno::ENOSPC),
            _ => return reply.error(Errno::EOPNOTSUPP),
        }
        self.backend
            .zero(offset, inside, move |outcome| answer(reply, outcome));
    }

    /// Called when a descriptor is closed; `close` then tells of what `fsync` would.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.sync(reply);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.sync(reply);
    }
}
