//! What is in the memory of the driver and of its exports stays there.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::calls::{MIB, mount_capability, unstage_request};
use crate::world::World;

/// The largest core file the process may write, as the kernel tells it.
fn core_limit(pid: i32) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"))
        .expect("the limit");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn driver_and_export_leave_no_core_files() {
    let world = World::new();
    let mut driver = world.start(&[]);
    let volume = driver
        .client
        .create(world.create_request("pvc-private", 64 * MIB))
        .expect("a volume");
    let staging = world.make_dir("staging");
    driver
        .client
        .node_stage_volume(world.stage_request(&volume, &staging, mount_capability("ext4")))
        .expect("a staging");
    let exports = world.residue(&[&driver]).processes;
    assert!(!exports.is_empty(), "no export process to look at");
    let pids = exports.iter().map(|process| process.pid);
    for pid in pids.chain([driver.driver.pid()]) {
        assert_eq!(core_limit(pid), "0 0 bytes", "of process {pid}");
    }
    driver
        .client
        .node_unstage_volume(unstage_request(&volume.volume_id, &staging))
        .expect("an end of the staging");
    driver
        .client
        .delete_volume(world.delete_request(&volume.volume_id))
        .expect("a deletion");
    let pid = rustix::process::Pid::from_raw(driver.driver.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::ABORT).unwrap();
    let status = driver
        .driver
        .wait(Duration::from_secs(30))
        .expect("its end");
    assert_eq!(status.signal(), Some(6), "{status}");
    assert!(!status.core_dumped(), "{status}");
}
