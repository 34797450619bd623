//! What the process itself uses, read from `/proc/self`.

use super::page::Page;

/// Writes what can be read; a host that hides it loses these figures alone.
pub(super) fn write(page: &mut Page) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    if let Some(kib) = field("VmRSS:") {
        page.begin("process_resident_memory_bytes");
        page.sample("", &[], kib.saturating_mul(1024));
    }
    if let Some(threads) = field("Threads:") {
        page.begin("process_threads");
        page.sample("", &[], threads);
    }
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    if let (Ok(seconds), Ok(nanos)) = (u64::try_from(used.tv_sec), u32::try_from(used.tv_nsec)) {
        page.begin("process_cpu_seconds_total");
        page.sample(
            "",
            &[],
            std::time::Duration::new(seconds, nanos).as_secs_f64(),
        );
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        page.begin("process_open_fds");
        // One of them is the listing's own.
        page.sample("", &[], files.count().saturating_sub(1));
    }
}
