//! Claims, lanes and callers under many threads, cancellations and panics.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use super::*;
use cuttle_model::{Class, Code, Explain, Left};

mod crowd;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn options(threads: usize, queue: usize) -> DispatchOptions {
    let limits = LaneLimits { threads, queue };
    DispatchOptions {
        cluster: limits,
        stage: limits,
        publish: limits,
        unmount: limits,
        probe: limits,
        longest_job: Duration::from_secs(60),
    }
}

fn ask(rpc: Rpc, keys: &[Key], content: &str) -> Ask {
    Ask {
        rpc,
        request_id: Arc::from(format!("test-{content}")),
        keys: keys.iter().map(|key| (key.clone(), Hold::Alone)).collect(),
        fingerprint: Fingerprint::of(content.as_bytes()),
        lane: LaneName::Cluster(Arc::from("c1")),
    }
}

fn name(text: &str) -> Key {
    Key::Name(text.to_owned())
}

fn conflict_of<T: std::fmt::Debug>(result: Result<T, Refusal>) -> Holder {
    let refusal = result.unwrap_err();
    let Refusal::Conflict { holder, .. } = refusal else {
        panic!("not a conflict: {refusal}");
    };
    *holder
}

/// Polls until `done`, for at most ten seconds.
fn eventually(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "not within 10 s: {what}");
        std::thread::yield_now();
    }
}

/// Work that tells when it runs and ends when it is let go.
struct Gate {
    entered: mpsc::Receiver<()>,
    leave: mpsc::Sender<()>,
}

fn gated<T: Send + 'static>(
    result: T,
) -> (Gate, impl FnOnce() -> Result<T, Failure> + Send + 'static) {
    let (enter, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let work = move || {
        enter.send(()).unwrap();
        // A dropped gate lets go as well.
        let _ = left.recv();
        Ok(result)
    };
    (Gate { entered, leave }, work)
}

#[test]
fn an_equal_request_joins_and_shares_the_result() {
    let dispatcher = Dispatcher::new(options(2, 2));
    let (gate, work) = gated(7_u32);
    let first = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("a")], "x"), work)
        .unwrap();
    gate.entered.recv().unwrap();
    let second = dispatcher
        .submit(
            ask(Rpc::CreateVolume, &[name("a")], "x"),
            || -> Result<u32, Failure> { panic!("the second request must not run") },
        )
        .unwrap();
    assert!(!first.joined());
    assert!(second.joined());
    assert_eq!(second.job_request_id(), "test-x");
    assert_eq!(dispatcher.open_jobs(), 1);
    gate.leave.send(()).unwrap();
    let (a, b) = runtime().block_on(async { tokio::join!(first.wait(None), second.wait(None)) });
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(*a, 7);
    assert!(Arc::ptr_eq(&a, &b));
    assert_eq!(dispatcher.held_keys(), 0);
}

#[test]
fn another_request_for_the_same_key_is_told_who_holds_it() {
    let dispatcher = Dispatcher::new(options(2, 2));
    let (gate, work) = gated(());
    let ticket = dispatcher
        .submit(
            ask(Rpc::DeleteVolume, &[Key::Volume("v".into())], "x"),
            move || {
                let job = cuttle_door::job::current().unwrap();
                job.progress.set("rbd.trash_move pool/img");
                work()
            },
        )
        .unwrap();
    gate.entered.recv().unwrap();
    assert_eq!(dispatcher.jobs().len(), 1);
    let conflict = dispatcher.submit(
        ask(Rpc::ControllerExpandVolume, &[Key::Volume("v".into())], "y"),
        || Ok(()),
    );
    let text = conflict.as_ref().unwrap_err().to_string();
    let holder = conflict_of(conflict);
    assert_eq!(holder.rpc, Rpc::DeleteVolume);
    assert_eq!(&*holder.request_id, "test-x");
    assert_eq!(holder.step, "rbd.trash_move pool/img");
    assert!(
        text.starts_with("volume \"v\" is held by DeleteVolume (request test-x), 0."),
        "{text}"
    );
    drop((ticket, gate));
    eventually("claim released", || dispatcher.held_keys() == 0);
}

#[test]
fn the_same_call_with_other_content_conflicts() {
    let dispatcher = Dispatcher::new(options(2, 2));
    let (gate, work) = gated(());
    let _ticket = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("a")], "1 GiB"), work)
        .unwrap();
    gate.entered.recv().unwrap();
    let other = dispatcher.submit(ask(Rpc::CreateVolume, &[name("a")], "2 GiB"), || Ok(()));
    assert_eq!(conflict_of(other).rpc, Rpc::CreateVolume);
}

#[test]
fn shared_keys_go_together_and_keep_out_the_lonely() {
    let dispatcher = Dispatcher::new(options(4, 4));
    let volume = Key::NodeVolume("v".into());
    let publish = |target: &str| {
        let mut ask = ask(
            Rpc::NodePublishVolume,
            &[Key::Target(target.into())],
            target,
        );
        ask.keys.push((volume.clone(), Hold::Shared));
        ask
    };
    let (gate_1, work_1) = gated(());
    let (gate_2, work_2) = gated(());
    let _first = dispatcher.submit(publish("/a"), work_1).unwrap();
    let _second = dispatcher.submit(publish("/b"), work_2).unwrap();
    gate_1.entered.recv().unwrap();
    gate_2.entered.recv().unwrap();
    let unstage = || {
        ask(
            Rpc::NodeUnstageVolume,
            std::slice::from_ref(&volume),
            "unstage",
        )
    };
    conflict_of(dispatcher.submit(unstage(), || Ok(())));
    drop((gate_1, gate_2));
    eventually("both ended", || dispatcher.open_jobs() == 0);
    let (gate, work) = gated(());
    let _unstage = dispatcher.submit(unstage(), work).unwrap();
    gate.entered.recv().unwrap();
    conflict_of(dispatcher.submit(publish("/c"), || Ok(())));
}

#[test]
fn a_job_outlives_its_caller_and_a_repeat_joins_it() {
    let dispatcher = Dispatcher::new(options(1, 1));
    let (gate, work) = gated(1_u8);
    let ticket = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("a")], "x"), work)
        .unwrap();
    gate.entered.recv().unwrap();
    drop(ticket);
    let again = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("a")], "x"), || Ok(2_u8))
        .unwrap();
    assert!(again.joined());
    gate.leave.send(()).unwrap();
    assert_eq!(*runtime().block_on(again.wait(None)).unwrap(), 1);
}

#[test]
fn a_deadline_ends_only_the_waiting_and_names_the_step() {
    let dispatcher = Dispatcher::new(options(1, 1));
    let (gate, work) = gated(5_u8);
    let ticket = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("a")], "x"), work)
        .unwrap();
    gate.entered.recv().unwrap();
    let late = runtime()
        .block_on(ticket.wait(Some(Instant::now() + Duration::from_millis(5))))
        .unwrap_err();
    assert_eq!(
        (late.class(), late.left()),
        (Class::Late, Left::MaybeRunning)
    );
    assert!(late.to_string().contains("at step \"starting\""), "{late}");
    assert!(late.remedy().unwrap().contains("join"));
    assert_eq!(dispatcher.open_jobs(), 1);
    let again = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("a")], "x"), || Ok(6_u8))
        .unwrap();
    drop(gate);
    assert_eq!(*runtime().block_on(again.wait(None)).unwrap(), 5);
}

#[test]
fn a_queued_job_that_nobody_waits_for_is_dropped_unbegun() {
    let dispatcher = Dispatcher::new(options(1, 4));
    let (gate, work) = gated(());
    let blocker = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("a")], "x"), work)
        .unwrap();
    gate.entered.recv().unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&ran);
    let queued = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("b")], "y"), move || {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
        .unwrap();
    drop(queued);
    gate.leave.send(()).unwrap();
    runtime().block_on(blocker.wait(None)).unwrap();
    eventually("queue empty", || dispatcher.open_jobs() == 0);
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert_eq!(dispatcher.held_keys(), 0);
}

#[test]
fn a_full_lane_refuses_and_other_lanes_go_on() {
    let dispatcher = Dispatcher::new(options(1, 1));
    let (gate, work) = gated(());
    let _running = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("a")], "a"), work)
        .unwrap();
    gate.entered.recv().unwrap();
    let _queued = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("b")], "b"), || Ok(()))
        .unwrap();
    let refused = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("c")], "c"), || Ok(()))
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "lane \"cluster c1\" is full: 1 jobs run and 1 wait"
    );
    assert_eq!(
        (refused.class(), refused.left()),
        (Class::Full, Left::MaybeRunning)
    );
    let mut elsewhere = ask(Rpc::CreateVolume, &[name("c")], "c");
    elsewhere.lane = LaneName::Cluster(Arc::from("c2"));
    let ticket = dispatcher.submit(elsewhere, || Ok(3_u8)).unwrap();
    assert_eq!(*runtime().block_on(ticket.wait(None)).unwrap(), 3);
}

#[test]
fn a_panic_is_told_to_all_callers_and_frees_the_claim() {
    let dispatcher = Dispatcher::new(options(1, 1));
    let (gate, work) = gated(());
    let panicking = move || -> Result<(), Failure> {
        work()?;
        panic!("boom")
    };
    let first = dispatcher
        .submit(ask(Rpc::DeleteVolume, &[name("a")], "x"), panicking)
        .unwrap();
    gate.entered.recv().unwrap();
    let second = dispatcher
        .submit(ask(Rpc::DeleteVolume, &[name("a")], "x"), || Ok(()))
        .unwrap();
    drop(gate);
    for ticket in [first, second] {
        let error = runtime().block_on(ticket.wait(None)).unwrap_err();
        assert_eq!(error.class(), Class::Bug);
        assert!(error.to_string().ends_with("boom"), "{error}");
    }
    assert_eq!(dispatcher.panics(), 1);
    assert_eq!(dispatcher.held_keys(), 0);
    // The lane's thread has survived.
    let next = dispatcher
        .submit(ask(Rpc::DeleteVolume, &[name("a")], "x"), || Ok(1))
        .unwrap();
    assert_eq!(*runtime().block_on(next.wait(None)).unwrap(), 1);
}

#[test]
fn drain_lets_running_jobs_end_and_refuses_the_rest() {
    let dispatcher = Dispatcher::new(options(1, 4));
    let (gate, work) = gated(1_u8);
    let running = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("a")], "a"), work)
        .unwrap();
    gate.entered.recv().unwrap();
    let queued = dispatcher
        .submit(ask(Rpc::CreateVolume, &[name("b")], "b"), || Ok(2_u8))
        .unwrap();
    let runtime = runtime();
    let left = runtime.block_on(dispatcher.drain(Duration::from_millis(1)));
    assert_eq!(left, 1);
    let refused = runtime.block_on(queued.wait(None)).unwrap_err();
    assert_eq!(refused.code(), Code::new(1705));
    let late = dispatcher.submit(ask(Rpc::CreateVolume, &[name("c")], "c"), || Ok(()));
    assert!(matches!(late, Err(Refusal::ShuttingDown)));
    gate.leave.send(()).unwrap();
    assert_eq!(
        runtime.block_on(dispatcher.drain(Duration::from_secs(10))),
        0
    );
    assert_eq!(*runtime.block_on(running.wait(None)).unwrap(), 1);
    assert_eq!(dispatcher.held_keys(), 0);
}

#[test]
fn the_job_knows_its_request() {
    let dispatcher = Dispatcher::new(options(1, 1));
    let ticket = dispatcher
        .submit(ask(Rpc::DeleteVolume, &[name("a")], "x"), || {
            Ok(cuttle_door::job::current().unwrap())
        })
        .unwrap();
    let context = runtime().block_on(ticket.wait(None)).unwrap();
    assert_eq!(context.request_id, "test-x");
    assert!(context.deadline.unwrap() > Instant::now());
}

#[test]
fn a_job_that_outlives_its_time_loses_its_place_but_not_its_claim() {
    let dispatcher = Dispatcher::new(DispatchOptions {
        longest_job: Duration::from_millis(50),
        ..options(1, 4)
    });
    let lane = || dispatcher.lanes()[0].1;
    let (gate, work) = gated(1_u32);
    let stuck = dispatcher
        .submit(ask(Rpc::DeleteVolume, &[name("a")], "a"), work)
        .unwrap();
    gate.entered.recv().unwrap();
    // One that waits already gets the place as soon as anybody asks for anything.
    let waiting = dispatcher
        .submit(ask(Rpc::DeleteVolume, &[name("b")], "b"), || Ok(2_u32))
        .unwrap();
    std::thread::sleep(Duration::from_millis(60));
    let holder = conflict_of(dispatcher.submit(
        ask(Rpc::DeleteVolume, &[name("a")], "other"),
        || -> Result<u32, Failure> { panic!("the volume is held") },
    ));
    assert_eq!(&*holder.request_id, "test-a");
    let runtime = runtime();
    assert_eq!(*runtime.block_on(waiting.wait(None)).unwrap(), 2);
    assert_eq!((lane().overdue, dispatcher.open_jobs()), (1, 1));
    // As many as the lane has threads may be out, no more.
    let (second_gate, work) = gated(3_u32);
    let second = dispatcher
        .submit(ask(Rpc::DeleteVolume, &[name("c")], "c"), work)
        .unwrap();
    second_gate.entered.recv().unwrap();
    std::thread::sleep(Duration::from_millis(60));
    let third = dispatcher
        .submit(ask(Rpc::DeleteVolume, &[name("d")], "d"), || Ok(4_u32))
        .unwrap();
    assert_eq!((lane().overdue, lane().threads, lane().queued), (1, 1, 1));

    gate.leave.send(()).unwrap();
    second_gate.leave.send(()).unwrap();
    assert_eq!(*runtime.block_on(stuck.wait(None)).unwrap(), 1);
    assert_eq!(*runtime.block_on(second.wait(None)).unwrap(), 3);
    assert_eq!(*runtime.block_on(third.wait(None)).unwrap(), 4);
    assert_eq!(dispatcher.held_keys(), 0);
    eventually("the thread that lost its place is gone", || {
        lane().overdue == 0 && lane().threads == 1
    });
}
