//! Many callers at once: duplicates, hang-ups and panics, with every claim accounted for.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// One caller's behaviour in the crowd.
#[derive(Debug, Clone, Copy)]
struct Move {
    volume: u8,
    content: u8,
    leaves_early: bool,
    panics: bool,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (0_u8..6, 0_u8..3, any::<bool>(), prop::bool::weighted(0.1)).prop_map(
        |(volume, content, leaves_early, panics)| Move {
            volume,
            content,
            leaves_early,
            panics,
        },
    );
    prop::collection::vec(one, 1..120)
}

/// What each volume's jobs may see: nobody else at work on the same volume.
#[derive(Default)]
struct Watch {
    inside: [AtomicUsize; 6],
    most: AtomicUsize,
    runs: AtomicUsize,
}

impl Watch {
    fn work(&self, step: Move) -> Result<u8, Failure> {
        let inside = &self.inside[usize::from(step.volume)];
        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.runs.fetch_add(1, Ordering::SeqCst);
        for _ in 0..50 {
            std::thread::yield_now();
        }
        inside.fetch_sub(1, Ordering::SeqCst);
        assert!(!step.panics, "planned");
        Ok(step.content)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn crowds_never_share_a_volume_and_leave_no_claim(moves in moves()) {
        let dispatcher = Dispatcher::new(options(3, 200));
        let watch = Arc::new(Watch::default());
        let outcomes = runtime().block_on(crowd(&dispatcher, &watch, &moves));
        eventually("all jobs ended", || dispatcher.open_jobs() == 0);
        prop_assert_eq!(dispatcher.held_keys(), 0);
        // None at all runs when every caller has left before the beginning.
        prop_assert!(watch.most.load(Ordering::SeqCst) <= 1);
        // Every run was either somebody's own or abandoned; nothing ran twice for one admission.
        prop_assert!(watch.runs.load(Ordering::SeqCst) <= outcomes["admitted"]);
        let panicked = dispatcher.panics();
        prop_assert!(panicked <= u64::try_from(moves.iter().filter(|m| m.panics).count()).unwrap());
        prop_assert_eq!(
            outcomes["admitted"] + outcomes["joined"] + outcomes["conflict"],
            moves.len()
        );
    }
}

async fn crowd(
    dispatcher: &Dispatcher,
    watch: &Arc<Watch>,
    moves: &[Move],
) -> BTreeMap<&'static str, usize> {
    let mut callers = Vec::new();
    let mut counts = BTreeMap::from([("admitted", 0), ("joined", 0), ("conflict", 0)]);
    for &step in moves {
        let content = format!("{}-{}-{}", step.volume, step.content, step.panics);
        let keys = [Key::Volume(step.volume.to_string())];
        let inner = Arc::clone(watch);
        match dispatcher.submit(ask(Rpc::DeleteVolume, &keys, &content), move || {
            inner.work(step)
        }) {
            Err(Refusal::Conflict { .. }) => *counts.get_mut("conflict").unwrap() += 1,
            Err(other) => panic!("{other}"),
            Ok(ticket) => {
                let kind = if ticket.joined() {
                    "joined"
                } else {
                    "admitted"
                };
                *counts.get_mut(kind).unwrap() += 1;
                if !step.leaves_early {
                    callers.push(tokio::spawn(async move {
                        match ticket.wait(None).await {
                            Ok(content) => assert_eq!(*content, step.content),
                            Err(error) => assert!(step.panics, "{error}"),
                        }
                    }));
                }
            }
        }
        tokio::task::yield_now().await;
    }
    for caller in callers {
        caller.await.unwrap();
    }
    counts
}

/// A small generator, so that every run of the crowd below is the same.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

#[test]
fn many_threads_with_duplicates_hang_ups_and_panics_account_for_every_claim() {
    const CALLERS: u64 = 8;
    const CALLS: usize = 150;
    let dispatcher = Dispatcher::new(options(4, 10_000));
    let watch = Arc::new(Watch::default());
    let runtime = runtime();
    let totals: Vec<[usize; 3]> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|seed| {
                let (dispatcher, watch, handle) = (&dispatcher, &watch, runtime.handle());
                scope.spawn(move || one_caller(dispatcher, watch, handle, Dice(seed), CALLS))
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    });
    eventually("all jobs ended", || dispatcher.open_jobs() == 0);
    let sum = |kind: usize| totals.iter().map(|total| total[kind]).sum::<usize>();
    let [admitted, joined, conflict] = [sum(0), sum(1), sum(2)];
    assert_eq!(
        admitted + joined + conflict,
        CALLS * usize::try_from(CALLERS).unwrap()
    );
    assert!(
        joined > 0 && conflict > 0,
        "{totals:?}: the crowd did not collide"
    );
    assert_eq!(watch.most.load(Ordering::SeqCst), 1);
    assert!(watch.runs.load(Ordering::SeqCst) <= admitted);
    assert_eq!(dispatcher.held_keys(), 0);
    assert!(dispatcher.panics() > 0);
}

/// Counts of admissions, joins and conflicts of one thread's calls.
fn one_caller(
    dispatcher: &Dispatcher,
    watch: &Arc<Watch>,
    handle: &tokio::runtime::Handle,
    mut dice: Dice,
    calls: usize,
) -> [usize; 3] {
    let mut counts = [0; 3];
    for _ in 0..calls {
        let step = Move {
            volume: u8::try_from(dice.throw(3)).unwrap(),
            content: u8::try_from(dice.throw(2)).unwrap(),
            leaves_early: dice.throw(4) == 0,
            panics: dice.throw(10) == 0,
        };
        let content = format!("{}-{}-{}", step.volume, step.content, step.panics);
        let keys = [Key::Volume(step.volume.to_string())];
        let inner = Arc::clone(watch);
        match dispatcher.submit(ask(Rpc::DeleteVolume, &keys, &content), move || {
            inner.work(step)
        }) {
            Err(Refusal::Conflict { .. }) => counts[2] += 1,
            Err(other) => panic!("{other}"),
            Ok(ticket) => {
                counts[usize::from(ticket.joined())] += 1;
                if !step.leaves_early {
                    match handle.block_on(ticket.wait(None)) {
                        Ok(content) => assert_eq!(*content, step.content),
                        Err(error) => assert!(step.panics, "{error}"),
                    }
                }
            }
        }
    }
    counts
}
