//! Where a keeper is found: a socket and a status file beside it, named after the volume and its
//! mountpoint.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cuttle_host::{AbsolutePath, Error as HostError, Host, PathRefused};
use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

use crate::contact::Contact;
use crate::status::Status;

/// The most that is read of a status file.
const LONGEST_STATUS: usize = 64 * 1024;

/// How much of the digest names the files.
const DIGITS: usize = 40;

/// The files of one volume's keeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    directory: AbsolutePath,
    stem: String,
}

/// Why a post could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// A keeper of the volume lives.
    #[error("another keeper of the volume runs")]
    Taken,
    /// The socket could not be made or reached.
    #[error("the keeper's socket {path}: {doing} failed")]
    Socket {
        /// The socket.
        path: String,
        /// At what.
        doing: &'static str,
        /// How.
        #[source]
        source: std::io::Error,
    },
}

impl Post {
    /// The post for a volume that is mounted at a place, in a directory of the node.
    ///
    /// # Errors
    /// When the directory's name is too long for a file in it.
    pub fn of(
        directory: &AbsolutePath,
        volume: &str,
        mountpoint: &AbsolutePath,
    ) -> Result<Self, PathRefused> {
        let digest = Sha256::new()
            .chain_update(volume.as_bytes())
            .chain_update([0])
            .chain_update(mountpoint.as_path().as_os_str().as_encoded_bytes())
            .finalize();
        let mut stem: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        stem.truncate(DIGITS);
        let stem = format!("fuse-{stem}");
        let post = Self {
            directory: directory.clone(),
            stem,
        };
        post.directory.join(post.file("sock"))?;
        Ok(post)
    }

    /// The posts in a directory, whether or not somebody is there.
    ///
    /// # Errors
    /// When the directory cannot be read; one that does not exist has none.
    pub fn all(directory: &AbsolutePath) -> std::io::Result<Vec<Self>> {
        let entries = match std::fs::read_dir(directory.as_path()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut posts = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(stem) = stem.filter(|stem| stem.starts_with("fuse-")) {
                posts.push(Self {
                    directory: directory.clone(),
                    stem: stem.to_owned(),
                });
            }
        }
        Ok(posts)
    }

    fn file(&self, kind: &str) -> String {
        format!("{}.{kind}", self.stem)
    }

    /// The scope of systemd for what runs here.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("cuttle-{}.scope", self.stem)
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.as_path().join(self.file("sock"))
    }

    /// The status file. The name was checked when the post was made.
    fn status_file(&self) -> Result<AbsolutePath, HostError> {
        Ok(self.directory.join(self.file("json"))?)
    }

    /// What the keeper has last told in its file; `None` when there is none. A file that is not
    /// understood counts as none: it says nothing that could be relied on.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn status(&self, host: &Host) -> Result<Option<Status>, HostError> {
        let text = host.read_file(&self.status_file()?, LONGEST_STATUS)?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    pub(crate) fn tell(&self, host: &Host, status: &Status) -> Result<(), HostError> {
        // Serialising strings and numbers into memory cannot fail.
        let text = serde_json::to_vec(status).unwrap_or_default();
        host.write_file(&self.status_file()?, &text)
    }

    /// Removes socket and status file. Idempotent.
    ///
    /// # Errors
    /// The errno of unlink.
    pub fn clear(&self, host: &Host) -> Result<(), HostError> {
        host.remove_file(&self.status_file()?)?;
        host.remove_file(&self.directory.join(self.file("sock"))?)?;
        Ok(())
    }

    /// Reaches the volume's keeper; `None` when nobody is there.
    ///
    /// # Blocking
    /// Connecting does not; what is asked then, for `patience` at most.
    ///
    /// # Errors
    /// [`PostError::Socket`].
    pub fn reach(&self, patience: Duration) -> Result<Option<Contact>, PostError> {
        let (_directory, path) = match self.short_path() {
            Ok(short) => short,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed("open")(error)),
        };
        match UnixStream::connect(path) {
            Ok(stream) => Contact::over(stream, patience)
                .map(Some)
                .map_err(self.failed("set time-outs")),
            Err(error) if is_deserted(&error) => Ok(None),
            Err(error) => Err(self.failed("connect")(error)),
        }
    }

    /// Makes the socket of a keeper that is about to be started. A socket that nobody listens to
    /// any more is replaced.
    ///
    /// # Errors
    /// [`PostError::Taken`] when somebody listens, [`PostError::Socket`].
    pub fn listen(&self, host: &Host) -> Result<UnixListener, PostError> {
        let (_directory, path) = self.short_path().map_err(self.failed("open"))?;
        let again = match UnixListener::bind(&path) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => error,
            Err(error) => return Err(self.failed("bind")(error)),
        };
        match UnixStream::connect(&path) {
            Ok(_somebody) => Err(PostError::Taken),
            Err(error) if is_deserted(&error) => {
                let cleared = self.clear(host);
                cleared.map_err(|_told| self.failed("bind")(again))?;
                UnixListener::bind(&path).map_err(self.failed("bind"))
            }
            Err(error) => Err(self.failed("connect")(error)),
        }
    }

    /// The socket's path through a descriptor of its directory: the kernel takes no more than 107
    /// bytes. Valid as long as the descriptor is.
    fn short_path(&self) -> std::io::Result<(OwnedFd, PathBuf)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(self.directory.as_path(), flags, Mode::empty())?;
        let through = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let path = Path::new(&through).join(self.file("sock"));
        Ok((directory, path))
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(std::io::Error) -> PostError + use<> {
        let path = self.socket().display().to_string();
        move |source| PostError::Socket {
            path,
            doing,
            source,
        }
    }
}

/// Whether a refused connection says that nobody listens.
fn is_deserted(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use cuttle_door::{Doors, FaultPlan};
    use tempfile::TempDir;

    use super::*;

    fn host() -> Host {
        Host::new(Doors::new(FaultPlan::none()).host)
    }

    fn post(directory: &Path, volume: &str) -> Post {
        let mountpoint = AbsolutePath::new("/staging").unwrap();
        Post::of(&AbsolutePath::new(directory).unwrap(), volume, &mountpoint).unwrap()
    }

    #[test]
    fn a_deserted_socket_is_replaced_and_a_living_one_is_not() {
        let dir = TempDir::new().unwrap();
        // Longer than the address of a socket may be.
        let deep = dir.path().join("d".repeat(150));
        std::fs::create_dir(&deep).unwrap();
        let post = post(&deep, "any/thing at all");
        assert!(post.reach(Duration::from_secs(1)).unwrap().is_none());
        let first = post.listen(&host()).unwrap();
        assert!(post.reach(Duration::from_secs(1)).unwrap().is_some());
        assert!(matches!(post.listen(&host()), Err(PostError::Taken)));
        drop(first);
        assert!(post.reach(Duration::from_secs(1)).unwrap().is_none());
        let second = post.listen(&host()).unwrap();
        drop(second);
        post.clear(&host()).unwrap();
        post.clear(&host()).unwrap();
        assert!(!post.socket().exists());
    }

    #[test]
    fn a_directory_that_does_not_exist_has_no_keepers() {
        let nowhere = AbsolutePath::new("/nowhere/at/all").unwrap();
        let post = Post::of(&nowhere, "v", &nowhere).unwrap();
        assert!(post.reach(Duration::from_secs(1)).unwrap().is_none());
        assert!(post.status(&host()).unwrap().is_none());
        assert!(Post::all(&nowhere).unwrap().is_empty());
    }
}
