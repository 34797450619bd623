//! Who answers at an address: a short look at each before something that cannot be hurried (the
//! kernel's Ceph client) waits for them.
//!
//! Ceph's daemons speak first, so that their words tell more than an open port: a daemon that
//! stands still accepts connections (its kernel does) and says nothing.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::children::{Failure, timespec};
use crate::rbd_bus::open_namespace;
use crate::syscalls::join_network;
use crate::{Errno, Error, Host};

/// More addresses than these are not looked at.
const MOST: usize = 16;

/// How much of the first words is kept.
const WORDS: usize = 10;

/// How many bytes tell of one address: what happened, an errno, the words.
const RECORD: usize = 1 + 4 + 1 + WORDS;

/// What an address answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The first bytes that it sent.
    Said(Vec<u8>),
    /// It took the connection and said nothing.
    Nothing,
    /// It did not take the connection.
    Refused(Errno),
    /// Nothing came back at all.
    Silence,
}

impl Host {
    /// Connects to all addresses at once and tells what each of them says first, in order.
    ///
    /// Waits until all have answered, at most for `limit`; and once `enough` finds what it looks
    /// for among the words of one address, no longer.
    ///
    /// # Errors
    /// [`Error::Call`] when the child cannot enter the network namespace, [`Error::Hung`].
    pub fn first_words(
        &self,
        addresses: &[SocketAddr],
        network_namespace: Option<&Path>,
        limit: Duration,
        enough: fn(&[u8]) -> bool,
    ) -> Result<Vec<Answer>, Error> {
        let call = "host.first_words";
        let addresses = addresses.get(..MOST).unwrap_or(addresses);
        let target = addresses.iter().map(SocketAddr::to_string);
        let target = target.collect::<Vec<_>>().join(",");
        let namespace = open_namespace(call, network_namespace)?;
        let bytes = self.aside(call, target, limit + Duration::from_secs(5), |reply| {
            if let Some(namespace) = &namespace {
                let namespace =
                    rustix::fs::open(namespace.as_c_str(), OFlags::RDONLY, Mode::empty());
                join_network(&namespace.map_err(Failure::at("open"))?)
                    .map_err(Failure::at("setns"))?;
            }
            let mut calls: [Call; MOST] = std::array::from_fn(|_| Call::default());
            for (slot, address) in calls.iter_mut().zip(addresses) {
                *slot = Call::to(address);
            }
            listen(&mut calls, limit, enough);
            for one in calls.iter().take(addresses.len()) {
                reply.push(&one.record());
            }
            Ok(())
        })?;
        Ok(bytes.chunks(RECORD).map(read).collect())
    }
}

/// One connection, in the child: nothing here allocates.
#[derive(Default)]
struct Call {
    socket: Option<OwnedFd>,
    is_connected: bool,
    errno: i32,
    words: [u8; WORDS],
    said: usize,
}

impl Call {
    fn to(address: &SocketAddr) -> Self {
        let mut call = Self::default();
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = match rustix::net::socket_with(family, SocketType::STREAM, flags, None) {
            Ok(socket) => socket,
            Err(errno) => {
                call.errno = errno.raw_os_error();
                return call;
            }
        };
        match rustix::net::connect(&socket, address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => call.socket = Some(socket),
            Err(errno) => call.errno = errno.raw_os_error(),
        }
        call
    }

    /// Looks whether something has happened, and goes on if so.
    fn look(&mut self) {
        let Some(socket) = &self.socket else {
            return;
        };
        let events = if self.is_connected {
            PollFlags::IN
        } else {
            PollFlags::OUT
        };
        let mut one = [PollFd::new(socket, events)];
        if poll(&mut one, Some(&timespec(Duration::ZERO))) == Ok(1) {
            self.go_on();
        }
    }

    /// Goes on after poll said that something happened.
    fn go_on(&mut self) {
        let Some(socket) = &self.socket else {
            return;
        };
        if !self.is_connected {
            match rustix::net::sockopt::socket_error(socket) {
                Ok(Ok(())) => self.is_connected = true,
                Ok(Err(errno)) | Err(errno) => {
                    self.errno = errno.raw_os_error();
                    self.socket = None;
                }
            }
            return;
        }
        match rustix::io::read(socket, &mut self.words) {
            Ok(count) => {
                self.said = count;
                self.socket = None;
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(errno) => {
                self.errno = errno.raw_os_error();
                self.socket = None;
            }
        }
    }

    fn record(&self) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        let said = u8::try_from(self.said).unwrap_or(0);
        let head = [u8::from(self.is_connected)]
            .into_iter()
            .chain(self.errno.to_ne_bytes())
            .chain([said])
            .chain(self.words);
        for (slot, byte) in record.iter_mut().zip(head) {
            *slot = byte;
        }
        record
    }
}

/// Waits for all connections that are open.
fn listen(calls: &mut [Call; MOST], limit: Duration, enough: fn(&[u8]) -> bool) {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_micros(100);
    loop {
        for call in calls.iter_mut() {
            call.look();
        }
        let found = |call: &Call| call.words.get(..call.said).is_some_and(enough);
        let is_over = calls.iter().all(|call| call.socket.is_none())
            || calls.iter().any(|call| call.said > 0 && found(call))
            || Instant::now() >= deadline;
        if is_over {
            return;
        }
        let _nothing = poll(&mut [], Some(&timespec(pause)));
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// One address's record.
fn read(record: &[u8]) -> Answer {
    let is_connected = record.first() == Some(&1);
    let errno = record
        .get(1..5)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, i32::from_ne_bytes);
    let said = record.get(5).copied().map_or(0, usize::from);
    let words = record.get(6..6 + said).unwrap_or_default();
    match (is_connected, errno, words) {
        (_, errno, _) if errno != 0 => Answer::Refused(Errno::new(errno)),
        (false, _, _) => Answer::Silence,
        (true, _, []) => Answer::Nothing,
        (true, _, words) => Answer::Said(words.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use cuttle_door::{Doors, FaultPlan};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    fn host() -> Host {
        Host::new(Doors::new(FaultPlan::none()).host)
    }

    #[test]
    fn each_address_is_told_apart() {
        let speaker = TcpListener::bind("127.0.0.1:0").unwrap();
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [&speaker, &mute, &gone].map(|one| one.local_addr().unwrap());
        drop(gone);
        let talk = std::thread::spawn(move || {
            let (mut stream, _) = speaker.accept().unwrap();
            stream.write_all(b"ceph v2\n and more").unwrap();
            // Kept open until the other side has read.
            drop(std::io::Read::read(&mut stream, &mut [0]));
        });
        let answers = host()
            .first_words(&addresses, None, LIMIT, |_| false)
            .unwrap();
        talk.join().unwrap();
        assert_eq!(answers.len(), 3);
        assert!(
            matches!(&answers[0], Answer::Said(words) if words.starts_with(b"ceph v2\n")),
            "{answers:?}"
        );
        assert_eq!(answers[1], Answer::Nothing);
        assert_eq!(answers[2], Answer::Refused(Errno::new(libc::ECONNREFUSED)));
    }

    #[test]
    fn one_good_answer_ends_the_wait() {
        let speaker = TcpListener::bind("127.0.0.1:0").unwrap();
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [&mute, &speaker].map(|one| one.local_addr().unwrap());
        let talk = std::thread::spawn(move || {
            let (mut stream, _) = speaker.accept().unwrap();
            stream.write_all(b"hello").unwrap();
            drop(std::io::Read::read(&mut stream, &mut [0]));
        });
        let started = Instant::now();
        let answers = host()
            .first_words(&addresses, None, Duration::from_secs(60), |words| {
                words.starts_with(b"hello")
            })
            .unwrap();
        talk.join().unwrap();
        assert!(started.elapsed() < Duration::from_secs(30));
        assert_eq!(answers[1], Answer::Said(b"hello".to_vec()));
    }
}
