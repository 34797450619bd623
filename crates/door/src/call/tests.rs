//! The doors' promises: counting, deadlines, faults.

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::job::{JobContext, Progress};

#[derive(Debug, PartialEq)]
struct Failed(&'static str, String, i32);

impl FromErrno for Failed {
    fn from_errno(call: &'static str, target: String, errno: i32) -> Self {
        Self(call, target, errno)
    }
    fn errno(&self) -> Option<i32> {
        Some(self.2)
    }
}

fn doors(plan: &str) -> Doors {
    Doors::new(FaultPlan::parse(plan).unwrap())
}

fn figures(doors: &Doors) -> Vec<(&'static str, &'static str, Option<i32>, u64)> {
    let entries = doors.ledger().snapshot();
    entries
        .iter()
        .map(|entry| (entry.door, entry.call, entry.errno, entry.count))
        .collect()
}

#[test]
fn calls_are_counted_by_door_name_and_outcome() {
    let doors = doors("");
    for _ in 0..2 {
        assert_eq!(
            doors.ceph.call("rbd.create", "p/i", || Ok::<_, Failed>(7)),
            Ok(7)
        );
    }
    let failed = || Err::<(), _>(Failed("mount", "/x".to_owned(), libc::EBUSY));
    assert_eq!(doors.host.call("host.mount", "/x", failed), failed());
    assert_eq!(
        figures(&doors),
        [
            ("ceph", "rbd.create", None, 2),
            ("host", "host.mount", Some(libc::EBUSY), 1)
        ]
    );
    assert_eq!(doors.ledger().total(), 3);
}

#[test]
fn a_planned_failure_takes_the_calls_place_once() {
    let doors = doors("fail@2=ENOSPC");
    let mut ran = 0;
    let mut call = || {
        doors.ceph.call("rados.write", "pool/object", || {
            ran += 1;
            Ok::<_, Failed>(())
        })
    };
    assert_eq!(call(), Ok(()));
    let expected = Failed("rados.write", "pool/object".to_owned(), libc::ENOSPC);
    assert_eq!(call(), Err(expected));
    assert_eq!(call(), Ok(()));
    assert_eq!(ran, 2);
}

#[test]
fn both_doors_count_for_the_same_plan() {
    let doors = doors("fail@2=EIO");
    assert_eq!(doors.ceph.call("a.b", "", || Ok::<_, Failed>(())), Ok(()));
    assert!(doors.host.call("c.d", "", || Ok::<_, Failed>(())).is_err());
}

#[test]
fn a_job_out_of_time_makes_no_more_calls() {
    let doors = doors("");
    let progress = Progress::new();
    let context = |deadline| JobContext {
        request_id: "r".to_owned(),
        deadline,
        progress: progress.clone(),
    };
    let mut ran = false;
    {
        let _guard = job::enter(context(Some(Instant::now())));
        let outcome = doors.ceph.call("rbd.create", "p/i", || {
            ran = true;
            Ok::<_, Failed>(())
        });
        assert_eq!(
            outcome,
            Err(Failed("rbd.create", "p/i".to_owned(), libc::ETIMEDOUT))
        );
    }
    assert!(!ran);
    let later = Instant::now() + Duration::from_secs(3600);
    let _guard = job::enter(context(Some(later)));
    assert_eq!(
        doors.ceph.call("rbd.open", "p/i", || Ok::<_, Failed>(())),
        Ok(())
    );
    assert_eq!(progress.step().0, "rbd.open p/i");
}

#[test]
fn a_planned_hang_blocks_its_caller_alone() {
    let doors = doors("hang@1:rbd.create");
    let (done, hung) = (mpsc::channel(), doors.clone());
    thread::spawn(move || {
        let outcome = hung.ceph.call("rbd.create", "p/i", || Ok::<_, Failed>(()));
        done.0.send(outcome).ok();
    });
    assert_eq!(
        doors.ceph.call("rbd.open", "p/i", || Ok::<_, Failed>(())),
        Ok(())
    );
    let waited = done.1.recv_timeout(Duration::from_millis(200));
    assert_eq!(waited, Err(mpsc::RecvTimeoutError::Timeout));
}

#[test]
fn an_open_call_ends_with_its_outcome_or_as_cancelled() {
    let doors = doors("");
    doors
        .ceph
        .begin::<Failed>("rbd.aio_read", "p/i")
        .unwrap()
        .end(None);
    drop(doors.ceph.begin::<Failed>("rbd.aio_read", "p/i").unwrap());
    assert_eq!(
        figures(&doors),
        [
            ("ceph", "rbd.aio_read", None, 1),
            ("ceph", "rbd.aio_read", Some(libc::ECANCELED), 1)
        ]
    );
}
