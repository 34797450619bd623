//! What a process has used of memory and processor, from the kernel's own tables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;

/// A measurement of one process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProcessUse {
    /// Bytes resident now.
    pub resident: u64,
    /// The most bytes that were ever resident.
    pub peak: u64,
    /// Processor time in user and kernel mode, all threads.
    pub processor: Duration,
    /// How many threads it has.
    pub threads: u64,
}

impl ProcessUse {
    /// Measures a running process.
    ///
    /// # Errors
    /// [`Error::File`] when there is no such process.
    pub fn of(pid: i32) -> Result<Self, Error> {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let status = read(&dir.join("status"))?;
        let kib = |name: &str| number_after(&status, name).saturating_mul(1024);
        Ok(Self {
            resident: kib("VmRSS:"),
            peak: kib("VmHWM:"),
            threads: number_after(&status, "Threads:"),
            processor: processor(&read(&dir.join("stat"))?),
        })
    }
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(Error::file("read", path))
}

fn number_after(text: &str, name: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Fields 14 and 15 of `/proc/<pid>/stat`, in ticks; the name in field 2 may hold spaces.
fn processor(stat: &str) -> Duration {
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_millis(ticks.saturating_mul(1000) / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_threads() {
        let own = i32::try_from(std::process::id()).expect("a process id");
        let used = ProcessUse::of(own).expect("our own figures");
        assert!(used.resident > 0 && used.peak >= used.resident && used.threads >= 1);
    }

    #[test]
    fn a_name_with_spaces_does_not_shift_the_fields() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        let expected = 200 * 1000 / rustix::param::clock_ticks_per_second();
        assert_eq!(processor(stat), Duration::from_millis(expected));
    }
}
