//! Block devices: their size, whether they can be written, and flushing them.

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::opcode;

use cuttle_model::ByteSize;

use crate::children::{Failure, Reply};
use crate::mount_table::DeviceNumber;
use crate::syscalls::ioctl_get;
use crate::{AbsolutePath, Error, Host};

const BLKROGET: rustix::ioctl::Opcode = opcode::none(0x12, 94);
const BLKGETSIZE64: rustix::ioctl::Opcode = opcode::read::<usize>(0x12, 114);

/// What a block device is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockDevice {
    /// Its number.
    pub number: DeviceNumber,
    /// Its size.
    pub size: ByteSize,
    /// Whether the kernel refuses writes to it.
    pub read_only: bool,
}

impl Host {
    /// Looks at a block device. Links are followed, as `/dev/disk/by-…` and udev make them.
    ///
    /// # Blocking
    /// At most [`Limits::look`](crate::Limits::look).
    ///
    /// # Errors
    /// [`Error::NotABlockDevice`] when the path is anything else (a device that is gone may leave
    /// a regular file of its name behind), the errno, or [`Error::Hung`].
    pub fn block_device(&self, path: &AbsolutePath) -> Result<BlockDevice, Error> {
        let (call, name) = ("host.block_device", path.to_c());
        let answer = self.aside(call, path, self.limits.look, |reply| {
            let device = open_device(&name, OFlags::RDONLY)?;
            let stat = rustix::fs::fstat(&device).map_err(Failure::at("fstat"))?;
            let size: u64 =
                ioctl_get::<BLKGETSIZE64, u64>(&device).map_err(Failure::at("BLKGETSIZE64"))?;
            let fixed: i32 =
                ioctl_get::<BLKROGET, i32>(&device).map_err(Failure::at("BLKROGET"))?;
            push_words(reply, &[stat.st_rdev, size, u64::from(fixed != 0)]);
            Ok(())
        });
        let words = words_of(
            call,
            path,
            &answer.map_err(|error| not_a_device(path, error))?,
        )?;
        let [number, size, fixed] = words;
        Ok(BlockDevice {
            number: DeviceNumber::from_raw(number),
            size: ByteSize::from_bytes(size),
            read_only: fixed != 0,
        })
    }

    /// Whether somebody has claimed a block device for itself: a mount, also one that is still being
    /// made or stands in another mount namespace; a program that works on it; a device stacked on it.
    ///
    /// # Errors
    /// As [`Host::block_device`].
    pub fn is_claimed(&self, path: &AbsolutePath) -> Result<bool, Error> {
        let name = path.to_c();
        let answer = self.aside("host.claim", path, self.limits.look, |_| {
            open_device(&name, OFlags::RDONLY | OFlags::EXCL).map(drop)
        });
        match answer.map_err(|error| not_a_device(path, error)) {
            Ok(_empty) => Ok(false),
            Err(error) if error.is_busy() => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Writes everything the kernel still holds for a block device to it, and has the device do
    /// the same (fsync on the device).
    ///
    /// # Errors
    /// EIO when data could not be written (then it is lost); as [`Host::block_device`].
    pub fn flush_device(&self, path: &AbsolutePath) -> Result<(), Error> {
        let name = path.to_c();
        let answer = self.aside("host.flush", path, self.limits.device, |_| {
            let device = open_device(&name, OFlags::RDONLY)?;
            rustix::fs::fsync(&device).map_err(Failure::at("fsync"))
        });
        answer
            .map(|_empty| ())
            .map_err(|error| not_a_device(path, error))
    }
}

/// Opens a block device, and nothing but a block device. For forked children.
pub(crate) fn open_device(
    path: &std::ffi::CStr,
    mode: OFlags,
) -> Result<std::os::fd::OwnedFd, Failure> {
    // Opening may have effects on other kinds of files, so the kind is asked for first; the
    // descriptor is asked again, because the name may have changed its meaning in between.
    let is_block = |stat: rustix::fs::Stat| {
        if FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice {
            Ok(())
        } else {
            Err(Failure::at("open")(Errno::NOTBLK))
        }
    };
    is_block(rustix::fs::stat(path).map_err(Failure::at("open"))?)?;
    let flags = mode | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let device = rustix::fs::open(path, flags, Mode::empty()).map_err(Failure::at("open"))?;
    is_block(rustix::fs::fstat(&device).map_err(Failure::at("fstat"))?)?;
    Ok(device)
}

/// Names the refusal of [`open_device`] properly.
pub(crate) fn not_a_device(path: &AbsolutePath, error: Error) -> Error {
    let refused = matches!(&error, Error::Call { errno, step: "open", .. }
        if errno.number() == libc::ENOTBLK);
    if refused {
        Error::NotABlockDevice {
            path: path.to_string(),
            found: "some other kind of file",
        }
    } else {
        error
    }
}

/// Writes numbers into a child's answer.
pub(crate) fn push_words(reply: &mut Reply, words: &[u64]) {
    for word in words {
        reply.push(&word.to_ne_bytes());
    }
}

/// Reads the numbers of a child's answer.
pub(crate) fn words_of<const COUNT: usize>(
    call: &'static str,
    target: &AbsolutePath,
    bytes: &[u8],
) -> Result<[u64; COUNT], Error> {
    let mut words = [0; COUNT];
    let whole = bytes.len() == COUNT * 8;
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.try_into().map(u64::from_ne_bytes).unwrap_or_default();
    }
    if whole {
        Ok(words)
    } else {
        Err(Error::ChildLost {
            call,
            target: target.to_string(),
        })
    }
}
