//! What a plugin finds when it starts: keepers at work, and what those have left that have ended.

use tracing::{info, warn};

use super::node::CephfsNode;
use super::seen::SeenError;

impl CephfsNode {
    /// Looks at the keepers of this node: those at work are told in the log, and the files of those
    /// that have ended with their mounts are removed. A mount that nobody keeps any more is told,
    /// too; the next stage keeps it again.
    ///
    /// # Blocking
    /// No longer than a keeper may take to answer, for each that does not.
    ///
    /// # Errors
    /// [`SeenError`].
    pub fn take_stock(&self) -> Result<(), SeenError> {
        let posts = self.posts()?;
        if posts.is_empty() {
            return Ok(());
        }
        let table = self.table()?;
        let mut kept = 0_usize;
        for post in posts {
            if self.ask(&post).is_some() {
                kept += 1;
                continue;
            }
            let told = self.told(&post)?;
            let seen = told.filter(|told| {
                let mut devices = told.device.iter().chain(&told.dead);
                devices.any(|device| table.of_device(*device).next().is_some())
            });
            match seen {
                Some(told) => warn!(
                    volume = told.volume,
                    staging = told.mountpoint,
                    "nobody keeps this mount any more: when ceph-fuse dies it stays dead until the \
                     volume is staged again"
                ),
                // One that has just been made has no status yet.
                None if post.status(&self.host).is_ok_and(|status| status.is_some()) => {
                    self.clear(&post);
                }
                None => {}
            }
        }
        if kept > 0 {
            info!(
                mounts = kept,
                "mounts of ceph-fuse are kept since before this start"
            );
        }
        Ok(())
    }
}
