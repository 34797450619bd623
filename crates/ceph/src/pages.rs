//! Giving back the pages of program code that only starting up needed.
//!
//! Ceph's libraries bring some twenty shared objects along. Linking them and running their
//! initialisers touches most of their code once, and it stays in the process's resident set: about
//! 15 MiB before the first connection is made. The kernel fetches what is needed again from its
//! cache.

use std::ffi::c_void;
use std::fs;
use std::ops::Range;

use tracing::debug;

/// Drops all pages of program code from the process's resident set; those in use come back by
/// themselves, one cheap fault each. To be called when start-up is over.
///
/// Touches only mappings that are executable, private, of a file and not writable: their pages
/// are never changed, so nothing is lost.
///
/// # Blocking
/// About a millisecond. Failures are of no consequence and only logged.
pub fn release_startup_pages() {
    let maps = match fs::read_to_string("/proc/self/maps") {
        Ok(maps) => maps,
        Err(error) => {
            debug!(%error, "the process's mappings cannot be read");
            return;
        }
    };
    for range in maps.lines().filter_map(program_code) {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(range.start);
        let length = range.end.saturating_sub(range.start);
        // SAFETY: the mapping holds unchanged pages of a file, private and read-only, so dropping
        // them changes nothing that any thread can see: they are read again when touched. Should
        // it have been unmapped meanwhile (no library of ours is ever unloaded), the call fails.
        let refused = unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) } != 0;
        if refused {
            debug!(?range, "pages of program code were not released");
        }
    }
}

/// The addresses of a mapping, from its line in `/proc/self/maps`, if it is program code.
fn program_code(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (addresses, permissions) = (words.next()?, words.next()?);
    let path = words.nth(3)?;
    if permissions != "r-xp" || !path.starts_with('/') {
        return None;
    }
    let (start, end) = addresses.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_from_files_is_program_code() {
        let code = "7f00-8f00 r-xp 00002000 fe:00 131 /usr/lib/librados.so.2.0.0";
        assert_eq!(program_code(code), Some(0x7f00..0x8f00));
        for other in [
            "7f00-8f00 r--p 00002000 fe:00 131 /usr/lib/librados.so.2.0.0",
            "7f00-8f00 rw-p 00002000 fe:00 131 /usr/lib/librados.so.2.0.0",
            "7f00-8f00 rwxp 00002000 fe:00 131 /usr/lib/librados.so.2.0.0",
            "7f00-8f00 r-xp 00000000 00:00 0 [vdso]",
            "7f00-8f00 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(program_code(other), None, "{other}");
        }
    }

    #[test]
    fn the_process_is_smaller_afterwards_and_works() {
        let code_resident = || {
            let pages = fs::read_to_string("/proc/self/smaps").unwrap();
            let mut is_code = false;
            let mut resident = 0_u64;
            for line in pages.lines() {
                if line.starts_with("Rss:") && is_code {
                    let kib = line.split_ascii_whitespace().nth(1).unwrap();
                    resident += kib.parse::<u64>().unwrap();
                } else if line
                    .split_ascii_whitespace()
                    .next()
                    .is_some_and(|w| !w.ends_with(':'))
                {
                    is_code = program_code(line).is_some();
                }
            }
            resident
        };
        let before = code_resident();
        release_startup_pages();
        let after = code_resident();
        assert!(after * 2 < before, "{after} of {before} KiB");
        assert!(crate::versions().rbd >= (1, 16, 0));
    }
}
