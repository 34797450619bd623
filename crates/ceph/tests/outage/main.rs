//! A cluster whose daemons stop answering: bounded errors, no false "absent", and recovery.
//!
//! Each test has a cluster of its own, because it stops daemons.
#![expect(clippy::unwrap_used, reason = "the helpers of tests fail the test")]

use std::time::{Duration, Instant};

use ceph::{Cluster, Clusters, ConnectOptions, ImageOptions, Io, OpenMode, WriteOp};
use cuttle_door::{Doors, FaultPlan};
use cuttle_model::{
    ByteSize, Class, Credentials, Explain, ImageName, Left, Monitors, PoolName, RadosNamespace,
    Secret, UserId,
};
use cuttle_testbed::StartOptions;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const TIMEOUT: Duration = Duration::from_secs(3);
/// What a bounded call may take on a busy machine.
const BOUND: Duration = Duration::from_secs(15);

struct Setup {
    daemons: cuttle_testbed::Cluster,
    clusters: Clusters,
    cluster: Cluster,
    io: Io,
}

fn setup() -> Setup {
    let daemons = cuttle_testbed::Cluster::start(&StartOptions::default()).unwrap();
    let options = ConnectOptions {
        operation_timeout: TIMEOUT,
        monitor_timeout: TIMEOUT,
        connect_timeout: TIMEOUT,
        ..ConnectOptions::default()
    };
    let clusters = Clusters::new(Doors::new(FaultPlan::none()).ceph, options);
    let (monitors, admin) = credentials(&daemons);
    let cluster = clusters.connect(&monitors, &admin).unwrap();
    let io = cluster
        .io(&pool("rbd"), &RadosNamespace::default())
        .unwrap();
    Setup {
        daemons,
        clusters,
        cluster,
        io,
    }
}

fn credentials(daemons: &cuttle_testbed::Cluster) -> (Monitors, Credentials) {
    let monitors = Monitors::new(vec![daemons.monitors()]).unwrap();
    let key = Secret::new(daemons.admin_key());
    (
        monitors,
        Credentials {
            user: UserId::new("admin").unwrap(),
            key,
        },
    )
}

fn pool(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

/// Sends a signal to one of the cluster's daemons, as `mon.a`.
fn signal(daemons: &cuttle_testbed::Cluster, daemon: &str, signal: Signal) {
    let state = std::fs::read_to_string(daemons.dir().join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    let pid = state
        .pointer(&format!("/pids/{daemon}"))
        .and_then(serde_json::Value::as_i64);
    let pid = Pid::from_raw(i32::try_from(pid.unwrap()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Runs `f` and holds it to the bound.
fn bounded<T>(f: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let outcome = f();
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    outcome
}

#[test]
fn a_stopped_osd_ends_calls_at_the_time_out_and_all_is_well_afterwards() {
    let setup = setup();
    let (name, io) = (ImageName::new("i").unwrap(), &setup.io);
    let write = || io.write("o", WriteOp::new().set_omap(&[("k", "v")]));
    write().unwrap();
    io.create_image(&name, ByteSize::MIB, &ImageOptions::default())
        .unwrap();
    let open = io.open_image(&name, OpenMode::ReadWrite).unwrap();

    setup.daemons.pause_osd().unwrap();
    let error = bounded(write).unwrap_err();
    assert!(error.is_timeout() && !error.is_absent(), "{error}");
    assert_eq!(
        (error.class(), error.left()),
        (Class::Down, Left::MaybeRunning)
    );
    let error = bounded(|| io.omap_get("o", &["k"])).unwrap_err();
    assert_eq!((error.is_timeout(), error.left()), (true, Left::Nothing));
    assert!(bounded(|| io.image_id(&name)).unwrap_err().is_timeout());
    assert!(
        bounded(|| io.image_is_watched(&open.id().unwrap()))
            .unwrap_err()
            .is_timeout()
    );
    // A new connection needs no OSD, and closing one does not wait for it.
    bounded(|| drop(open));
    setup
        .cluster
        .mon_command(&json!({"prefix": "fsid"}))
        .unwrap();

    setup.daemons.resume_osd().unwrap();
    write().unwrap();
    assert_eq!(io.omap_get("o", &["k"]).unwrap().unwrap().len(), 1);
    assert!(io.image_id(&name).unwrap().is_some());
}

#[test]
fn a_stopped_monitor_makes_no_pool_absent() {
    let setup = setup();
    let monitor = |kind| signal(&setup.daemons, "mon.a", kind);
    monitor(Signal::STOP);
    // Never seen before: only a newer map could tell.
    let error = bounded(|| setup.cluster.pool_id(&pool("unheard-of"))).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let command = json!({"prefix": "fsid"});
    let error = bounded(|| setup.cluster.mon_command(&command)).unwrap_err();
    assert_eq!(
        (error.is_timeout(), error.left()),
        (true, Left::MaybeRunning)
    );
    // What the map tells is still known, and the OSDs still answer.
    assert!(
        bounded(|| setup.cluster.pool_id(&pool("rbd")))
            .unwrap()
            .is_some()
    );
    assert_eq!(bounded(|| setup.io.read("nothing", 1)).unwrap(), None);
    // A new connection cannot be made, by several at once neither.
    let (monitors, mut other) = credentials(&setup.daemons);
    other.user = UserId::new("other").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let error = bounded(|| setup.clusters.connect(&monitors, &other)).unwrap_err();
                assert!(error.is_timeout(), "{error}");
            });
        }
    });

    monitor(Signal::CONT);
    assert_eq!(setup.cluster.pool_id(&pool("unheard-of")).unwrap(), None);
    setup.cluster.mon_command(&command).unwrap();
}

#[test]
fn a_stopped_manager_ends_its_commands_and_a_late_answer_does_no_harm() {
    let setup = setup();
    let manager = |kind| signal(&setup.daemons, "mgr.x", kind);
    let command = json!({"prefix": "rbd task list"});
    setup.cluster.mgr_command(&command).unwrap();
    manager(Signal::STOP);
    for _ in 0..3 {
        let error = bounded(|| setup.cluster.mgr_command(&command)).unwrap_err();
        assert!(error.is_timeout(), "{error}");
    }
    // The answers that were given up arrive now.
    manager(Signal::CONT);
    let answered = || {
        setup
            .cluster
            .mgr_command(&command)
            .map_err(|error| error.to_string())
    };
    cuttle_testbed::until("the manager's answer", Duration::from_secs(60), answered).unwrap();
    assert_eq!(setup.io.read("nothing", 1).unwrap(), None);
}
