//! Ending the session of a client that has died, instead of waiting until the MDS notices.

use std::sync::Arc;

use super::mount::{Mount, loaded};
use crate::clusters::Cluster;
use crate::connection::text;
use crate::error::Error;

impl Cluster {
    /// Ends the session of a CephFS client that has died and would hold its capabilities, and so
    /// make others wait, until the MDS gives it up (a minute, as a rule). Answers whether there was
    /// such a session.
    ///
    /// The client is known by the `uuid` in its metadata (`client_metadata=uuid=…`); it must be of
    /// the same user. It is blocklisted: for one that lives, unflushed writes are lost.
    ///
    /// `fs` is the file system; the cluster's default one when not given.
    ///
    /// # Idempotency
    /// A session that is gone is an answer.
    ///
    /// # Errors
    /// `is_unsupported` when libcephfs is not installed, or as mounting.
    ///
    /// # Blocking
    /// Up to the connect time-out.
    pub fn end_file_system_session(&self, fs: Option<&str>, uuid: &str) -> Result<bool, Error> {
        const CALL: &str = "cephfs.end_session";
        let inner = &self.inner;
        let ended = inner.door.call(CALL, uuid, || {
            let failed = |errno| Error::new(CALL, uuid, errno);
            let library = loaded().map_err(failed)?;
            let name = fs.map(text).transpose().map_err(failed)?;
            let wanted = text(uuid).map_err(failed)?;
            let connection = Arc::clone(&inner.connection);
            let bound = &inner.connection.bound;
            let ended = bound.run(inner.options.connect_timeout, move || {
                let mount = Mount::prepare(library, connection, name.as_deref())?;
                mount.end_session(&wanted)
            });
            ended.map_err(failed)
        });
        match ended {
            Ok(()) => Ok(true),
            // Gone by itself, or ended by somebody else.
            Err(error) if [libc::ENOENT, libc::ENOTRECOVERABLE].contains(&error.errno().get()) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
