//! Asking systemd to take processes into a scope: a unit of their own, with a cgroup of its own.
//!
//! One call over D-Bus, `StartTransientUnit`, on systemd's private socket or the system bus. Who
//! is in a scope is not ended with the service or container that it came from.

mod message;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use message::{Body, Call, Reply};

/// Where systemd listens: to root alone without a bus, and behind the bus.
const SOCKETS: [(&str, Way); 2] = [
    ("/run/systemd/private", Way::Direct),
    ("/run/dbus/system_bus_socket", Way::Bus),
];

/// How long one read or write may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest message that is read.
const LONGEST: usize = 1 << 20;

/// The longest line of the greeting.
const LONGEST_LINE: usize = 512;

/// What stands between us and systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing.
    Direct,
    /// A message bus, which wants to be greeted first.
    Bus,
}

/// Why systemd could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// It does not run here, or its sockets are not to be seen.
    #[error("neither /run/systemd/private nor /run/dbus/system_bus_socket is there")]
    NotThere,
    /// Talking to it failed.
    #[error("{socket}: {doing}")]
    Talk {
        /// The socket.
        socket: String,
        /// At what.
        doing: &'static str,
        /// How.
        #[source]
        source: std::io::Error,
    },
    /// It refused.
    #[error("systemd answered {name}")]
    Answer {
        /// The D-Bus name of the error.
        name: String,
    },
}

/// Takes these processes into a new scope of this name (`cuttle-x.scope`).
pub(crate) fn start_scope(unit: &str, description: &str, pids: &[u32]) -> Result<(), Refusal> {
    let there = SOCKETS
        .into_iter()
        .find(|(path, _)| Path::new(path).exists());
    let (socket, way) = there.ok_or(Refusal::NotThere)?;
    start_scope_by(Path::new(socket), way, unit, description, pids)
}

fn start_scope_by(
    socket: &Path,
    way: Way,
    unit: &str,
    description: &str,
    pids: &[u32],
) -> Result<(), Refusal> {
    let mut peer = Peer::greet(socket)?;
    if way == Way::Bus {
        let hello = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
        };
        peer.ask(&hello, &Body::default())?;
    }
    let start = Call {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "StartTransientUnit",
    };
    peer.ask(&start, &Body::scope(unit, description, pids))
}

/// The other end of a connection.
struct Peer {
    stream: UnixStream,
    socket: String,
    serial: u32,
}

impl Peer {
    /// Connects, and says who we are: the kernel vouches for it.
    fn greet(socket: &Path) -> Result<Self, Refusal> {
        let name = socket.display().to_string();
        let failed = |doing| {
            let socket = name.clone();
            move |source| Refusal::Talk {
                socket,
                doing,
                source,
            }
        };
        let stream = UnixStream::connect(socket).map_err(failed("connect"))?;
        let limited = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
        limited.map_err(failed("set time-outs"))?;
        let mut peer = Self {
            stream,
            socket: name,
            serial: 0,
        };
        let user = rustix::process::getuid().as_raw().to_string();
        let digits: String = user.bytes().map(|byte| format!("{byte:02x}")).collect();
        peer.write(format!("\0AUTH EXTERNAL {digits}\r\n").as_bytes())?;
        let line = peer.read_line()?;
        if !line.starts_with(b"OK ") {
            let name = String::from_utf8_lossy(&line).trim().to_owned();
            return Err(Refusal::Answer { name });
        }
        peer.write(b"BEGIN\r\n")?;
        Ok(peer)
    }

    /// Makes a call and waits for its answer; what else arrives is passed over.
    fn ask(&mut self, call: &Call<'_>, body: &Body) -> Result<(), Refusal> {
        self.serial += 1;
        self.write(&call.encode(self.serial, body))?;
        loop {
            let head = self.read(message::HEAD)?;
            let length = message::rest_of(&head).filter(|length| *length <= LONGEST);
            let Some(length) = length else {
                let source = std::io::Error::from(ErrorKind::InvalidData);
                return Err(self.failed("read a message")(source));
            };
            let rest = self.read(length)?;
            match message::reply(&head, &rest) {
                Some((serial, reply)) if serial == self.serial => {
                    return match reply {
                        Reply::Done => Ok(()),
                        Reply::Error(name) => Err(Refusal::Answer { name }),
                    };
                }
                Some(_) | None => {}
            }
        }
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(std::io::Error) -> Refusal {
        let socket = self.socket.clone();
        move |source| Refusal::Talk {
            socket,
            doing,
            source,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let written = self.stream.write_all(bytes);
        written.map_err(self.failed("write"))
    }

    fn read(&mut self, count: usize) -> Result<Vec<u8>, Refusal> {
        let mut bytes = vec![0; count];
        let read = self.stream.read_exact(&mut bytes);
        read.map_err(self.failed("read"))?;
        Ok(bytes)
    }

    fn read_line(&mut self) -> Result<Vec<u8>, Refusal> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") && line.len() < LONGEST_LINE {
            line.extend(self.read(1)?);
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests;
