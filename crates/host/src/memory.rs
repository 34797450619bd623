//! Tuning of glibc's allocator, for processes that must stay small.

#![expect(unsafe_code, reason = "mallopt and malloc_trim have no safe binding")]

/// Lets the allocator make at most `count` arenas; true when it agreed. Call it before the first
/// thread starts.
///
/// Each arena keeps memory of its own; by default there may be eight per processor, which is more
/// than a mostly idle process with many threads should hold on to.
pub fn limit_arenas(count: u16) -> bool {
    // SAFETY: mallopt has no preconditions; it takes two plain numbers.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, libc::c_int::from(count)) == 1 }
}

/// Gives memory that is free inside the process back to the system; true when any was.
pub fn trim_heap() -> bool {
    // SAFETY: malloc_trim has no preconditions and may be called from any thread.
    unsafe { libc::malloc_trim(0) == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_agrees() {
        assert!(limit_arenas(2));
        let large: Vec<Vec<u8>> = (0..2000_u32).map(|_| vec![1; 4096]).collect();
        drop(large);
        // Whether anything was left to give back depends on what ran before.
        let _given_back = trim_heap();
    }
}
