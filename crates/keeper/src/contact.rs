//! Talking to a keeper: one line of JSON each way.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::order::{Order, OrderError};
use crate::status::{Answer, Question, Status};

/// The longest answer that is read.
const LONGEST: usize = 64 * 1024;

/// Why a conversation with a keeper failed.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    /// The keeper has ended, or did so before it answered.
    #[error("the keeper has ended")]
    Ended,
    /// It does not answer in time.
    #[error("the keeper does not answer")]
    Silent,
    /// The connection broke.
    #[error("the connection to the keeper broke")]
    Broken(#[source] std::io::Error),
    /// It said something that is no answer.
    #[error("the keeper answered something else than expected")]
    Strange,
    /// The order cannot be sent.
    #[error(transparent)]
    Order(#[from] OrderError),
}

/// A connection to a keeper. What it was asked to hold, it holds until this is dropped.
#[derive(Debug)]
pub struct Contact {
    stream: BufReader<UnixStream>,
}

impl Contact {
    pub(crate) fn over(stream: UnixStream, patience: Duration) -> std::io::Result<Self> {
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends the order to a keeper that was just started.
    ///
    /// # Errors
    /// [`ContactError`].
    pub fn send(&mut self, order: &Order) -> Result<(), ContactError> {
        let line = order.to_line()?;
        self.write(&line)
    }

    /// Asks, and waits for the answer.
    ///
    /// # Blocking
    /// At most as long as was said when the keeper was reached.
    ///
    /// # Errors
    /// [`ContactError`].
    pub fn ask(&mut self, question: Question) -> Result<Status, ContactError> {
        // A word in quotes cannot fail to be serialised.
        let mut line = serde_json::to_vec(&question).unwrap_or_default();
        line.push(b'\n');
        self.write(&line)?;
        match self.answer()? {
            Answer::Status(status) => Ok(*status),
            Answer::Refused(_) => Err(ContactError::Strange),
        }
    }

    /// The next answer.
    ///
    /// # Blocking
    /// As [`Contact::ask`]; see [`Contact::wait`].
    ///
    /// # Errors
    /// [`ContactError`].
    pub fn answer(&mut self) -> Result<Answer, ContactError> {
        let line = self.line()?.ok_or(ContactError::Ended)?;
        serde_json::from_slice(&line).map_err(|_text| ContactError::Strange)
    }

    /// Sets how long the next answers may take.
    ///
    /// # Errors
    /// [`ContactError::Broken`].
    pub fn wait(&mut self, patience: Duration) -> Result<(), ContactError> {
        // Zero would mean for ever.
        let patience = patience.max(Duration::from_millis(1));
        let limited = self.stream.get_ref().set_read_timeout(Some(patience));
        limited.map_err(ContactError::Broken)
    }

    /// Waits until the keeper has ended; false when it has not by then.
    ///
    /// # Errors
    /// [`ContactError::Broken`].
    pub fn wait_end(&mut self, patience: Duration) -> Result<bool, ContactError> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.wait(left)?;
            match self.line() {
                Ok(Some(_late_answer)) => {}
                Ok(None) => return Ok(true),
                Err(ContactError::Silent) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, line: &[u8]) -> Result<(), ContactError> {
        let written = self.stream.get_mut().write_all(line);
        written.map_err(|error| of_io(error).unwrap_or(ContactError::Ended))
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Result<Option<Vec<u8>>, ContactError> {
        let mut line = Vec::new();
        loop {
            let part = match self.stream.fill_buf() {
                Ok(part) => part,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return of_io(error).map_or(Ok(None), Err),
            };
            if part.is_empty() {
                return Ok(None);
            }
            let end = part.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(part.len(), |end| end + 1);
            line.extend_from_slice(part.get(..end.unwrap_or(taken)).unwrap_or_default());
            self.stream.consume(taken);
            if end.is_some() {
                return Ok(Some(line));
            }
            if line.len() > LONGEST {
                return Err(ContactError::Strange);
            }
        }
    }
}

/// The failure behind an error of the socket; `None` when the other end is gone.
fn of_io(error: std::io::Error) -> Option<ContactError> {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ETIMEDOUT) => Some(ContactError::Silent),
        Some(libc::EPIPE | libc::ECONNRESET) => None,
        Some(_) | None => Some(ContactError::Broken(error)),
    }
}
