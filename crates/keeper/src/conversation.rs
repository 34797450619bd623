//! The keeper's side of its socket: who is connected, what they ask, and who holds it.
//!
//! Nothing here waits: the keeper polls the descriptors together with everything else.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use zeroize::Zeroizing;

use crate::order::MAX_ORDER;
use crate::status::{Answer, Question};

/// The most connections at once; further ones wait.
const MOST: usize = 32;

/// Who is connected to the keeper.
#[derive(Debug)]
pub(crate) struct Audience {
    listener: UnixListener,
    visitors: Vec<Visitor>,
    next: u64,
}

/// One connection.
#[derive(Debug)]
struct Visitor {
    id: u64,
    stream: UnixStream,
    /// What has arrived of the next line: it may be the order, with the key.
    line: Zeroizing<Vec<u8>>,
    holds: bool,
    is_gone: bool,
}

/// What a visitor said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Who: to be answered with [`Audience::answer`].
    pub(crate) visitor: u64,
    /// The line, without its line feed.
    pub(crate) line: Zeroizing<Vec<u8>>,
}

impl Said {
    /// The question the line is.
    pub(crate) fn question(&self) -> Option<Question> {
        serde_json::from_slice(&self.line).ok()
    }
}

impl Audience {
    /// The audience of this socket.
    ///
    /// # Errors
    /// When it cannot be set not to block.
    pub(crate) fn of(listener: UnixListener) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            visitors: Vec::new(),
            next: 0,
        })
    }

    /// What becomes readable when somebody comes, says something or goes.
    pub(crate) fn ears(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let visitors = self.visitors.iter().map(|visitor| visitor.stream.as_fd());
        let door = (self.visitors.len() < MOST).then(|| self.listener.as_fd());
        visitors.chain(door)
    }

    /// Lets in who is at the door, and hears what was said. Those who are gone are forgotten.
    pub(crate) fn hear(&mut self) -> Vec<Said> {
        while self.visitors.len() < MOST {
            let Ok((stream, _)) = self.listener.accept() else {
                break;
            };
            if is_trusted(&stream) && stream.set_nonblocking(true).is_ok() {
                self.visitors.push(Visitor {
                    id: self.next,
                    stream,
                    line: Zeroizing::new(Vec::with_capacity(MAX_ORDER)),
                    holds: false,
                    is_gone: false,
                });
                self.next += 1;
            }
        }
        let mut said = Vec::new();
        for visitor in &mut self.visitors {
            visitor.hear(&mut said);
        }
        self.visitors.retain(|visitor| !visitor.is_gone);
        said
    }

    /// Answers a visitor, if it is still there.
    pub(crate) fn answer(&mut self, visitor: u64, answer: &Answer) -> bool {
        // Serialising into memory cannot fail.
        let mut line = serde_json::to_vec(answer).unwrap_or_default();
        line.push(b'\n');
        let Some(visitor) = self.visitors.iter_mut().find(|known| known.id == visitor) else {
            return false;
        };
        // It fits the socket's buffer; a visitor that does not read its answers is let go.
        visitor.is_gone |= visitor.stream.write_all(&line).is_err();
        !visitor.is_gone
    }

    /// Notes that a visitor holds the keeper.
    pub(crate) fn let_hold(&mut self, visitor: u64) {
        if let Some(visitor) = self.visitors.iter_mut().find(|known| known.id == visitor) {
            visitor.holds = true;
        }
    }

    /// Whether somebody holds the keeper.
    pub(crate) fn is_held(&self) -> bool {
        self.visitors.iter().any(|visitor| visitor.holds)
    }

    /// Whether a visitor is still connected.
    pub(crate) fn is_there(&self, visitor: u64) -> bool {
        self.visitors.iter().any(|known| known.id == visitor)
    }
}

impl Visitor {
    fn hear(&mut self, said: &mut Vec<Said>) {
        let mut part = Zeroizing::new([0_u8; 4096]);
        while !self.is_gone {
            match self.stream.read(part.as_mut_slice()) {
                Ok(0) => self.is_gone = true,
                Ok(count) => {
                    for byte in part.get(..count).unwrap_or_default() {
                        self.take(*byte, said);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_broken) => self.is_gone = true,
            }
        }
    }

    fn take(&mut self, byte: u8, said: &mut Vec<Said>) {
        if byte == b'\n' {
            let fresh = Zeroizing::new(Vec::with_capacity(MAX_ORDER));
            let line = std::mem::replace(&mut self.line, fresh);
            let visitor = self.id;
            said.push(Said { visitor, line });
        } else if self.line.len() < MAX_ORDER {
            // Never grows, so it leaves no copies behind.
            self.line.push(byte);
        } else {
            self.is_gone = true;
        }
    }
}

/// Whether the other end belongs to our own user.
fn is_trusted(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid();
    rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == own)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    fn audience() -> (TempDir, PathBuf, Audience) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        (dir, path, Audience::of(listener).unwrap())
    }

    #[test]
    fn lines_are_heard_whole_and_in_order() {
        let (_dir, path, mut audience) = audience();
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(b"\"status\"\n\"ho").unwrap();
        let said = audience.hear();
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].question(), Some(Question::Status));
        stream.write_all(b"ld\"\nnonsense\n").unwrap();
        let said = audience.hear();
        let questions: Vec<_> = said.iter().map(Said::question).collect();
        assert_eq!(questions, [Some(Question::Hold), None]);
    }

    #[test]
    fn a_hold_lasts_as_long_as_the_connection() {
        let (_dir, path, mut audience) = audience();
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(b"\"hold\"\n").unwrap();
        let said = audience.hear();
        audience.let_hold(said[0].visitor);
        assert!(audience.is_held());
        drop(stream);
        assert!(audience.hear().is_empty());
        assert!(!audience.is_held() && !audience.is_there(said[0].visitor));
    }

    #[test]
    fn a_line_without_end_is_not_taken() {
        let (_dir, path, mut audience) = audience();
        let mut stream = UnixStream::connect(path).unwrap();
        assert!(audience.hear().is_empty());
        stream.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while sent <= MAX_ORDER + 4096 {
            match stream.write(&[b'x'; 4096]) {
                Ok(count) => sent += count,
                Err(_full_or_closed) => {
                    audience.hear();
                    if !audience.is_there(0) {
                        return;
                    }
                }
            }
        }
        audience.hear();
        assert!(!audience.is_there(0));
    }
}
