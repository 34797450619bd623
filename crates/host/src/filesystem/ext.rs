//! The superblock of ext2, ext3 and ext4 (`fs/ext4/ext4.h`), as far as it is needed here.

/// Where the superblock begins on the device.
const START: usize = 1024;
const MAGIC: u16 = 0xEF53;
/// `s_state`: errors were detected.
const ERROR_FS: u16 = 0x2;
/// `s_feature_incompat`: more than 2^32 blocks are possible.
const INCOMPAT_64BIT: u32 = 0x80;
/// `s_feature_incompat`: the journal holds what is not in its place yet.
const INCOMPAT_RECOVER: u32 = 0x4;

/// What is read of a superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExtSuperblock {
    pub(super) block_size: u64,
    pub(super) blocks: u64,
    blocks_per_group: u64,
    first_block: u64,
    /// The most blocks a group spends on itself.
    group_overhead: u64,
    /// Whether the file system knows that it has errors.
    pub(super) has_errors: bool,
    /// Whether its journal must be replayed, which mounting does.
    pub(super) needs_replay: bool,
}

impl ExtSuperblock {
    /// Reads it from the first bytes of a device; `None` when it is none.
    pub(super) fn read(head: &[u8]) -> Option<Self> {
        let superblock = head.get(START..)?;
        let half = |at: usize| -> Option<u16> {
            Some(u16::from_le_bytes(
                superblock.get(at..at + 2)?.try_into().ok()?,
            ))
        };
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_le_bytes(
                superblock.get(at..at + 4)?.try_into().ok()?,
            ))
        };
        if half(0x38)? != MAGIC {
            return None;
        }
        let block_size = 1024_u64
            .checked_shl(word(0x18)?)
            .filter(|size| *size <= 65_536)?;
        let incompat = word(0x60)?;
        let is_wide = incompat & INCOMPAT_64BIT != 0;
        let high = if is_wide { u64::from(word(0x150)?) } else { 0 };
        let blocks = high << 32 | u64::from(word(0x4)?);
        let blocks_per_group = u64::from(word(0x20)?);
        if blocks_per_group == 0 || blocks == 0 {
            return None;
        }
        let inode_bytes = u64::from(word(0x28)?) * u64::from(half(0x58)?);
        let descriptor = if is_wide {
            u64::from(half(0xFE)?).max(32)
        } else {
            32
        };
        let groups = blocks.div_ceil(blocks_per_group);
        let group_overhead = 3
            + inode_bytes.div_ceil(block_size)
            + (groups * descriptor).div_ceil(block_size)
            + u64::from(half(0xCE)?);
        Some(Self {
            block_size,
            blocks,
            blocks_per_group,
            first_block: u64::from(word(0x14)?),
            group_overhead,
            has_errors: half(0x3A)? & ERROR_FS != 0,
            needs_replay: incompat & INCOMPAT_RECOVER != 0,
        })
    }

    /// The size of the file system.
    pub(super) fn bytes(&self) -> u64 {
        self.blocks.saturating_mul(self.block_size)
    }

    /// How many blocks it would have if it filled a device of this size; `None` when it does.
    ///
    /// A rest too small for a block group of its own cannot be used: mke2fs leaves it out (less
    /// than the group's overhead and 50 blocks), so it does not count as room to grow.
    pub(super) fn blocks_to_fill(&self, device: u64) -> Option<u64> {
        let possible = device / self.block_size;
        let more = possible.checked_sub(self.blocks).filter(|more| *more > 0)?;
        let in_last_group =
            (self.blocks - self.first_block.min(self.blocks)) % self.blocks_per_group;
        let is_useless_rest = in_last_group == 0 && more < self.group_overhead + 50;
        (!is_useless_rest).then_some(possible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Vec<u8> {
        let mut head = vec![0; 2048];
        let mut put = |at: usize, bytes: &[u8]| {
            head[START + at..START + at + bytes.len()].copy_from_slice(bytes);
        };
        put(0x38, &MAGIC.to_le_bytes());
        put(0x18, &2_u32.to_le_bytes());
        put(0x4, &65_536_u32.to_le_bytes());
        put(0x20, &32_768_u32.to_le_bytes());
        put(0x28, &8192_u32.to_le_bytes());
        put(0x58, &256_u16.to_le_bytes());
        put(0xCE, &31_u16.to_le_bytes());
        put(0x3A, &1_u16.to_le_bytes());
        head
    }

    #[test]
    fn a_superblock_is_read() {
        let superblock = ExtSuperblock::read(&head()).unwrap();
        assert_eq!(superblock.bytes(), 256 << 20);
        assert!(!superblock.has_errors && !superblock.needs_replay);
        let mut bad = head();
        bad[START + 0x3A] = 3;
        assert!(ExtSuperblock::read(&bad).unwrap().has_errors);
        assert_eq!(ExtSuperblock::read(&[0; 2048]), None);
        assert_eq!(ExtSuperblock::read(&[]), None);
    }

    #[test]
    fn only_useful_room_counts() {
        let superblock = ExtSuperblock::read(&head()).unwrap();
        assert_eq!(superblock.blocks_to_fill(256 << 20), None);
        assert_eq!(superblock.blocks_to_fill((256 << 20) + 4095), None);
        // The last group is full, and 1 MiB does not hold a new one.
        assert_eq!(superblock.blocks_to_fill(257 << 20), None);
        assert_eq!(superblock.blocks_to_fill(260 << 20), Some(260 << 8));
        assert_eq!(superblock.blocks_to_fill(128 << 20), None);
    }

    #[test]
    fn nonsense_never_panics() {
        for byte in [0x01, 0x7F, 0xFF] {
            let mut head = vec![byte; 2048];
            head[START + 0x38..START + 0x3A].copy_from_slice(&MAGIC.to_le_bytes());
            if let Some(superblock) = ExtSuperblock::read(&head) {
                let _room = superblock.blocks_to_fill(u64::MAX);
            }
        }
    }
}
