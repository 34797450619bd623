//! What the cluster says about itself, as far as it concerns volumes.

use ceph::Cluster;
use serde_json::{Value, json};

use crate::cluster::unanswered;
use crate::report::{Check, Report, Severity, Told};

/// The cluster's own checks that stop or harm volumes: id, severity, meaning, remedy.
const KNOWN: &[(&str, Severity, &str, &str)] = &[
    (
        "OSD_FULL",
        Severity::Error,
        "no volume can be written to any more",
        "delete data or add OSDs; `ceph df`",
    ),
    (
        "POOL_FULL",
        Severity::Error,
        "volumes of a full pool cannot be written to",
        "raise the pool's quota or delete data; `ceph df detail`",
    ),
    (
        "OSD_BACKFILLFULL",
        Severity::Warning,
        "the cluster cannot heal itself for lack of space",
        "add OSDs; `ceph osd df`",
    ),
    (
        "OSD_NEARFULL",
        Severity::Warning,
        "the cluster is nearly full; all writes stop when one OSD is",
        "add OSDs or delete data; `ceph osd df`",
    ),
    (
        "PG_AVAILABILITY",
        Severity::Error,
        "volumes with data in these placement groups hang",
        "start the missing OSDs; `ceph pg dump_stuck inactive`",
    ),
    (
        "OSDMAP_FLAGS",
        Severity::Warning,
        "a flag such as pause or noout is set; with pause all volumes hang",
        "take it back when the maintenance is over: `ceph osd unset FLAG`",
    ),
    (
        "OSD_DOWN",
        Severity::Warning,
        "an OSD is down; its data has fewer copies",
        "`ceph osd tree down`",
    ),
    (
        "SLOW_OPS",
        Severity::Warning,
        "some requests take more than 30 s, and so do volumes' operations",
        "`ceph health detail` names the daemons",
    ),
    (
        "MON_CLOCK_SKEW",
        Severity::Warning,
        "the monitors' clocks differ: logins fail when they drift further",
        "synchronise the clocks",
    ),
    (
        "MON_DOWN",
        Severity::Warning,
        "a monitor is missing from the quorum",
        "`ceph mon stat`",
    ),
    (
        "MDS_ALL_DOWN",
        Severity::Error,
        "a file system has no metadata server: its volumes hang",
        "`ceph fs status`",
    ),
    (
        "FS_DEGRADED",
        Severity::Warning,
        "a file system's metadata servers are not all at work",
        "`ceph fs status`",
    ),
    (
        "MDS_CLIENT_LATE_RELEASE",
        Severity::Warning,
        "a client keeps others waiting",
        "`ceph health detail` names it",
    ),
    (
        "MGR_DOWN",
        Severity::Error,
        "no manager is at work: images are not removed from the trash, CephFS volumes are neither made nor deleted",
        "start a manager",
    ),
    (
        "RECENT_MGR_MODULE_CRASH",
        Severity::Warning,
        "a module of the manager has crashed lately",
        "`ceph crash ls-new`",
    ),
    (
        "AUTH_BAD_CAPS",
        Severity::Warning,
        "a user has capabilities that the monitors cannot read",
        "`ceph health detail` names it",
    ),
];

/// Asks for the cluster's health.
pub(crate) fn look(cluster: &Cluster, report: &mut Report) {
    let reply = match cluster.mon_query(&json!({"prefix": "health", "detail": "detail"})) {
        Ok(reply) => reply.json,
        Err(error) => return unanswered(report, Check::Health, "cluster", &error),
    };
    let checks = reply.get("checks").and_then(Value::as_object);
    let mut is_good = true;
    for (id, check) in checks.into_iter().flatten() {
        let Some((_, severity, meaning, remedy)) = KNOWN.iter().find(|known| known.0 == id) else {
            continue;
        };
        is_good = false;
        let summary = check.pointer("/summary/message").and_then(Value::as_str);
        let told = Told::new(summary.unwrap_or("no summary"), *meaning).remedy(*remedy);
        report.add(*severity, Check::Health, id.clone(), told);
    }
    if is_good {
        let status = reply.get("status").and_then(Value::as_str).unwrap_or("?");
        let evidence = format!("{status}, and nothing that concerns volumes");
        report.good(Check::Health, "cluster", evidence);
    }
}
