//! Our own reading of a device: what blkid cannot answer, or must not be trusted alone for.

use std::os::fd::OwnedFd;

use cuttle_model::ByteSize;
use rustix::fs::OFlags;
use rustix::ioctl::opcode;

use crate::block_device::{not_a_device, open_device, push_words, words_of};
use crate::children::Failure;
use crate::syscalls::ioctl_get;
use crate::{AbsolutePath, Error, Host};

const BLKGETSIZE64: rustix::ioctl::Opcode = opcode::read::<usize>(0x12, 114);

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// How much is read at each end of the device.
const END: u64 = MIB;

/// How much is read where copies of superblocks may lie.
const COPY: u64 = 64 * KIB;

/// Where they may lie: ext with 1, 2 and 4 KiB blocks (its group 1), btrfs.
const COPIES: [u64; 5] = [8 * MIB, 32 * MIB, 64 * MIB, 128 * MIB, 256 << 30];

/// How much of the start is handed back: the superblocks of ext (at 1 KiB) and XFS (at 0).
const HEAD: usize = 2048;

/// The mark of an unfinished mkfs, and how far from the end its two copies lie. mke2fs and
/// mkfs.xfs wipe the last 64 and 128 KiB; nothing else is written there unless the last group of
/// an ext begins there, which whole MiB of size rule out for the nearer copy.
const MARK: &[u8; 32] = b"cuttle: mkfs is not finished\n\0\0\0";
const MARK_PLACES: [u64; 2] = [768 * KIB, 384 * KIB];

/// The smallest device that is marked; below it a file system would not leave the places alone.
const SMALLEST_MARKED: u64 = 16 * MIB;

/// Before a mkfs, the start of every object of an image is read: this far apart, this much, at
/// this many places at most. What was written to a block device in the middle, by an application
/// without a file system, is seen there; objects that were never written cost one short answer.
const OBJECT: u64 = 4 * MIB;
const OBJECT_START: usize = 64 * 1024;
const MOST_OBJECTS: u64 = 4096;

/// How much is read at a time.
const PART: usize = 256 * 1024;

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Survey {
    /// The size of the device.
    pub(super) size: ByteSize,
    /// The first byte found that is not zero; `None` when all that was read is zero.
    pub(super) content_at: Option<u64>,
    /// Whether the device carries the mark of an unfinished mkfs.
    pub(super) marked: bool,
    /// The first bytes of the device.
    pub(super) head: Vec<u8>,
}

impl Survey {
    /// Whether mkfs.xfs (or xfs_copy) said here that it has not finished: `sb_inprogress`, byte
    /// 126 of the superblock. The kernel never mounts such a file system.
    pub(super) fn is_xfs_in_progress(&self) -> bool {
        self.head.starts_with(b"XFSB") && self.head.get(126).is_some_and(|flag| *flag != 0)
    }
}

impl Host {
    /// Reads the places of a device that tell whether it is empty.
    pub(super) fn survey(&self, device: &AbsolutePath) -> Result<Survey, Error> {
        let (call, name) = ("host.survey", device.to_c());
        let mut buffer = vec![0; PART];
        let mut head = [0; HEAD];
        let limit = self.limits.look;
        let answer = self.aside(call, device, limit, |reply| {
            let fd = open_device(&name, OFlags::RDONLY)?;
            let size: u64 =
                ioctl_get::<BLKGETSIZE64, u64>(&fd).map_err(Failure::at("BLKGETSIZE64"))?;
            let content_at = find_content(&fd, size, &mut buffer)?;
            let marked = is_marked(&fd, size)?;
            read_at(
                &fd,
                0,
                head.get_mut(..size_or(size, HEAD)).unwrap_or_default(),
            )?;
            push_words(
                reply,
                &[size, content_at.unwrap_or(u64::MAX), u64::from(marked)],
            );
            reply.push(&head);
            Ok(())
        });
        let answer = answer.map_err(|error| not_a_device(device, error))?;
        let (words, head) = answer.split_at_checked(24).unwrap_or_default();
        let [size, content_at, marked] = words_of(call, device, words)?;
        Ok(Survey {
            size: ByteSize::from_bytes(size),
            content_at: (content_at != u64::MAX).then_some(content_at),
            marked: marked != 0,
            head: head.to_vec(),
        })
    }

    /// Reads samples of the whole device; answers where the first byte is that is not zero. On very
    /// large devices the samples lie further apart.
    pub(super) fn find_anything(&self, device: &AbsolutePath) -> Result<Option<u64>, Error> {
        let (call, name) = ("host.sample", device.to_c());
        let mut buffer = vec![0; OBJECT_START];
        let answer = self.aside(call, device, self.limits.device, |reply| {
            let fd = open_device(&name, OFlags::RDONLY)?;
            let size: u64 =
                ioctl_get::<BLKGETSIZE64, u64>(&fd).map_err(Failure::at("BLKGETSIZE64"))?;
            let found = sample(&fd, size, &mut buffer)?;
            push_words(reply, &[found.unwrap_or(u64::MAX)]);
            Ok(())
        });
        let answer = answer.map_err(|error| not_a_device(device, error))?;
        let [found] = words_of(call, device, &answer)?;
        Ok((found != u64::MAX).then_some(found))
    }

    /// Writes the mark of an unfinished mkfs onto a device and flushes it.
    pub(super) fn mark_unfinished(&self, device: &AbsolutePath) -> Result<(), Error> {
        self.write_mark("host.mark", device, |_, _| Ok(Some(*MARK)))
    }

    /// Erases the mark where it still stands, and flushes. What mkfs may have written there
    /// instead is left alone.
    pub(super) fn erase_mark(&self, device: &AbsolutePath) -> Result<(), Error> {
        self.write_mark("host.unmark", device, |fd, at| {
            let mut found = [0; MARK.len()];
            read_at(fd, at, &mut found)?;
            Ok((found == *MARK).then_some([0; MARK.len()]))
        })
    }

    fn write_mark(
        &self,
        call: &'static str,
        device: &AbsolutePath,
        choose: impl Fn(&OwnedFd, u64) -> Result<Option<[u8; MARK.len()]>, Failure>,
    ) -> Result<(), Error> {
        let name = device.to_c();
        let answer = self.aside(call, device, self.limits.device, |_| {
            // Exclusive: nobody else has mounted or claimed it.
            let fd = open_device(&name, OFlags::RDWR | OFlags::EXCL)?;
            let size: u64 =
                ioctl_get::<BLKGETSIZE64, u64>(&fd).map_err(Failure::at("BLKGETSIZE64"))?;
            for at in mark_places(size).into_iter().flatten() {
                if let Some(bytes) = choose(&fd, at)? {
                    let count =
                        rustix::io::pwrite(&fd, &bytes, at).map_err(Failure::at("pwrite"))?;
                    if count != bytes.len() {
                        return Err(Failure::at("pwrite")(rustix::io::Errno::IO));
                    }
                }
            }
            rustix::fs::fsync(&fd).map_err(Failure::at("fsync"))
        });
        answer
            .map(|_empty| ())
            .map_err(|error| not_a_device(device, error))
    }
}

fn size_or(size: u64, most: usize) -> usize {
    usize::try_from(size).unwrap_or(most).min(most)
}

/// Where the mark's copies lie on a device of this size; nowhere on a very small one.
fn mark_places(size: u64) -> [Option<u64>; 2] {
    let end = size - size % 4096;
    MARK_PLACES.map(|back| end.checked_sub(back).filter(|_| size >= SMALLEST_MARKED))
}

fn is_marked(fd: &OwnedFd, size: u64) -> Result<bool, Failure> {
    let mut found = [0; MARK.len()];
    for at in mark_places(size).into_iter().flatten() {
        read_at(fd, at, &mut found)?;
        if found == *MARK {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first byte that is not zero in the places that are looked at.
fn find_content(fd: &OwnedFd, size: u64, buffer: &mut [u8]) -> Result<Option<u64>, Failure> {
    let tail = size.saturating_sub(END);
    let ends = [(0, END), (tail, END)];
    for (start, length) in ends
        .into_iter()
        .chain(COPIES.into_iter().map(|start| (start, COPY)))
    {
        let end = start.saturating_add(length).min(size);
        let mut at = start;
        while at < end {
            let want = size_or(end - at, buffer.len());
            let part = buffer.get_mut(..want).unwrap_or_default();
            read_at(fd, at, part)?;
            if let Some(index) = part.iter().position(|byte| *byte != 0) {
                return Ok(Some(at + u64::try_from(index).unwrap_or(0)));
            }
            at += u64::try_from(want).unwrap_or(u64::MAX);
        }
    }
    Ok(None)
}

/// The first byte that is not zero in the samples.
fn sample(fd: &OwnedFd, size: u64, buffer: &mut [u8]) -> Result<Option<u64>, Failure> {
    let objects = size.div_ceil(OBJECT);
    let apart = OBJECT * objects.div_ceil(MOST_OBJECTS).max(1);
    let mut at = 0;
    while at < size {
        let part = buffer.get_mut(..size_or(size - at, OBJECT_START));
        let part = part.unwrap_or_default();
        read_at(fd, at, part)?;
        if let Some(index) = part.iter().position(|byte| *byte != 0) {
            return Ok(Some(at + u64::try_from(index).unwrap_or(0)));
        }
        at = at.saturating_add(apart);
    }
    Ok(None)
}

/// Fills the whole buffer from this place; an early end is an error.
fn read_at(fd: &OwnedFd, mut at: u64, mut buffer: &mut [u8]) -> Result<(), Failure> {
    while !buffer.is_empty() {
        match rustix::io::pread(fd, &mut *buffer, at) {
            Ok(0) => return Err(Failure::at("pread")(rustix::io::Errno::IO)),
            Ok(count) => {
                at += u64::try_from(count).unwrap_or(0);
                buffer = buffer.get_mut(count..).unwrap_or_default();
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Failure::at("pread")(errno)),
        }
    }
    Ok(())
}
