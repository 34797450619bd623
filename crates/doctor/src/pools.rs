//! Pools of images.

use ceph::{Cluster, Error};
use cuttle_model::{ByteSize, PoolName, RadosNamespace};
use serde_json::{Value, json};

use crate::cluster::unanswered;
use crate::report::{Check, Report, Severity, Told};

/// Less than this and the next volume may be the last.
const LITTLE: ByteSize = ByteSize::from_bytes(1 << 30);

/// Looks at a pool of images and journal, and at the namespace in it.
pub(crate) fn look(
    cluster: &Cluster,
    pool: &PoolName,
    namespace: &RadosNamespace,
    report: &mut Report,
) {
    let about = format!("pool {pool}");
    if !exists(cluster, Check::Pool, pool, report) {
        return;
    }
    let io = match cluster.io(pool, &RadosNamespace::default()) {
        Ok(io) => io,
        Err(error) => return unanswered(report, Check::PoolApplication, about, &error),
    };
    match io.pool_is_initialised() {
        Ok(true) => report.good(Check::PoolApplication, about.clone(), "it is made for RBD"),
        Ok(false) => {
            let told = Told::new(
                "the application rbd is not enabled on it, and it has no object rbd_info",
                "librbd refuses to make images in it, and the cluster's health will warn",
            )
            .remedy(format!("rbd pool init {pool}"));
            report.add(Severity::Error, Check::PoolApplication, about.clone(), told);
        }
        Err(error) => unanswered(report, Check::PoolApplication, about.clone(), &error),
    }
    room(cluster, pool, report);
    if namespace.is_default() {
        return;
    }
    let about = format!("{pool}/{namespace}");
    match io.namespace_exists(namespace) {
        Ok(true) => report.good(Check::Namespace, about, "it exists"),
        Ok(false) => {
            let told = Told::new(
                "the pool has no such namespace",
                "no image can be made: `rbd.radosNamespace` of config.json names it",
            )
            .remedy(format!("rbd namespace create {about}"));
            report.add(Severity::Error, Check::Namespace, about, told);
        }
        // A user that is confined to the namespace may not read the list of them.
        Err(error) => unanswered(report, Check::Namespace, about, &error),
    }
}

/// Looks at a pool that holds nothing but images' data.
pub(crate) fn data(cluster: &Cluster, pool: &PoolName, report: &mut Report) {
    let about = format!("data pool {pool}");
    if !exists(cluster, Check::DataPool, pool, report) {
        return;
    }
    let reply = match cluster.mon_query(&json!({"prefix": "osd pool ls", "detail": "detail"})) {
        Ok(reply) => reply.json,
        Err(error) => return unanswered(report, Check::DataPool, about, &error),
    };
    let pools = reply.as_array();
    let found = pools
        .into_iter()
        .flatten()
        .find(|one| one.get("pool_name").and_then(Value::as_str) == Some(pool.as_str()));
    let profile = found
        .and_then(|one| one.get("erasure_code_profile"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let flags = found
        .and_then(|one| one.get("flags_names"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !profile.is_empty() && !flags.split(',').any(|flag| flag == "ec_overwrites") {
        let told = Told::new(
            format!("it is erasure-coded ({profile}) and its flags are {flags}"),
            "images cannot be written: parts of an object cannot be overwritten",
        )
        .remedy(format!("ceph osd pool set {pool} allow_ec_overwrites true"));
        report.add(Severity::Error, Check::DataPool, about, told);
    } else {
        report.good(Check::DataPool, about, "it takes images' data");
    }
}

fn exists(cluster: &Cluster, check: Check, pool: &PoolName, report: &mut Report) -> bool {
    let about = format!("pool {pool}");
    match cluster.pool_id(pool) {
        Ok(Some(id)) => {
            if check == Check::Pool {
                report.good(check, about, format!("it has number {id}"));
            }
            true
        }
        Ok(None) => {
            let told = Told::new(
                "the cluster's newest map has no pool of this name",
                "no volume can be made in it",
            )
            .remedy(format!(
                "correct the name in the StorageClass (`ceph osd pool ls`), or: ceph osd pool \
                 create {pool} && rbd pool init {pool}"
            ));
            report.add(Severity::Error, check, about, told);
            false
        }
        Err(error) => {
            unanswered(report, check, about, &error);
            false
        }
    }
}

fn room(cluster: &Cluster, pool: &PoolName, report: &mut Report) {
    let about = format!("pool {pool}");
    let usage = match cluster.pool_usage(pool) {
        Ok(Some(usage)) => usage,
        Ok(None) => {
            let told = Told::new(
                "the monitors have no figures of it",
                "how full it is, is not known",
            )
            .remedy("a new pool has figures after some seconds: look again");
            return report.add(Severity::Unknown, Check::PoolQuota, about, told);
        }
        Err(error) => return unanswered(report, Check::PoolQuota, about, &error),
    };
    let left = usage.quota.map_or(usage.max_avail, |quota| {
        let left = quota.bytes().saturating_sub(usage.stored.bytes());
        usage.max_avail.min(ByteSize::from_bytes(left))
    });
    let quota = usage.quota.map_or_else(
        || "no quota".to_owned(),
        |quota| format!("a quota of {quota}"),
    );
    let evidence = format!("{} stored, {quota}, room for {left}", usage.stored);
    if left < LITTLE {
        let told = Told::new(
            evidence,
            "writes to its volumes stop when the rest is used up",
        )
        .remedy(format!(
            "delete data, add OSDs, or raise the quota: ceph osd pool set-quota {pool} \
                 max_bytes BYTES"
        ));
        report.add(Severity::Warning, Check::PoolQuota, about, told);
    } else {
        report.good(Check::PoolQuota, about, evidence);
    }
}

/// Whether a call that changes nothing was let through: absence is an answer, refusal another.
pub(crate) fn was_allowed(outcome: Result<(), Error>) -> Result<bool, Error> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.is_absent() => Ok(true),
        Err(error) if error.is_denied() => Ok(false),
        Err(error) => Err(error),
    }
}
