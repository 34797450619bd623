//! Growing a mounted file system to the size of its device, by the kernel's own requests.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use cuttle_model::ByteSize;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, opcode};

use crate::block_device::{push_words, words_of};
use crate::capability::Capability;
use crate::children::Failure;
use crate::mount_table::DeviceNumber;
use crate::syscalls::{ioctl_get, ioctl_set};
use crate::{AbsolutePath, BlockDevice, Error, Host};

use super::ext::ExtSuperblock;
use super::is_ext;
use super::survey::Reading;

const EXT4_IOC_RESIZE_FS: Opcode = opcode::write::<u64>(b'f', 16);
const XFS_IOC_FSGEOMETRY_V1: Opcode = opcode::read::<XfsGeometry>(b'X', 100);
const XFS_IOC_FSGROWFSDATA: Opcode = opcode::write::<XfsGrowth>(b'X', 110);

/// `struct xfs_fsop_geom_v1`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct XfsGeometry {
    block_size: u32,
    realtime_extent: u32,
    group_blocks: u32,
    groups: u32,
    log_blocks: u32,
    sector_size: u32,
    inode_size: u32,
    most_inodes_percent: u32,
    data_blocks: u64,
    realtime_blocks: u64,
    realtime_extents: u64,
    log_start: u64,
    uuid: [u8; 16],
    stripe_unit: u32,
    stripe_width: u32,
    version: i32,
    flags: u32,
    log_sector_size: u32,
    realtime_sector_size: u32,
    directory_block_size: u32,
}

/// `struct xfs_growfs_data`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct XfsGrowth {
    blocks: u64,
    most_inodes_percent: u32,
}

/// The fewest blocks of an allocation group of XFS (`XFS_MIN_AG_BLOCKS`).
const FEWEST_GROUP_BLOCKS: u64 = 64;

/// How growing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// The file system fills its device already.
    Unneeded {
        /// Its size.
        size: ByteSize,
    },
    /// It has grown.
    Grown {
        /// Its size before.
        from: ByteSize,
        /// Its size now.
        to: ByteSize,
    },
}

impl Host {
    /// Grows the file system of `device`, of a kind as [`Host::probe`] names it, to the size of
    /// the device. It must be mounted, writable, at `mount`.
    ///
    /// # Idempotency
    /// A file system that fills its device is left alone.
    ///
    /// # Errors
    /// EXDEV when `mount` does not show the file system of `device`;
    /// [`Error::NeedsCapability`] for ext without `CAP_SYS_RESOURCE`;
    /// [`Error::FilesystemUnsupported`] for other kinds; the errno; [`Error::Hung`].
    pub fn grow_filesystem(
        &self,
        device: &AbsolutePath,
        mount: &AbsolutePath,
        kind: &str,
    ) -> Result<Growth, Error> {
        let about = self.block_device(device)?;
        if is_ext(kind) {
            self.grow_ext(device, mount, about)
        } else if kind == "xfs" {
            self.grow_xfs(mount, about)
        } else {
            let (kind, what) = (kind.to_owned(), "grown");
            Err(Error::FilesystemUnsupported { kind, what })
        }
    }

    fn ext_superblock(&self, device: &AbsolutePath) -> Result<ExtSuperblock, Error> {
        let survey = self.survey(device, Reading::Cached)?;
        ExtSuperblock::read(&survey.head).ok_or_else(|| Error::Unreadable {
            path: device.to_string(),
            found: format!("{:?}", survey.head.get(1024..1088).unwrap_or_default()),
            expected: "an ext superblock at byte 1024",
        })
    }

    fn grow_ext(
        &self,
        device: &AbsolutePath,
        mount: &AbsolutePath,
        about: BlockDevice,
    ) -> Result<Growth, Error> {
        let before = self.ext_superblock(device)?;
        let from = ByteSize::from_bytes(before.bytes());
        let Some(blocks) = before.blocks_to_fill(about.size.bytes()) else {
            return Ok(Growth::Unneeded { size: from });
        };
        let name = mount.to_c();
        let grown = self.aside("host.grow", mount, self.limits.filesystem, |_| {
            let root = open_root(&name, about.number)?;
            ioctl_set::<EXT4_IOC_RESIZE_FS, u64>(&root, blocks)
                .map_err(Failure::at("EXT4_IOC_RESIZE_FS"))
        });
        match grown {
            Ok(_empty) => {
                let to = ByteSize::from_bytes(self.ext_superblock(device)?.bytes());
                Ok(Growth::Grown { from, to })
            }
            Err(Error::Call {
                errno,
                step: "EXT4_IOC_RESIZE_FS",
                ..
            }) if errno.number() == libc::EPERM
                && !self.has_capability(Capability::SysResource)? =>
            {
                Err(Error::NeedsCapability {
                    what: "growing the mounted ext file system on",
                    target: device.to_string(),
                    capability: Capability::SysResource.name(),
                })
            }
            Err(error) => Err(error),
        }
    }

    fn grow_xfs(&self, mount: &AbsolutePath, about: BlockDevice) -> Result<Growth, Error> {
        let (call, name, size) = ("host.grow", mount.to_c(), about.size.bytes());
        let answer = self.aside(call, mount, self.limits.filesystem, |reply| {
            let root = open_root(&name, about.number)?;
            let geometry = || {
                ioctl_get::<XFS_IOC_FSGEOMETRY_V1, XfsGeometry>(&root)
                    .map_err(Failure::at("XFS_IOC_FSGEOMETRY"))
            };
            let before = geometry()?;
            let blocks = xfs_blocks(&before, size);
            if blocks > before.data_blocks {
                let growth = XfsGrowth {
                    blocks,
                    most_inodes_percent: before.most_inodes_percent,
                };
                ioctl_set::<XFS_IOC_FSGROWFSDATA, XfsGrowth>(&root, growth)
                    .map_err(Failure::at("XFS_IOC_FSGROWFSDATA"))?;
            }
            let (after, block) = (geometry()?, u64::from(before.block_size));
            push_words(
                reply,
                &[before.data_blocks * block, after.data_blocks * block],
            );
            Ok(())
        })?;
        let [from, to] = words_of(call, mount, &answer)?.map(ByteSize::from_bytes);
        Ok(if from == to {
            Growth::Unneeded { size: to }
        } else {
            Growth::Grown { from, to }
        })
    }
}

/// How many blocks an XFS that fills a device of this size has: a rest too small for an
/// allocation group is left out, as the kernel would.
fn xfs_blocks(geometry: &XfsGeometry, device: u64) -> u64 {
    let possible = device
        .checked_div(u64::from(geometry.block_size))
        .unwrap_or(0);
    let rest = possible
        .checked_rem(u64::from(geometry.group_blocks))
        .unwrap_or(0);
    if rest < FEWEST_GROUP_BLOCKS {
        possible - rest
    } else {
        possible
    }
}

/// Opens the root of a mount, if it shows the file system of this device.
fn open_root(path: &CStr, device: DeviceNumber) -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(path, flags, Mode::empty()).map_err(Failure::at("open"))?;
    let stat = rustix::fs::fstat(&root).map_err(Failure::at("fstat"))?;
    if DeviceNumber::from_raw(stat.st_dev) == device {
        Ok(root)
    } else {
        Err(Failure::at("fstat")(Errno::XDEV))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_headers() {
        assert_eq!(size_of::<XfsGeometry>(), 112);
        assert_eq!(size_of::<XfsGrowth>(), 16);
    }
}
