//! The loop driver's structures and requests (`linux/loop.h`).

use rustix::ioctl::{Opcode, opcode};

pub(crate) const LOOP_SET_FD: Opcode = raw(0x00);
pub(crate) const LOOP_CLR_FD: Opcode = raw(0x01);
pub(crate) const LOOP_SET_STATUS64: Opcode = raw(0x04);
pub(crate) const LOOP_SET_CAPACITY: Opcode = raw(0x07);
pub(crate) const LOOP_SET_DIRECT_IO: Opcode = raw(0x08);
pub(crate) const LOOP_CONFIGURE: Opcode = raw(0x0A);

pub(crate) const READ_ONLY: u32 = 1;
pub(crate) const DIRECT_IO: u32 = 16;

const fn raw(number: u8) -> Opcode {
    // The driver predates the encoding of sizes into requests.
    opcode::none(0x4C, number)
}

/// `struct loop_info64`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoopStatus {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    pub(crate) flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoopConfig {
    pub(crate) fd: u32,
    block_size: u32,
    pub(crate) status: LoopStatus,
    reserved: [u64; 8],
}

impl LoopStatus {
    /// A whole file. The name field is left empty: it is cut at 63 bytes, and sysfs tells the
    /// whole path anyway.
    pub(crate) fn new(flags: u32) -> Self {
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

impl LoopConfig {
    /// A device over the file of this descriptor.
    pub(crate) fn new(fd: u32, flags: u32) -> Self {
        Self {
            fd,
            block_size: 0,
            status: LoopStatus::new(flags),
            reserved: [0; 8],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_of_the_header() {
        assert_eq!(size_of::<LoopStatus>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
        assert_eq!(LOOP_CONFIGURE, 0x4C0A);
    }
}
