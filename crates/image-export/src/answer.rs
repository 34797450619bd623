//! The one line an export process answers on its standard output: `ready` or `error`.

use std::fmt;

use cuttle_model::{ByteSize, Class};

/// The words for whether the image is locked.
const LOCKED: &str = "locked";
const SHARED: &str = "shared";

/// The first line of an export process's standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The file is there and serves the image: `ready <size in bytes> <client number> <lock>`, the
    /// last either `locked` or `shared`.
    Ready {
        /// The image's size.
        size: ByteSize,
        /// The number under which the cluster knows the process: that of its watch on the image.
        client: u64,
        /// Whether the process holds the image's exclusive lock, so that no other client writes.
        locked: bool,
    },
    /// There is no export and nothing is left behind: `error <errno> <text>`.
    Refused(Refusal),
}

/// Why an export did not start, as its process tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The positive errno that decided it.
    pub errno: i32,
    /// What went wrong, in one line.
    pub text: String,
}

/// A line that no export process writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `ready <size> <client> <lock>` or `error <errno> <text>`")]
pub struct AnswerError;

impl Refusal {
    /// Whether another client holds the image's exclusive lock.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.errno == libc::EROFS
    }

    /// What kind of failure it is, judged by its errno.
    #[must_use]
    pub fn class(&self) -> Class {
        class_of(self.errno)
    }
}

/// The class of a failed start by errno.
pub(crate) fn class_of(errno: i32) -> Class {
    match errno {
        libc::ENOENT => Class::Absent,
        libc::EACCES | libc::EPERM => Class::Denied,
        libc::ENOSPC | libc::EDQUOT => Class::Full,
        libc::EBUSY => Class::Busy,
        libc::EROFS => Class::Unmet,
        libc::EOPNOTSUPP | libc::ENOSYS | libc::ENODEV => Class::Unsupported,
        libc::EINVAL => Class::Bug,
        _ => Class::Down,
    }
}

impl fmt::Display for Answer {
    /// The line, without its line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready {
                size,
                client,
                locked,
            } => {
                let lock = if *locked { LOCKED } else { SHARED };
                write!(f, "ready {} {client} {lock}", size.bytes())
            }
            Self::Refused(Refusal { errno, text }) => {
                // One line is one answer, whatever a library put into the text.
                write!(f, "error {errno} {}", plain(text))
            }
        }
    }
}

/// Reads the line an export process answered, with or without its line feed.
///
/// # Errors
/// [`AnswerError`] when the line is neither form.
pub fn parse_ready_line(line: &str) -> Result<Answer, AnswerError> {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let (word, rest) = line.split_once(' ').ok_or(AnswerError)?;
    match word {
        "ready" => {
            let (size, client) = rest.split_once(' ').ok_or(AnswerError)?;
            let size = ByteSize::from_bytes(number(size).ok_or(AnswerError)?);
            let (client, lock) = client.split_once(' ').ok_or(AnswerError)?;
            let client = number(client).ok_or(AnswerError)?;
            let locked = match lock {
                LOCKED => true,
                SHARED => false,
                _ => return Err(AnswerError),
            };
            Ok(Answer::Ready {
                size,
                client,
                locked,
            })
        }
        "error" => {
            let (errno, text) = rest.split_once(' ').ok_or(AnswerError)?;
            let errno = number(errno)
                .and_then(|errno| i32::try_from(errno).ok())
                .filter(|errno| *errno > 0)
                .ok_or(AnswerError)?;
            let text = plain(text);
            Ok(Answer::Refused(Refusal { errno, text }))
        }
        _ => Err(AnswerError),
    }
}

/// The text without control characters, which neither the line nor a log may carry.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// A number in plain digits: no sign, no blanks.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_answers_survive_the_line() {
        let size = ByteSize::from_bytes(1 << 40);
        let refusal = Refusal {
            errno: 2,
            text: "rbd.open rbd/gone: ENOENT".to_owned(),
        };
        let client = 4711;
        let ready = |locked| Answer::Ready {
            size,
            client,
            locked,
        };
        for answer in [ready(true), ready(false), Answer::Refused(refusal)] {
            assert_eq!(parse_ready_line(&format!("{answer}\n")), Ok(answer));
        }
    }

    #[test]
    fn a_text_cannot_add_a_line() {
        let answer = Answer::Refused(Refusal {
            errno: 5,
            text: "bad\nready 1\r".to_owned(),
        });
        assert_eq!(answer.to_string(), "error 5 bad ready 1 ");
        let Ok(Answer::Refused(read)) = parse_ready_line("error 5 a\0b\u{1b}[31m\n") else {
            panic!("the line is an answer");
        };
        assert_eq!(read.text, "a b [31m");
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "ready",
            "ready ",
            "ready 1",
            "ready -1 2 shared",
            "ready +1 2 shared",
            "ready 1 2",
            "ready 1 2 3",
            "ready 1 2 locked ",
            "ready 99999999999999999999 1 shared",
            "error 5",
            "error 0 none",
            "error -5 negative",
            "error EIO name",
            "Ready 1 2 shared",
        ] {
            assert_eq!(parse_ready_line(line), Err(AnswerError), "{line:?}");
        }
    }
}
