//! What a connection costs while nobody uses it.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::setup::setup;

/// How often this process's threads have gone to sleep so far.
fn sleeps() -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let status = threads.filter_map(|thread| {
        // A thread may end while it is looked at.
        fs::read_to_string(thread.ok()?.path().join("status")).ok()
    });
    let sleeps = status.filter_map(|status| {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    });
    sleeps.sum()
}

#[test]
fn an_idle_connection_sleeps() {
    let setup = setup();
    setup
        .io
        .write("object", ceph::WriteOp::new().create())
        .unwrap();
    let before = sleeps();
    thread::sleep(Duration::from_secs(4));
    let woken = sleeps() - before;
    // A timer that is set to nothing wakes up thousands of times a second.
    assert!(woken < 400, "woken {woken} times in four seconds");
    assert!(setup.cluster.instance_id() > 0);
}
