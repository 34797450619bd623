//! How full a file system is.

use cuttle_model::ByteSize;

use crate::block_device::{push_words, words_of};
use crate::children::Failure;
use crate::{AbsolutePath, Error, Host};

/// The room of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Its size, without what it keeps for itself.
    pub total: ByteSize,
    /// What is taken.
    pub used: ByteSize,
    /// What a user may still take; less than the rest where some is reserved for root.
    pub available: ByteSize,
    /// How many inodes it has; 0 where they are not counted.
    pub inodes: u64,
    /// How many are taken.
    pub inodes_used: u64,
    /// How many are left.
    pub inodes_free: u64,
}

impl Host {
    /// How full the file system seen at `path` is.
    ///
    /// # Blocking
    /// At most [`Limits::look`](crate::Limits::look), even on a dead mount.
    ///
    /// # Errors
    /// The errno of statfs, or [`Error::Hung`]; see [`Error::is_dead_mount`].
    pub fn usage(&self, path: &AbsolutePath) -> Result<Usage, Error> {
        let (call, name) = ("host.statfs", path.to_c());
        let answer = self.aside(call, path, self.limits.look, |reply| {
            let seen = rustix::fs::statvfs(name.as_c_str()).map_err(Failure::at("statfs"))?;
            let counts = [seen.f_blocks, seen.f_bfree, seen.f_bavail];
            push_words(
                reply,
                &counts.map(|count| count.saturating_mul(seen.f_frsize)),
            );
            push_words(reply, &[seen.f_files, seen.f_ffree]);
            Ok(())
        })?;
        let [total, free, available, inodes, inodes_free] = words_of(call, path, &answer)?;
        Ok(Usage {
            total: ByteSize::from_bytes(total),
            used: ByteSize::from_bytes(total.saturating_sub(free)),
            available: ByteSize::from_bytes(available),
            inodes,
            inodes_used: inodes.saturating_sub(inodes_free),
            inodes_free,
        })
    }
}
