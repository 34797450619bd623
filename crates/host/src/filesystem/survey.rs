//! Our own reading of a device: what blkid cannot answer, or must not be trusted alone for.

use std::os::fd::OwnedFd;

use cuttle_model::ByteSize;
use rustix::fs::OFlags;
use rustix::ioctl::opcode;

use crate::block_device::{not_a_device, open_device, push_words, words_of};
use crate::children::Failure;
use crate::syscalls::{ioctl_get, ioctl_plain};
use crate::{AbsolutePath, Error, Host};

const BLKGETSIZE64: rustix::ioctl::Opcode = opcode::read::<usize>(0x12, 114);
const BLKFLSBUF: rustix::ioctl::Opcode = opcode::none(0x12, 97);

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
    /// The first bytes of the device.
    pub(super) head: Vec<u8>,
}

/// Whether the kernel's cache of the device may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// What a mounted file system keeps there is what counts.
    Cached,
    /// No: another node may have written since this one has read.
    Fresh,
}

impl Survey {
    /// Whether there is nothing where file systems, partition tables and most applications begin.
    pub(super) fn has_empty_start(&self) -> bool {
        self.head.iter().all(|byte| *byte == 0)
    }

    /// Whether mkfs.xfs (or xfs_copy) said here that it has not finished: `sb_inprogress`, byte
    /// 126 of the superblock. The kernel never mounts such a file system.
    pub(super) fn is_xfs_in_progress(&self) -> bool {
        self.head.starts_with(b"XFSB") && self.head.get(126).is_some_and(|flag| *flag != 0)
    }
}

impl Host {
    /// Reads the places of a device that tell whether it is empty.
    pub(super) fn survey(&self, device: &AbsolutePath, reading: Reading) -> Result<Survey, Error> {
        let (call, name) = ("host.survey", device.to_c());
        let mut buffer = vec![0; PART];
        let mut head = [0; HEAD];
        let limit = self.limits.look;
        let answer = self.aside(call, device, limit, |reply| {
            let fd = open_device(&name, OFlags::RDONLY)?;
            if reading == Reading::Fresh {
                forget_cache(&fd)?;
            }
            let size: u64 =
                ioctl_get::<BLKGETSIZE64, u64>(&fd).map_err(Failure::at("BLKGETSIZE64"))?;
            let content_at = find_content(&fd, size, &mut buffer)?;
            read_at(
                &fd,
                0,
                head.get_mut(..size_or(size, HEAD)).unwrap_or_default(),
            )?;
            push_words(reply, &[size, content_at.unwrap_or(u64::MAX)]);
            reply.push(&head);
            Ok(())
        });
        let answer = answer.map_err(|error| not_a_device(device, error))?;
        let (words, head) = answer.split_at_checked(16).unwrap_or_default();
        let [size, content_at] = words_of(call, device, words)?;
        Ok(Survey {
            size: ByteSize::from_bytes(size),
            content_at: (content_at != u64::MAX).then_some(content_at),
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
            forget_cache(&fd)?;
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
}

/// Has the kernel write what it holds of a device, and forget it.
fn forget_cache(fd: &OwnedFd) -> Result<(), Failure> {
    ioctl_plain::<BLKFLSBUF>(fd).map_err(Failure::at("BLKFLSBUF"))
}

fn size_or(size: u64, most: usize) -> usize {
    usize::try_from(size).unwrap_or(most).min(most)
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
