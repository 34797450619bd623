//! The text form of metrics, and the page that documents them.

use std::fmt::{Display, Write};

use super::table::METRICS;

/// Text in the exposition format of Prometheus, version 0.0.4.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    /// Begins a metric of the table; its samples follow.
    pub(super) fn begin(&mut self, name: &'static str) {
        self.name = name;
        if let Some(metric) = METRICS.iter().find(|metric| metric.name == name) {
            let (kind, help) = (metric.kind.name(), metric.help);
            // Writing to a string cannot fail.
            let _ok = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
    }

    pub(super) fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut separator = '{';
        for (label, text) in labels {
            self.text.push(separator);
            self.text.push_str(label);
            self.text.push_str("=\"");
            for letter in text.chars() {
                match letter {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
            separator = ',';
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ok = writeln!(self.text, " {value}");
    }

    pub(super) fn text(self) -> String {
        self.text
    }
}

/// The page `docs/metrics.md`, which a test holds against the table.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(HEAD);
    for metric in METRICS {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let (name, kind, help) = (metric.name, metric.kind.name(), metric.help);
        let _ok = writeln!(
            page,
            "| `{name}` | {kind} | {} | {help} |",
            labels.join(", ")
        );
    }
    page
}

const HEAD: &str = "\
# Metrics and health

| Path | Answer |
|---|---|
| `/metrics` (`--metricspath`) | the metrics below, in Prometheus' text form |
| `/healthz` | 200 when every driver of the process answers a Probe on its own socket within `--timeout`, else 503 and the reason |
| `/readyz` | 200 when each also says that it is ready; 503 from the signal to end on |

A driver serves them when `--metricsport` is on its command line, on the address in the environment variable `POD_IP`, or
on all addresses without it. A port that cannot be had is told in the log and tried again; volumes are served meanwhile.
The pages tell nothing secret, and no volume's name; who reaches the port sees them.

`--type=liveness` is ceph-csi's: a process of its own that probes the driver at `--endpoint` every `--polltime` and serves
`csi_liveness`. It probes at once, not only after the first `--polltime`.

Labels have few values: `cluster` is a clusterID of `config.json`, `errno` an errno's name or `OK`. Counters begin
anew with the process.

This page is made from the table in the program by `UPDATE_DOCS=1 cargo nextest run -p cuttle metrics_page`.

| Metric | Kind | Labels | Meaning |
|---|---|---|---|
";
