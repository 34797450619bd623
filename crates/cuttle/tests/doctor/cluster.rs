//! Clusters with one thing broken each. What would disturb others is broken on a cluster of the
//! test's own.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use cuttle_testbed::{Cluster, StartOptions, shared_cluster, until};
use serde_json::json;

use crate::patient::{Patient, carry_out, text};

const PATIENCE: Duration = Duration::from_secs(60);

fn own() -> Cluster {
    Cluster::start(&StartOptions::default()).unwrap()
}

#[test]
fn monitors_that_do_not_answer_are_told_from_those_that_are_no_monitors() {
    let cluster = shared_cluster();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let greeting = other.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in other.incoming() {
            drop(stream.and_then(|mut stream| stream.write_all(b"220 smtp.example.net\r\n")));
        }
    });
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let all = format!("{},{closed},{greeting}", cluster.monitors());
    let patient = Patient::new(&all, &json!({}));
    let diagnosis = patient.as_admin(&cluster, &[]);
    assert_eq!(diagnosis.status, 1);
    let bad = diagnosis.bad("monitor-reach");
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert_eq!(text(bad[0], "about"), format!("monitor {closed}"));
    assert!(text(bad[0], "evidence").contains("ECONNREFUSED"), "{bad:?}");
    assert!(
        text(bad[1], "meaning").contains("no Ceph monitor"),
        "{bad:?}"
    );
    let finding = diagnosis.only("monitor-list", "warning");
    assert!(
        text(finding, "meaning").contains(&closed.to_string()),
        "{finding}"
    );

    let patient = Patient::new(&closed.to_string(), &json!({}));
    let diagnosis = patient.as_admin(&cluster, &[]);
    diagnosis.assert_wrong(&["monitor-reach", "login"]);
    diagnosis.only("login", "unknown");
}

#[test]
fn pools_that_are_absent_not_made_for_images_or_full_are_named_and_mended() {
    let cluster = shared_cluster();
    let patient = Patient::new(
        &cluster.monitors(),
        &json!({"rbd": {"radosNamespace": "team"}}),
    );
    let pool = patient.name();
    let option = format!("--pool={pool}");
    let look = || patient.as_admin(&cluster, &[&option]);

    let absent = look();
    let finding = absent.only("pool", "error");
    assert!(
        text(finding, "remedy").contains(&format!("ceph osd pool create {pool}")),
        "{finding}"
    );

    cluster.bare_pool(&pool).unwrap();
    // The manager counts what is in a new pool a little later.
    let counted = || match look().bad("pool-quota").first() {
        None => Ok(()),
        Some(finding) => Err(finding.to_string()),
    };
    until("the new pool has figures", PATIENCE, counted).unwrap();
    let bare = look();
    bare.assert_good(&["pool", "pool-quota"]);
    bare.assert_wrong(&["pool-application", "rados-namespace"]);
    carry_out(
        &cluster,
        text(bare.only("pool-application", "error"), "remedy"),
    );
    carry_out(
        &cluster,
        text(bare.only("rados-namespace", "error"), "remedy"),
    );

    let mended = look();
    mended.assert_wrong(&[]);
    mended.assert_good(&[
        "pool",
        "pool-application",
        "pool-quota",
        "rados-namespace",
        "module-rbd-support",
    ]);

    cluster
        .json(&["osd", "pool", "set-quota", &pool, "max_bytes", "1000000"])
        .unwrap();
    let full = look();
    full.only("pool-quota", "warning");
    assert_eq!(full.status, 0, "a warning is no failure");
    cluster.remove_pool(&pool).unwrap();
}

#[test]
fn a_data_pool_that_cannot_be_overwritten_is_named_and_mended() {
    let cluster = own();
    let profile = [
        "osd",
        "erasure-code-profile",
        "set",
        "one",
        "k=1",
        "m=1",
        "crush-failure-domain=osd",
    ];
    // With one OSD the pool's placement groups stay incomplete; its flags are what counts.
    let profile = if cluster.json(&profile).is_ok() {
        "one"
    } else {
        "default"
    };
    cluster
        .json(&["osd", "pool", "create", "ec", "1", "1", "erasure", profile])
        .unwrap();
    let patient = Patient::new(&cluster.monitors(), &json!({}));
    let key = cluster.admin_key();
    let look = || {
        patient
            .program(&["cluster", "--user=admin", "--key-file=-", "--data-pool=ec"])
            .arg(format!(
                "--config={}",
                patient.path("config.json").display()
            ))
            .input(key.clone())
    };
    let broken = crate::patient::diagnosed(look(), &key);
    let finding = broken.only("data-pool", "error");
    assert_eq!(
        text(finding, "remedy"),
        "ceph osd pool set ec allow_ec_overwrites true"
    );
}

#[test]
fn a_missing_group_and_an_unknown_file_system_are_named() {
    let cluster = shared_cluster();
    let unnamed = Patient::new(&cluster.monitors(), &json!({}));
    let group = unnamed.name();
    let patient = |create: bool| {
        let cephfs = json!({"subvolumeGroup": group, "createSubvolumeGroup": create});
        Patient::new(&cluster.monitors(), &json!({"cephFS": cephfs}))
    };
    let missing = patient(false).as_admin(&cluster, &["--fs=cephfs"]);
    missing.assert_good(&["file-system", "module-volumes"]);
    let finding = missing.only("subvolume-group", "error");
    patient(true)
        .as_admin(&cluster, &["--fs=cephfs"])
        .assert_good(&["subvolume-group"]);
    carry_out(&cluster, text(finding, "remedy"));
    let made = patient(false).as_admin(&cluster, &["--fs=cephfs"]);
    made.assert_wrong(&[]);
    made.assert_good(&["subvolume-group"]);
    let unknown = patient(false).as_admin(&cluster, &["--fs=elsewhere"]);
    unknown.only("file-system", "error");
    cluster
        .json(&["fs", "subvolumegroup", "rm", "cephfs", &group])
        .unwrap();
}

#[test]
fn daemons_that_stand_still_are_named() {
    let cluster = own();
    let patient = Patient::new(&cluster.monitors(), &json!({}));
    patient
        .as_admin(&cluster, &["--fs=cephfs"])
        .assert_good(&["daemon-reach", "manager-active"]);
    for daemon in ["osd.0", "mds.a"] {
        cluster.pause(daemon).unwrap();
        let diagnosis = patient.as_admin(&cluster, &["--fs=cephfs"]);
        cluster.resume(daemon).unwrap();
        assert_eq!(diagnosis.status, 1);
        let finding = diagnosis.only("daemon-reach", "error");
        assert_eq!(text(finding, "about"), daemon);
        assert!(
            text(finding, "evidence").contains("says nothing"),
            "{finding}"
        );
    }
}

#[test]
fn a_flag_that_stops_all_volumes_is_named() {
    let cluster = own();
    let patient = Patient::new(&cluster.monitors(), &json!({}));
    patient
        .as_admin(&cluster, &[])
        .assert_good(&["health", "versions"]);
    cluster.json(&["osd", "set", "pause"]).unwrap();
    until("the flag shows in the cluster's health", PATIENCE, || {
        let diagnosis = patient.as_admin(&cluster, &[]);
        match diagnosis.bad("health").first() {
            Some(one) if text(one, "about") == "OSDMAP_FLAGS" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .unwrap();
    cluster.json(&["osd", "unset", "pause"]).unwrap();
}

#[test]
fn modules_that_the_manager_lacks_are_named_and_a_manager_that_is_gone() {
    let cluster = own();
    let patient = Patient::new(&cluster.monitors(), &json!({}));
    let all = ["--pool=rbd", "--fs=cephfs"];
    // The driver's default group.
    cluster
        .json(&["fs", "subvolumegroup", "create", "cephfs", "csi"])
        .unwrap();
    patient.as_admin(&cluster, &all).assert_wrong(&[]);
    let modules = cluster.dir().join("mgr-modules");
    std::fs::remove_file(modules.join("volumes")).unwrap();
    std::fs::rename(modules.join("rbd_support"), cluster.dir().join("away")).unwrap();
    cluster.json(&["mgr", "fail", "x"]).unwrap();
    until("the modules are missed", PATIENCE, || {
        let diagnosis = patient.as_admin(&cluster, &all);
        let named = |check| {
            diagnosis
                .bad(check)
                .iter()
                .any(|one| one["severity"] == "error")
        };
        if named("module-volumes") && named("module-rbd-support") {
            assert_eq!(diagnosis.status, 1);
            Ok(())
        } else {
            Err(format!("{:?}", diagnosis.bad("module-volumes")))
        }
    })
    .unwrap();
    // One that stands still and is sent away does not come back.
    cluster.pause("mgr.x").unwrap();
    cluster.json(&["mgr", "fail", "x"]).unwrap();
    let diagnosis = patient.as_admin(&cluster, &[]);
    cluster.resume("mgr.x").unwrap();
    assert_eq!(diagnosis.status, 1);
    diagnosis.only("manager-active", "error");
}

#[test]
fn a_configuration_that_cannot_be_used_is_named() {
    let cluster = shared_cluster();
    let patient = Patient::new(&cluster.monitors(), &json!({}));
    let diagnosis = patient.as_admin(&cluster, &["--cluster=west"]);
    assert_eq!(diagnosis.status, 1);
    let finding = diagnosis.only("config", "error");
    assert!(text(finding, "evidence").contains("west"), "{finding}");
    std::fs::write(patient.path("config.json"), "[{").unwrap();
    patient.as_admin(&cluster, &[]).only("config", "error");
    std::fs::remove_file(patient.path("config.json")).unwrap();
    patient.as_admin(&cluster, &[]).only("config", "error");
}

#[test]
fn without_a_user_what_was_not_looked_at_is_unknown() {
    let cluster = shared_cluster();
    let patient = Patient::new(&cluster.monitors(), &json!({}));
    let config = format!("--config={}", patient.path("config.json").display());
    let diagnosis = crate::patient::diagnosed(patient.program(&["cluster", &config]), "");
    assert_eq!(diagnosis.status, 2);
    diagnosis.assert_good(&["monitor-reach", "known-bad-pair"]);
    diagnosis.only("login", "unknown");
}
