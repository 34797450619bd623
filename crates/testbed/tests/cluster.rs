//! The test bed against a cluster of its own and against the shared one.

use std::time::{Duration, Instant};

use cuttle_testbed::{Cluster, Leftover, StartOptions, shared_cluster, until};

#[test]
fn a_second_cluster_starts_serves_pauses_and_leaves_nothing() {
    let shared = shared_cluster();
    let cluster = Cluster::start(&StartOptions::default()).expect("a cluster");
    assert_ne!(cluster.fsid(), shared.fsid());
    assert_ne!(cluster.monitors(), shared.monitors());

    cluster
        .rbd(&["create", "--size", "1G", "rbd/one"])
        .expect("an image");
    let found = Cluster::find(cluster.dir()).expect("the same cluster");
    assert_eq!(found.rbd(&["ls", "rbd"]).expect("a listing"), "one");

    cluster.pause_osd().expect("a signal");
    let start = Instant::now();
    let late = cluster
        .program("rbd")
        .args(["info", "rbd/one"])
        .limit(Duration::from_secs(2))
        .ok();
    assert!(
        start.elapsed() >= Duration::from_secs(2),
        "a paused OSD answered: {late:?}"
    );
    cluster.resume_osd().expect("a signal");
    cluster.rbd(&["info", "rbd/one"]).expect("an answer");

    let dir = cluster.dir().to_owned();
    cluster.stop().expect("a stop");
    assert!(!dir.exists());
}

#[test]
fn contents_tell_images_trash_and_keys_from_bookkeeping() {
    let cluster = shared_cluster();
    let namespace = format!("testbed-{}", std::process::id());
    let look = || {
        cluster
            .rbd_namespace_contents("rbd", &namespace)
            .expect("contents")
    };
    assert_eq!(look(), cuttle_testbed::Contents::default());

    cluster.namespace("rbd", &namespace).expect("a namespace");
    cluster
        .namespace("rbd", &namespace)
        .expect("the same namespace");
    let image = format!("rbd/{namespace}/one");
    cluster
        .rbd(&["create", "--size", "1G", &image])
        .expect("an image");
    cluster
        .rados(&[
            "-p",
            "rbd",
            "-N",
            &namespace,
            "setomapval",
            "csi.volumes.default",
            "csi.volume.a",
            "b",
        ])
        .expect("a key");
    let leftovers = look().leftovers();
    assert!(
        leftovers.contains(&Leftover::Image("one".to_owned())),
        "{leftovers:?}"
    );
    let key = Leftover::Key {
        object: "csi.volumes.default".to_owned(),
        key: "csi.volume.a".to_owned(),
    };
    assert!(leftovers.contains(&key), "{leftovers:?}");

    cluster.rbd(&["trash", "mv", &image]).expect("a move");
    let leftovers = look().leftovers();
    assert!(
        leftovers.contains(&Leftover::Trash("one".to_owned())),
        "{leftovers:?}"
    );
    assert!(
        !leftovers.contains(&Leftover::Image("one".to_owned())),
        "{leftovers:?}"
    );

    cluster
        .rbd(&[
            "trash",
            "purge",
            "--no-progress",
            &format!("rbd/{namespace}"),
        ])
        .expect("a purge");
    cluster
        .rados(&[
            "-p",
            "rbd",
            "-N",
            &namespace,
            "rmomapkey",
            "csi.volumes.default",
            "csi.volume.a",
        ])
        .expect("a removal");
    assert_eq!(look().leftovers(), []);
    assert!(
        look().objects.contains("rbd_directory"),
        "the bookkeeping is seen, but does not count"
    );
}

#[test]
fn users_pools_and_manager_tasks_work() {
    let cluster = shared_cluster();
    let name = format!("testbed-{}", std::process::id());
    let caps = [("mon", "profile rbd"), ("osd", "profile rbd pool=rbd")];
    let key = cluster.user(&name, &caps).expect("a user");
    assert_eq!(key, cluster.user(&name, &caps).expect("the same user"));
    assert_eq!(key.len(), 40, "a cephx key");

    cluster.pool(&name).expect("a pool");
    let image = format!("{name}/gone");
    cluster
        .rbd(&["create", "--size", "1G", &image])
        .expect("an image");
    let id = cluster
        .program("rbd")
        .args(["info", "--format", "json", &image])
        .ok()
        .expect("an image");
    let id = id.json().expect("JSON")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    cluster.rbd(&["trash", "mv", &image]).expect("a move");
    cluster
        .json(&[
            "rbd",
            "task",
            "add",
            "trash",
            "remove",
            &format!("{name}/{id}"),
        ])
        .expect("a task");
    until(
        "the manager empties the trash",
        Duration::from_secs(60),
        || {
            let left = cluster
                .rbd_namespace_contents(&name, "")
                .expect("contents")
                .leftovers();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        },
    )
    .expect("an empty pool");
    cluster.remove_pool(&name).expect("a removal");
    cluster
        .json(&["auth", "rm", &format!("client.{name}")])
        .expect("a removal");
}

#[test]
fn a_directory_in_use_or_too_long_or_foreign_is_refused() {
    let shared = shared_cluster();
    let at = |dir: &std::path::Path| StartOptions {
        dir: Some(dir.to_owned()),
        ..StartOptions::default()
    };
    let error = Cluster::start(&at(shared.dir())).expect_err("it runs");
    assert!(error.to_string().contains("stop it first"), "{error}");
    let long = std::env::temp_dir().join("x".repeat(90));
    let error = Cluster::start(&at(&long)).expect_err("too long");
    assert!(
        error.to_string().contains("choose a shorter one"),
        "{error}"
    );
    let foreign = tempfile::tempdir().expect("a directory");
    std::fs::write(foreign.path().join("letter"), "dear").expect("a file");
    let error = Cluster::start(&at(foreign.path())).expect_err("not empty");
    assert!(error.to_string().contains("not empty"), "{error}");
    let error = Cluster::remove(foreign.path()).expect_err("not a cluster");
    assert!(error.to_string().contains("no test cluster"), "{error}");
    assert!(foreign.path().join("letter").exists());
}
