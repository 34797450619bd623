//! A cluster that stops answering for a while: data waits, nothing fails.

use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use cuttle_testbed::until;
use rustix::mount::{UnmountFlags, unmount};

use crate::bed::{Bed, noise};

/// Longer than any time-out of the control path would be set to for this test to be fooled by it.
const OUTAGE: Duration = Duration::from_secs(3);

#[test]
fn reads_and_writes_wait_for_the_cluster_to_come_back() {
    let bed = Bed::own();
    bed.image("waits", 8);
    let mut export = bed.export("waits");
    let file = export.open();
    file.write_all_at(&noise(1, 4096), 0).unwrap();
    file.sync_all().unwrap();

    bed.cluster.pause_osd().unwrap();
    let path = export.path.clone();
    let writer = thread::spawn(move || {
        let file = std::fs::OpenOptions::new().write(true).open(path)?;
        file.write_all_at(&noise(2, 1 << 20), 1 << 20)?;
        file.sync_all()
    });
    let waited = until("the write ends", OUTAGE, || {
        if writer.is_finished() {
            Ok(())
        } else {
            Err("it waits".to_owned())
        }
    });
    assert!(waited.is_err(), "a write ended without the OSD");
    // The size is known without the cluster, so the file stays visible.
    assert_eq!(file.metadata().unwrap().len(), 8 << 20);
    bed.cluster.resume_osd().unwrap();
    writer.join().unwrap().unwrap();
    let mut read = vec![0; 1 << 20];
    file.read_exact_at(&mut read, 1 << 20).unwrap();
    assert!(read == noise(2, 1 << 20));
    drop(file);

    // Unmounting does not wait for the cluster; the process does, to close the image properly.
    bed.cluster.pause_osd().unwrap();
    unmount(&export.path, UnmountFlags::empty()).unwrap();
    bed.cluster.resume_osd().unwrap();
    assert_eq!(export.wait(), 0);
    assert_eq!(bed.watchers("waits"), [""; 0]);
}
