//! Tests of calls in forked children.

use std::io::Read;
use std::time::{Duration, Instant};

use cuttle_door::job::{self, JobContext, Progress};
use rustix::fs::Timespec;
use rustix::io::Errno;

use super::Failure;
use crate::fixture::{eventually, faulty, host};
use crate::{Error, syscalls};

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(30);

/// A body that never ends by itself.
fn sleep_for_ever() {
    loop {
        let hour = Timespec {
            tv_sec: 3600,
            tv_nsec: 0,
        };
        let _interrupted = rustix::thread::nanosleep(&hour);
    }
}

#[test]
fn an_answer_comes_back() {
    let answer = host().aside("host.test", "x", LONG, |reply| {
        reply.push(b"he");
        reply.push(b"llo");
        Ok(())
    });
    assert_eq!(answer.unwrap(), b"hello");
}

#[test]
fn an_answer_too_long_is_cut() {
    let answer = host().aside("host.test", "x", LONG, |reply| {
        for _ in 0..100 {
            reply.push(&[7; 1000]);
        }
        Ok(())
    });
    assert_eq!(answer.unwrap().len(), super::ANSWER);
}

#[test]
fn a_failure_names_the_call_the_step_and_the_errno() {
    let error = host().aside("host.test", "/x", LONG, |reply| {
        reply.push(b"first\nsecond\n");
        Err(Failure::at("fsmount")(Errno::BUSY))
    });
    let error = error.unwrap_err();
    let text = "host.test /x: fsmount failed with EBUSY (first; second)";
    assert_eq!(error.to_string(), text);
    assert!(error.is_busy());
}

#[test]
fn every_step_named_in_this_crate_has_a_number() {
    let sources = [
        include_str!("../block_device.rs"),
        include_str!("../filesystem/grow.rs"),
        include_str!("../filesystem/survey.rs"),
        include_str!("../filesystem/usage.rs"),
        include_str!("../loop_device.rs"),
        include_str!("../mounts.rs"),
        include_str!("../paths.rs"),
        include_str!("../syscalls.rs"),
    ];
    let mut seen = 0;
    for source in sources {
        for (at, call) in source.match_indices("Failure::at(\"") {
            let name = source
                .get(at + call.len()..)
                .unwrap()
                .split('"')
                .next()
                .unwrap();
            assert!(super::STEPS.contains(&name), "{name} is missing in STEPS");
            seen += 1;
        }
    }
    assert!(
        seen > 30,
        "only {seen} steps found: has the spelling changed?"
    );
}

#[test]
fn a_hung_child_is_given_up_on_and_reaped() {
    let host = host();
    let started = Instant::now();
    let error = host.aside("host.test", "/hung", SHORT, |_| {
        sleep_for_ever();
        Ok(())
    });
    assert!(matches!(error.unwrap_err(), Error::Hung { waited, .. } if waited >= SHORT));
    assert!(started.elapsed() < Duration::from_secs(5));
    eventually("the killed child is reaped", || host.reap() == 0);
    // The target is free again.
    host.aside("host.test", "/hung", LONG, |_| Ok(())).unwrap();
}

/// A child of this process that stays, as one does that sleeps in the kernel and cannot be killed.
struct Stuck(std::process::Child);

impl Stuck {
    #[expect(clippy::disallowed_methods, reason = "it only has to be there")]
    fn start() -> Self {
        let child = std::process::Command::new("sleep").arg("600").spawn();
        Self(child.unwrap())
    }

    fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.0)
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        let _reaped_by_the_host = self.0.wait();
    }
}

#[test]
fn a_call_is_refused_while_an_earlier_one_is_stuck() {
    let (host, stuck) = (host(), Stuck::start());
    host.children.leave(stuck.pid(), "host.umount", "/m");
    let refused = |call, target: &str| {
        let error = host.aside(call, target, LONG, |_| Ok(())).err();
        error.is_some_and(|error| error.is_late())
    };
    assert!(refused("host.umount", "/m"));
    assert!(!refused("host.umount", "/other"));
    assert!(!refused("host.stat", "/m"));
    assert_eq!(host.reap(), 1);
    drop(stuck);
    eventually("it is reaped", || host.reap() == 0);
    assert!(!refused("host.umount", "/m"));
}

#[test]
fn a_mount_that_hangs_one_look_is_not_looked_at_again() {
    let (host, stuck, place) = (host(), Stuck::start(), crate::fixture::Place::new());
    let mount = |name: &str| {
        let target = place.directory(name);
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("test", target.as_path(), "tmpfs", flags, None).unwrap();
        target
    };
    let (hung, sound) = (mount("hung"), mount("sound"));
    host.children
        .leave(stuck.pid(), "host.stat", &hung.to_string());
    let started = Instant::now();
    assert!(host.usage(&hung).unwrap_err().is_late());
    assert!(
        host.entry(&hung.join("below").unwrap())
            .unwrap_err()
            .is_late()
    );
    host.usage(&sound).unwrap();
    host.entry(&place.path()).unwrap();
    // What takes it down is not refused.
    assert_eq!(host.unmount(&hung).unwrap().taken, 1);
    assert!(started.elapsed() < Duration::from_secs(10));
    // Something else is there now.
    host.entry(&hung.join("below").unwrap()).unwrap();
    drop(stuck);
}

#[test]
fn there_are_never_more_than_so_many_stuck_looks() {
    let (host, stuck) = (host(), Stuck::start());
    for number in 0..super::waiting::MOST_STUCK {
        let target = format!("/gone/{number}");
        host.children.leave(stuck.pid(), "host.statfs", &target);
    }
    let target = crate::fixture::path("/proc");
    assert!(host.usage(&target).unwrap_err().is_late());
    // Only mounts can hang.
    host.entry(&crate::fixture::path("/proc/self")).unwrap();
    host.aside("host.umount", "/m", LONG, |_| Ok(())).unwrap();
    drop(stuck);
    eventually("they are reaped", || host.reap() == 0);
    host.usage(&target).unwrap();
}

#[test]
fn a_look_is_not_made_twice_while_it_takes_unusually_long() {
    let host = host();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            host.aside("host.stat", "/slow", Duration::from_secs(12), |_| {
                sleep_for_ever();
                Ok(())
            })
        });
        eventually("the second look is refused", || {
            let second = host.aside("host.stat", "/slow", SHORT, |_| Ok(()));
            second.is_err_and(|error| matches!(error, Error::Hung { waited, .. } if waited > SHORT))
        });
        assert!(slow.join().unwrap().unwrap_err().is_late());
    });
    eventually("the killed child is reaped", || host.reap() == 0);
    host.aside("host.stat", "/slow", LONG, |_| Ok(())).unwrap();
}

#[test]
fn the_deadline_of_the_job_counts_too() {
    let deadline = Some(Instant::now() + SHORT);
    let progress = Progress::new();
    let _guard = job::enter(JobContext {
        request_id: "r".to_owned(),
        deadline,
        progress,
    });
    let error = host().aside("host.test", "/hung", LONG, |_| {
        sleep_for_ever();
        Ok(())
    });
    assert!(error.unwrap_err().is_late());
}

#[test]
fn a_child_that_dies_is_no_answer() {
    let error = host().aside("host.test", "/dies", LONG, |_| syscalls::exit_now(0));
    assert!(matches!(error.unwrap_err(), Error::ChildLost { target, .. } if target == "/dies"));
}

#[test]
fn a_child_holds_no_descriptor_of_the_parent() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let host = host();
    std::thread::scope(|scope| {
        let hung = scope.spawn(|| {
            host.aside("host.test", "/holder", Duration::from_secs(3), |_| {
                sleep_for_ever();
                Ok(())
            })
        });
        drop(writer);
        // The end comes only when no process holds the writing end any more.
        let started = Instant::now();
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
        assert!(started.elapsed() < Duration::from_secs(2));
        assert!(hung.join().unwrap().unwrap_err().is_late());
    });
}

#[test]
fn a_fault_at_the_door_keeps_the_child_from_starting() {
    let (host, ledger) = faulty("fail@1:host.test=ESTALE");
    let error = host.aside("host.test", "/x", LONG, |_| Ok(())).unwrap_err();
    assert!(error.is_dead_mount());
    host.aside("host.test", "/x", LONG, |_| Ok(())).unwrap();
    assert_eq!(ledger.total(), 2);
}

#[test]
fn many_threads_may_fork_at_once() {
    let host = host();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let host = &host;
            scope.spawn(move || {
                for round in 0..50_u8 {
                    let sent = [thread, round];
                    let answer = host.aside("host.test", thread, LONG, |reply| {
                        reply.push(&sent);
                        Ok(())
                    });
                    assert_eq!(answer.unwrap(), sent);
                }
            });
        }
    });
    assert_eq!(host.reap(), 0);
}
