//! A driver's figures, read from its page of metrics: what runs, what waits, what was called.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use cuttle_testbed::until;

/// How long a figure may take to become what is waited for: long, for CI's machines are slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a driver serves its figures.
pub(crate) struct Figures {
    port: u16,
}

impl Figures {
    /// A port that nobody has.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        Self { port }
    }

    /// The flag that makes a driver serve them.
    pub(crate) fn flag(&self) -> String {
        format!("--metricsport={}", self.port)
    }

    fn page(&self) -> Result<String, String> {
        let told = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(told)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(told)?;
        let request = b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n";
        stream.write_all(request).map_err(told)?;
        let mut page = String::new();
        stream.read_to_string(&mut page).map_err(told)?;
        Ok(page)
    }

    /// The sum of the samples of this name whose labels contain all of `labels`.
    fn try_sum(&self, name: &str, labels: &[&str]) -> Result<u64, String> {
        let page = self.page()?;
        let of_name = page.lines().filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let rest = sample.strip_prefix(name)?;
            let fits = rest.is_empty() || rest.starts_with('{');
            (fits && labels.iter().all(|label| rest.contains(label))).then_some(value)
        });
        let values = of_name.map(|value| value.parse::<u64>().expect("a count"));
        Ok(values.sum())
    }

    /// The same, of a driver that serves.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> u64 {
        self.try_sum(name, labels).expect("the page of metrics")
    }

    /// Waits until the sum is `wanted`.
    pub(crate) fn wait(&self, name: &str, labels: &[&str], wanted: u64) {
        until(
            format!("{name} {labels:?} is {wanted}"),
            PATIENCE,
            || match self.try_sum(name, labels)? {
                found if found == wanted => Ok(()),
                found => Err(format!("it is {found}")),
            },
        )
        .unwrap();
    }

    /// How many calls of this name through the doors have ended, well or not.
    pub(crate) fn calls(&self, call: &str) -> u64 {
        self.sum("cuttle_outside_calls_total", &[&format!("call=\"{call}\"")])
    }

    /// How many requests of this method wait for their answer.
    pub(crate) fn wait_open(&self, method: &str, wanted: u64) {
        let label = format!("method=\"{method}\"");
        self.wait("cuttle_rpcs_open", &[&label], wanted);
    }

    /// Of a lane of one cluster: jobs that run, and jobs that wait for a thread.
    pub(crate) fn lane(&self, lane: &str, cluster: &str) -> (u64, u64) {
        let labels = [
            &*format!("lane=\"{lane}\""),
            &*format!("cluster=\"{cluster}\""),
        ];
        (
            self.sum("cuttle_lane_busy", &labels),
            self.sum("cuttle_lane_queued", &labels),
        )
    }
}
