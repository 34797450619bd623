//! What the kernel says in its log while something is done: the reason of a failure for which its
//! interface has only a number.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;

use crate::Host;

const LOG: &str = "/dev/kmsg";

/// The longest record that is read whole (the kernel's own limit).
const RECORD: usize = 8192;

/// More records than these are not read.
const MOST: usize = 2000;

/// A place in the kernel's log. Never a reason to fail: where the log may not be read it is empty.
#[derive(Debug)]
pub struct KernelLog(Option<File>);

impl Host {
    /// The present end of the kernel's log.
    #[must_use]
    pub fn kernel_log(&self) -> KernelLog {
        let opened = self.door.call("host.kernel_log", LOG, || {
            let options = File::options()
                .read(true)
                .custom_flags(libc::O_NONBLOCK)
                .to_owned();
            let end = options.open(LOG).and_then(|mut log| {
                log.seek(SeekFrom::End(0))?;
                Ok(log)
            });
            Ok::<_, crate::Error>(end.ok())
        });
        KernelLog(opened.ok().flatten())
    }
}

impl KernelLog {
    /// What was said since, of those lines that begin with one of these words (`libceph`, `rbd`).
    /// Does not block.
    #[must_use]
    pub fn since(&mut self, speakers: &[&str]) -> Vec<String> {
        let Some(log) = &mut self.0 else {
            return Vec::new();
        };
        let mut lines = Vec::new();
        let mut record = [0; RECORD];
        for _ in 0..MOST {
            match log.read(&mut record) {
                Ok(count) => {
                    let text = String::from_utf8_lossy(record.get(..count).unwrap_or_default());
                    lines.extend(message(&text, speakers));
                }
                // Records that were overwritten before they could be read; the next ones are there.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => break,
            }
        }
        lines
    }
}

/// The message of a record (`priority,number,time,flags;text`, then lines with properties), if it
/// is one of these speakers'.
fn message(record: &str, speakers: &[&str]) -> Option<String> {
    let (_, text) = record.split_once(';')?;
    let line = text.lines().next()?.trim();
    let is_theirs = |speaker: &str| {
        line.strip_prefix(speaker)
            .is_some_and(|rest| rest.starts_with(|c: char| !c.is_ascii_alphabetic()))
    };
    let ours = speakers.iter().any(|speaker| is_theirs(speaker));
    ours.then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_by_its_speaker() {
        let record = "3,1234,5678,-;libceph: mon0 (1)10.0.0.1:6789 socket closed (con state OPEN)\n SUBSYSTEM=x\n";
        let speakers = ["rbd", "libceph"];
        let line = message(record, &speakers).unwrap();
        assert!(line.ends_with("(con state OPEN)"), "{line}");
        assert!(message("6,1,2,-;rbd0: capacity 1", &speakers).is_some());
        assert!(message("6,1,2,-;rbdx: no", &speakers).is_none());
        assert!(message("6,1,2,-;other: rbd: no", &speakers).is_none());
        assert!(message("garbage", &speakers).is_none());
    }
}
