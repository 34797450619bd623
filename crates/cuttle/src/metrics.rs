//! The metrics of a process: which there are, and their text for Prometheus.
//!
//! Written by hand: the figures are kept where they arise, and a page is put together when it is
//! asked for. Labels have few values: a volume's name or handle is never one.

mod page;
mod process;
mod table;

pub use page::reference_page;
pub use table::{METRICS, Metric, MetricKind};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cuttle_door::{Entry, Ledger, errno_name};
use cuttle_model::DriverName;
use cuttle_server::Standing;
use cuttle_server::dispatch::{Dispatcher, LaneState};
use cuttle_server::figures::{BOUNDS, CallFigures};

use page::Page;

/// Where the figures come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Calls of the drivers.
    pub calls: CallFigures,
    /// Their work.
    pub dispatcher: Dispatcher,
    /// Calls to Ceph and to the host.
    pub outside: Ledger,
    /// Whether the newest configuration is in use as a whole.
    pub config_in_use: Arc<AtomicBool>,
    /// What kubelet has said about each driver that is kept registered.
    pub registrations: Vec<(DriverName, Standing)>,
}

impl Sources {
    /// The text of all metrics.
    ///
    /// # Blocking
    /// For short locks and a few local reads.
    #[must_use]
    pub fn exposition(&self) -> String {
        let mut page = Page::default();
        build_info(&mut page);
        self.calls(&mut page);
        self.lanes(&mut page);
        self.outside(&mut page);
        page.begin("cuttle_config_in_use");
        let in_use = self.config_in_use.load(Ordering::Acquire);
        page.sample("", &[], u8::from(in_use));
        page.begin("cuttle_kubelet_registered");
        for (driver, standing) in &self.registrations {
            let registered = u8::from(standing.is_registered());
            page.sample("", &[("driver", driver.as_str())], registered);
        }
        process::write(&mut page);
        page.text()
    }

    fn calls(&self, page: &mut Page) {
        let sums = self.calls.snapshot();
        page.begin("cuttle_rpcs_total");
        for ((driver, rpc, code), count) in &sums.ended {
            let labels = [
                ("driver", &**driver),
                ("method", rpc.name()),
                ("code", code),
            ];
            page.sample("", &labels, count);
        }
        page.begin("cuttle_rpcs_open");
        for ((driver, rpc), count) in &sums.open {
            page.sample("", &[("driver", &**driver), ("method", rpc.name())], count);
        }
        page.begin("cuttle_rpc_duration_seconds");
        for ((driver, rpc), took) in &sums.took {
            let (driver, method) = (("driver", &**driver), ("method", rpc.name()));
            let mut within: u64 = 0;
            for (bound, count) in BOUNDS.iter().zip(took.classes) {
                within = within.saturating_add(count);
                let bound = bound.to_string();
                page.sample("_bucket", &[driver, method, ("le", &bound)], within);
            }
            page.sample("_bucket", &[driver, method, ("le", "+Inf")], took.count);
            page.sample("_sum", &[driver, method], seconds(took.total));
            page.sample("_count", &[driver, method], took.count);
        }
    }

    fn lanes(&self, page: &mut Page) {
        let lanes = self.dispatcher.lanes();
        let mut each = |name, value: &dyn Fn(&LaneState) -> String| {
            page.begin(name);
            for (lane, state) in &lanes {
                let (kind, cluster) = lane.labels();
                page.sample("", &[("lane", kind), ("cluster", cluster)], value(state));
            }
        };
        each("cuttle_lane_queued", &|lane| lane.queued.to_string());
        each("cuttle_lane_busy", &|lane| {
            lane.threads.saturating_sub(lane.idle).to_string()
        });
        each("cuttle_lane_threads_limit", &|lane| {
            lane.limits.threads.to_string()
        });
        each("cuttle_lane_queue_limit", &|lane| {
            lane.limits.queue.to_string()
        });
        each("cuttle_lane_overdue", &|lane| lane.overdue.to_string());
        each("cuttle_lane_oldest_seconds", &|lane| {
            seconds(lane.oldest.unwrap_or_default())
        });
        page.begin("cuttle_jobs_open");
        page.sample("", &[], self.dispatcher.open_jobs());
        page.begin("cuttle_claims_held");
        page.sample("", &[], self.dispatcher.held_keys());
        page.begin("cuttle_job_panics_total");
        page.sample("", &[], self.dispatcher.panics());
    }

    fn outside(&self, page: &mut Page) {
        let entries = self.outside.snapshot();
        let mut each = |name, value: &dyn Fn(&Entry) -> String| {
            page.begin(name);
            for entry in &entries {
                let errno = match entry.errno {
                    None => "OK",
                    Some(number) => errno_name(number).unwrap_or("unknown"),
                };
                let labels = [("door", entry.door), ("call", entry.call), ("errno", errno)];
                page.sample("", &labels, value(entry));
            }
        };
        each("cuttle_outside_calls_total", &|entry| {
            entry.count.to_string()
        });
        each("cuttle_outside_call_seconds_total", &|entry| {
            seconds(entry.total)
        });
        each("cuttle_outside_call_longest_seconds", &|entry| {
            seconds(entry.longest)
        });
    }
}

/// The metric of `--type=liveness`, as ceph-csi names it, and those of the process.
#[must_use]
pub fn liveness_exposition(alive: bool) -> String {
    let mut page = Page::default();
    build_info(&mut page);
    page.begin("csi_liveness");
    page.sample("", &[], u8::from(alive));
    process::write(&mut page);
    page.text()
}

fn build_info(page: &mut Page) {
    let versions = ceph::versions();
    let triple = |(a, b, c): (i32, i32, i32)| format!("{a}.{b}.{c}");
    let (rados, rbd) = (triple(versions.rados), triple(versions.rbd));
    let labels = [
        ("version", crate::version::VERSION),
        ("librados", &rados),
        ("librbd", &rbd),
    ];
    page.begin("cuttle_build_info");
    page.sample("", &labels, 1);
}

fn seconds(duration: Duration) -> String {
    duration.as_secs_f64().to_string()
}

#[cfg(test)]
mod tests;
