//! Every metric: name, kind, labels and meaning.

/// What kind of figure a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A count that only grows while the process lives.
    Counter,
    /// A value of the moment.
    Gauge,
    /// A distribution.
    Histogram,
}

impl MetricKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

const fn metric(
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

use MetricKind::{Counter, Gauge, Histogram};

const LANE: &[&str] = &["lane", "cluster"];
const OUTSIDE: &[&str] = &["door", "call", "errno"];

/// All metrics.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    metric("cuttle_build_info", Gauge, &["version", "librados", "librbd"], "1; the versions of the driver and of Ceph's libraries"),
    metric("cuttle_rpcs_total", Counter, &["driver", "method", "code"], "CSI calls that have ended, by gRPC code; CANCELLED when the caller left"),
    metric("cuttle_rpcs_open", Gauge, &["driver", "method"], "CSI calls that wait for their answer"),
    metric("cuttle_rpc_duration_seconds", Histogram, &["driver", "method"], "how long CSI calls took"),
    metric("cuttle_lane_queued", Gauge, LANE, "jobs that wait for a thread"),
    metric("cuttle_lane_busy", Gauge, LANE, "jobs that run"),
    metric("cuttle_lane_threads_limit", Gauge, LANE, "jobs that may run at once"),
    metric("cuttle_lane_queue_limit", Gauge, LANE, "jobs that may wait; further ones are refused"),
    metric("cuttle_lane_overdue", Gauge, LANE, "jobs that have used up their time and have not ended"),
    metric("cuttle_lane_oldest_seconds", Gauge, LANE, "age of the oldest job that waits or runs, 0 without one"),
    metric("cuttle_jobs_open", Gauge, &[], "jobs that are admitted and have not ended"),
    metric("cuttle_claims_held", Gauge, &[], "volumes, names and paths that jobs hold"),
    metric("cuttle_job_panics_total", Counter, &[], "jobs that ended by a panic, which is a bug"),
    metric("cuttle_outside_calls_total", Counter, OUTSIDE, "calls to Ceph and to the host, by their errno's name or OK"),
    metric("cuttle_outside_call_seconds_total", Counter, OUTSIDE, "the time that these calls took together"),
    metric("cuttle_outside_call_longest_seconds", Gauge, OUTSIDE, "the time that the slowest of these calls took"),
    metric("cuttle_config_in_use", Gauge, &[], "1 when the newest config.json is in use, 0 when all or part of it is refused and the last good version stays"),
    metric("cuttle_kubelet_registered", Gauge, &["driver"], "1 when kubelet has taken the driver; only with --registration-dir"),
    metric("process_resident_memory_bytes", Gauge, &[], "memory that is in use"),
    metric("process_cpu_seconds_total", Counter, &[], "processor time"),
    metric("process_open_fds", Gauge, &[], "open files and sockets"),
    metric("process_threads", Gauge, &[], "threads"),
    metric("csi_liveness", Gauge, &[], "only of --type=liveness: 1 when the driver answered the last probe and is ready"),
];
