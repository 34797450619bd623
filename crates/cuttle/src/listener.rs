//! The driver's unix socket: private from its first moment, and never taken from a living server.

use std::fs::Metadata;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use cuttle_model::{Class, Code, Explain};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A bound, listening socket and the file that stands for it.
#[derive(Debug)]
pub struct BoundSocket {
    /// The listener, in non-blocking mode.
    pub listener: UnixListener,
    /// The file.
    pub file: SocketFile,
}

/// The file of a bound socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, inode and time of making: inodes alone are given out again at once.
type Identity = (u64, u64, i64, i64);

fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino(), found.mtime(), found.mtime_nsec())
}

/// Why a socket cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something that is no socket has the path.
    #[error("{path} exists and is not a socket")]
    Occupied {
        /// The path.
        path: PathBuf,
    },
    /// Another process accepts connections there.
    #[error("another server is listening on {path}")]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {step} the socket {path}")]
    System {
        /// What was being done, such as "bind".
        step: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl Explain for ListenError {
    fn code(&self) -> Code {
        Code::new(match self {
            Self::Occupied { .. } | Self::InUse { .. } => 1103,
            Self::System { .. } => 1104,
        })
    }

    fn class(&self) -> Class {
        Class::Unmet
    }

    fn remedy(&self) -> Option<std::borrow::Cow<'static, str>> {
        Some(match self {
            Self::Occupied { .. } => "remove the file or choose another --endpoint".into(),
            Self::InUse { .. } => "stop the other server or choose another --endpoint".into(),
            Self::System { .. } => "see that the socket's directory exists and is writable".into(),
        })
    }
}

/// Binds and listens. A socket that nobody serves any more is replaced.
///
/// The file has mode 0600 from the moment it exists: Linux takes the mode of the unbound socket for
/// the file that bind makes, so neither the umask of the whole process has to change nor is there a
/// moment in which others could connect.
///
/// # Errors
/// When the path belongs to a living server or to something else, or a system call fails.
///
/// # Blocking
/// For a few local system calls.
pub fn bind(path: &Path) -> Result<BoundSocket, ListenError> {
    remove_stale(path)?;
    let system = |step: &'static str| {
        move |errno: Errno| ListenError::System {
            step,
            path: path.to_owned(),
            source: errno.into(),
        }
    };
    let address = SocketAddrUnix::new(path).map_err(system("name"))?;
    let socket = stream_socket().map_err(system("make"))?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR).map_err(system("protect"))?;
    rustix::net::bind(&socket, &address).map_err(system("bind"))?;
    rustix::net::listen(&socket, BACKLOG).map_err(system("listen on"))?;
    let metadata = std::fs::symlink_metadata(path).map_err(|source| ListenError::System {
        step: "look at",
        path: path.to_owned(),
        source,
    })?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(&metadata),
    };
    Ok(BoundSocket {
        listener: UnixListener::from(socket),
        file,
    })
}

impl SocketFile {
    /// Removes the file, unless another server has put its own there meanwhile.
    ///
    /// # Errors
    /// When it is still ours and cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        if self.is_ours() {
            std::fs::remove_file(&self.path)
        } else {
            Ok(())
        }
    }

    /// Whether the file is there and the one that was made.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity)
    }
}

fn stream_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let system = |step: &'static str, source: io::Error| ListenError::System {
        step,
        path: path.to_owned(),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {}
        Ok(_) => {
            return Err(ListenError::Occupied {
                path: path.to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(system("look at", error)),
    }
    let address = SocketAddrUnix::new(path).map_err(|errno| system("name", errno.into()))?;
    let probe = stream_socket().map_err(|errno| system("make", errno.into()))?;
    match rustix::net::connect(&probe, &address) {
        // Nobody listens: the file is left over.
        Err(Errno::CONNREFUSED) => {
            std::fs::remove_file(path).map_err(|error| system("remove the stale", error))
        }
        // It vanished by itself.
        Err(Errno::NOENT) => Ok(()),
        // A full backlog answers EAGAIN: somebody lives there.
        Ok(()) | Err(Errno::AGAIN) => Err(ListenError::InUse {
            path: path.to_owned(),
        }),
        Err(errno) => Err(system("probe", errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_socket_is_private_and_accepts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("csi.sock");
        let bound = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _client = UnixStream::connect(&path).unwrap();
        bound.listener.accept().unwrap();
        bound.file.remove().unwrap();
        assert!(!path.exists());
        bound.file.remove().unwrap();
    }

    #[test]
    fn a_living_server_keeps_its_socket_and_a_dead_one_loses_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("csi.sock");
        let first = bind(&path).unwrap();
        let error = bind(&path).unwrap_err();
        assert!(matches!(error, ListenError::InUse { .. }), "{error}");
        drop(first.listener);
        let second = bind(&path).unwrap();
        // The first server's file is gone; what is there now is not its own to remove.
        first.file.remove().unwrap();
        assert!(path.exists());
        let _client = UnixStream::connect(&path).unwrap();
        second.listener.accept().unwrap();
    }

    #[test]
    fn other_files_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "precious").unwrap();
        assert!(matches!(
            bind(&path).unwrap_err(),
            ListenError::Occupied { .. }
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path().join("nowhere"), &link).unwrap();
        assert!(matches!(
            bind(&link).unwrap_err(),
            ListenError::Occupied { .. }
        ));
    }

    #[test]
    fn a_missing_directory_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let error = bind(&directory.path().join("none/csi.sock")).unwrap_err();
        assert!(
            error.to_string().contains("cannot bind the socket"),
            "{error}"
        );
        assert!(error.remedy().unwrap().contains("directory exists"));
    }
}
