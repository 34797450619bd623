//! Alerts for Prometheus and a dashboard for Grafana, over the metrics that the driver exports.

use serde_json::{Value, json};

/// An alert: name, severity, how long it must hold, expression, summary, what to do.
const ALERTS: [(&str, &str, &str, &str, &str, &str); 8] = [
    (
        "CuttleJobOverdue",
        "critical",
        "5m",
        "max by (namespace, pod, lane, cluster) (cuttle_lane_overdue) > 0",
        "Work has used up its time and has not ended",
        "Ceph or the node does not answer: run `cuttle doctor` there; the log names the step.",
    ),
    (
        "CuttleLaneFull",
        "warning",
        "10m",
        "cuttle_lane_queued / cuttle_lane_queue_limit > 0.8",
        "Requests wait for a thread, and further ones will be refused",
        "The cluster is slow, or --lane-size is small for it.",
    ),
    (
        "CuttleServerErrors",
        "warning",
        "10m",
        "sum by (namespace, pod, driver, method) (rate(cuttle_rpcs_total{code=~\"INTERNAL|UNAVAILABLE|DEADLINE_EXCEEDED|UNKNOWN\"}[5m])) > 0.05",
        "CSI calls fail for reasons that lie outside the request",
        "The log has each with its code; docs/errors.md says what to do.",
    ),
    (
        "CuttleCephErrors",
        "warning",
        "10m",
        "sum by (namespace, pod, call, errno) (rate(cuttle_outside_calls_total{door=\"ceph\",errno=~\"ETIMEDOUT|EACCES|EPERM|ENOTCONN|ESHUTDOWN\"}[5m])) > 0",
        "Calls to Ceph are refused or time out",
        "Run `cuttle doctor cluster` with the user of the Secret.",
    ),
    (
        "CuttleConfigRefused",
        "warning",
        "5m",
        "cuttle_config_in_use == 0",
        "The newest config.json is not in use, or only in part",
        "The log names the place in the file; the last good version is in use meanwhile.",
    ),
    (
        "CuttleNotRegistered",
        "critical",
        "5m",
        "cuttle_kubelet_registered == 0",
        "Kubelet does not know the driver: no volume can be mounted on this node",
        "Compare kubeletDir with kubelet's directory; `cuttle doctor node` names what is missing.",
    ),
    (
        "CuttlePanic",
        "warning",
        "0m",
        "increase(cuttle_job_panics_total[1h]) > 0",
        "A job has ended by a panic, which is a bug",
        "Please report it with the log around it; the volume's next request goes on.",
    ),
    (
        "CuttleSlowCreates",
        "warning",
        "15m",
        "histogram_quantile(0.9, sum by (le, driver) (rate(cuttle_rpc_duration_seconds_bucket{method=\"CreateVolume\"}[10m]))) > 10",
        "One volume in ten takes more than ten seconds to make",
        "Look at the dashboard's calls to Ceph: which of them is slow?",
    ),
];

/// A panel: title, unit, and expressions with their legends.
type Panel = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const PANELS: [Panel; 12] = [
    (
        "CSI calls by code",
        "ops",
        &[(
            "sum by (driver, method, code) (rate(cuttle_rpcs_total[5m]))",
            "{{driver}} {{method}} {{code}}",
        )],
    ),
    (
        "Duration of CSI calls (90 %)",
        "s",
        &[(
            "histogram_quantile(0.9, sum by (le, method) (rate(cuttle_rpc_duration_seconds_bucket[5m])))",
            "{{method}}",
        )],
    ),
    (
        "Open CSI calls",
        "short",
        &[(
            "sum by (driver, method) (cuttle_rpcs_open)",
            "{{driver}} {{method}}",
        )],
    ),
    (
        "Lanes: running and waiting",
        "short",
        &[
            (
                "sum by (lane, cluster) (cuttle_lane_busy)",
                "{{lane}} {{cluster}} running",
            ),
            (
                "sum by (lane, cluster) (cuttle_lane_queued)",
                "{{lane}} {{cluster}} waiting",
            ),
        ],
    ),
    (
        "Oldest job",
        "s",
        &[(
            "max by (lane, cluster) (cuttle_lane_oldest_seconds)",
            "{{lane}} {{cluster}}",
        )],
    ),
    (
        "Overdue jobs",
        "short",
        &[(
            "sum by (lane, cluster) (cuttle_lane_overdue)",
            "{{lane}} {{cluster}}",
        )],
    ),
    (
        "Calls to Ceph and to the host",
        "ops",
        &[(
            "sum by (door, call) (rate(cuttle_outside_calls_total[5m]))",
            "{{door}} {{call}}",
        )],
    ),
    (
        "Their mean duration",
        "s",
        &[(
            "sum by (door, call) (rate(cuttle_outside_call_seconds_total[5m])) / sum by (door, call) (rate(cuttle_outside_calls_total[5m]))",
            "{{door}} {{call}}",
        )],
    ),
    (
        "Their errors",
        "ops",
        &[(
            "sum by (call, errno) (rate(cuttle_outside_calls_total{errno!=\"OK\"}[5m]))",
            "{{call}} {{errno}}",
        )],
    ),
    (
        "Configuration and registration",
        "short",
        &[
            ("min(cuttle_config_in_use)", "config.json in use"),
            (
                "sum by (driver) (cuttle_kubelet_registered)",
                "nodes registered: {{driver}}",
            ),
        ],
    ),
    (
        "Memory",
        "bytes",
        &[(
            "process_resident_memory_bytes{job=~\".*cuttle.*\"}",
            "{{pod}}",
        )],
    ),
    (
        "Versions",
        "short",
        &[(
            "count by (version, librados, librbd) (cuttle_build_info)",
            "{{version}}, {{librados}}, {{librbd}}",
        )],
    ),
];

/// Rules in Prometheus' own form.
pub(super) fn alerts() -> Value {
    let rules = ALERTS.map(|(name, severity, lasting, expression, summary, remedy)| {
        json!({
            "alert": name,
            "expr": expression,
            "for": lasting,
            "labels": {"severity": severity},
            "annotations": {"summary": summary, "description": remedy},
        })
    });
    json!({"groups": [{"name": "cuttle", "rules": rules}]})
}

/// The dashboard, two panels in a row.
pub(super) fn dashboard() -> Value {
    let panels = (0_usize..)
        .zip(PANELS)
        .map(|(index, (title, unit, targets))| {
            let targets = ["A", "B"].into_iter().zip(targets).map(|(id, (expression, legend))| {
            json!({"refId": id, "expr": expression, "legendFormat": legend})
        });
            json!({
                "id": index + 1,
                "title": title,
                "type": "timeseries",
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "gridPos": {"x": index % 2 * 12, "y": index / 2 * 8, "w": 12, "h": 8},
                "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
                "targets": targets.collect::<Vec<_>>(),
            })
        });
    json!({
        "title": "Cuttle",
        "uid": "cuttle",
        "tags": ["ceph", "csi"],
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [{
            "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Source",
        }]},
        "panels": panels.collect::<Vec<_>>(),
    })
}
