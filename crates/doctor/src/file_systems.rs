//! File systems and the group in which subvolumes are made.

use ceph::{Cluster, FsRef};
use cuttle_model::{CephFsSettings, FsName};
use serde_json::{Value, json};

use crate::cluster::{Purpose, unanswered};
use crate::report::{Check, Report, Severity, Told};

/// Looks at a file system.
pub(crate) fn look(
    cluster: &Cluster,
    fs: &FsName,
    settings: &CephFsSettings,
    purpose: Purpose,
    report: &mut Report,
) {
    let about = format!("file system {fs}");
    match cluster.file_system(FsRef::Name(fs)) {
        Ok(Some(_)) => {}
        Ok(None) => {
            let told = Told::new(
                "the monitors tell this user of no such file system",
                "no volume can be made in it",
            )
            .remedy(format!(
                "correct fsName in the StorageClass (`ceph fs ls`); if it is there, the user's \
                 capability mon must be 'allow r' or 'allow r fsname={fs}'"
            ));
            return report.add(Severity::Error, Check::FileSystem, about, told);
        }
        Err(error) => return unanswered(report, Check::FileSystem, about, &error),
    }
    active(cluster, fs, about, report);
    if purpose == Purpose::Provisioner {
        group(cluster, fs, settings, report);
    }
}

fn active(cluster: &Cluster, fs: &FsName, about: String, report: &mut Report) {
    let reply = match cluster.mon_query(&json!({"prefix": "fs dump"})) {
        Ok(reply) => reply.json,
        Err(error) => return unanswered(report, Check::FileSystem, about, &error),
    };
    let systems = reply.get("filesystems").and_then(Value::as_array);
    let map = systems
        .into_iter()
        .flatten()
        .filter_map(|one| one.get("mdsmap"))
        .find(|map| map.get("fs_name").and_then(Value::as_str) == Some(fs.as_str()));
    let infos = map
        .and_then(|map| map.get("info"))
        .and_then(Value::as_object);
    let states: Vec<&str> = infos
        .into_iter()
        .flat_map(|infos| infos.values())
        .filter_map(|info| info.get("state")?.as_str())
        .collect();
    if states.contains(&"up:active") {
        return report.good(Check::FileSystem, about, "it has an active metadata server");
    }
    let evidence = if states.is_empty() {
        "no metadata server serves it".to_owned()
    } else {
        format!("its metadata servers are {}", states.join(", "))
    };
    let told = Told::new(evidence, "every access to its volumes hangs")
        .remedy(format!("start a metadata server; `ceph fs status {fs}`"));
    report.add(Severity::Error, Check::FileSystem, about, told);
}

fn group(cluster: &Cluster, fs: &FsName, settings: &CephFsSettings, report: &mut Report) {
    let group = &settings.subvolume_group;
    let about = format!("{fs}/{group}");
    match cluster.subvolume_groups(fs) {
        Ok(groups) if groups.contains(group) => {
            report.good(Check::SubvolumeGroup, about, "it exists");
        }
        Ok(_) if settings.create_subvolume_group => {
            let evidence = "it does not exist; cephFS.createSubvolumeGroup has it made";
            report.good(Check::SubvolumeGroup, about, evidence);
        }
        Ok(_) => {
            let told = Told::new(
                "the file system has no such group",
                "no volume can be made; the driver makes the group only if config.json says so",
            )
            .remedy(format!("ceph fs subvolumegroup create {fs} {group}"));
            report.add(Severity::Error, Check::SubvolumeGroup, about, told);
        }
        Err(error) => unanswered(report, Check::SubvolumeGroup, about, &error),
    }
}
