//! The options of a connection: time-outs, and what keeps it small and quick.

use std::path::PathBuf;
use std::time::Duration;

/// How connections are made and bounded.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// How long one operation on an OSD may take (`rados_osd_op_timeout`); zero waits for ever.
    pub operation_timeout: Duration,
    /// How long a command to the monitors or the manager may take.
    pub monitor_timeout: Duration,
    /// How long making a connection may take (`client_mount_timeout`).
    pub connect_timeout: Duration,
    /// How many commands to the manager may be under way at once on one connection.
    pub manager_commands: usize,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// A ceph.conf to read first; what is set here wins over it.
    pub ceph_conf: Option<PathBuf>,
    /// Further options by name, winning over all others except time-outs and credentials.
    /// Options the library does not know are ignored.
    pub overrides: Vec<(String, String)>,
}

impl Default for ConnectOptions {
    /// 30 s for operations and commands, 15 s to connect, 4 commands to the manager, 5 minutes
    /// idle, no file.
    fn default() -> Self {
        Self {
            operation_timeout: Duration::from_secs(30),
            monitor_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(15),
            manager_commands: 4,
            idle: Duration::from_secs(300),
            ceph_conf: None,
            overrides: Vec::new(),
        }
    }
}

/// Tuning set on every connection; a library that lacks one of these is fine without it.
pub(crate) const TUNING: &[(&str, &str)] = &[
    // Nothing but our own log, and no socket or file that outlives us.
    ("admin_socket", ""),
    ("log_file", ""),
    ("log_to_file", "false"),
    ("log_to_stderr", "false"),
    ("err_to_stderr", "false"),
    ("log_to_syslog", "false"),
    ("err_to_syslog", "false"),
    ("clog_to_syslog", "false"),
    ("crash_dir", ""),
    // The key is set by hand; no file is searched for one.
    ("keyring", "/dev/null"),
    // Few threads: the controller's calls are short and few at a time.
    ("ms_async_op_threads", "1"),
    ("ms_async_max_op_threads", "1"),
    ("librados_thread_count", "1"),
    ("rbd_op_threads", "1"),
    ("rbd_disable_zero_copy_writes", "true"),
    // Little memory: no client cache, no ring of recent log lines, no performance counters.
    ("rbd_cache", "false"),
    ("rbd_readahead_max_bytes", "0"),
    ("log_max_recent", "1"),
    ("perf", "false"),
    // No cluster log is written; the monitors' client wakes up for it as often as for its ping,
    // every ten seconds. At 0 its timer would never rest.
    ("mon_client_log_interval", "10"),
    // The pool is checked once by ourselves, not by each create.
    ("rbd_validate_pool", "false"),
    // Plugins that a controller has no use for.
    ("rbd_plugins", ""),
];

/// The subsystems whose log lines would otherwise be gathered in memory.
pub(crate) const QUIET: &[&str] = &[
    "default",
    "lockdep",
    "context",
    "asok",
    "auth",
    "buffer",
    "client",
    "crypto",
    "finisher",
    "heartbeatmap",
    "journaler",
    "mgrc",
    "monc",
    "ms",
    "none",
    "objectcacher",
    "objecter",
    "perfcounter",
    "rados",
    "rbd",
    "rbd_mirror",
    "rbd_pwl",
    "rbd_replay",
    "striper",
    "timer",
    "throttle",
    "tp",
];

/// A duration as an option's value: whole seconds, rounded up.
pub(crate) fn seconds(duration: Duration) -> String {
    let up = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(up).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_never_rounds_to_none() {
        assert_eq!(seconds(Duration::from_millis(1)), "1");
        assert_eq!(seconds(Duration::from_millis(1500)), "2");
        assert_eq!(seconds(Duration::from_secs(30)), "30");
        assert_eq!(seconds(Duration::ZERO), "0");
    }
}
