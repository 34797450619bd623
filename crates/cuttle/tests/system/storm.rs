//! Many requests at once, repeated and cancelled at random, end with exactly the expected set.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use cuttle_csi::v1;
use cuttle_csi::v1::controller_client::ControllerClient;
use tonic::{Code, Request};

use crate::calls::{Client, GIB, open};
use crate::world::World;

const VOLUMES: usize = 100;
pub(crate) const CONNECTIONS: usize = 32;

/// A small generator of reproducible numbers (xorshift64), so that a failure can be run again.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// How long a caller stays, if it is one of those that do not wait for the answer.
pub(crate) fn cancel_after(numbers: &mut Numbers) -> Option<Duration> {
    (numbers.below(4) == 0)
        .then(|| Duration::from_millis(u64::try_from(numbers.below(40)).unwrap()))
}

/// What became of one request.
enum Outcome {
    Done,
    Cancelled,
    /// Another operation held the volume; the caller is to come again.
    Busy,
}

/// How many requests ended in which way.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) done: usize,
    pub(crate) cancelled: usize,
    pub(crate) busy: usize,
}

/// Whether a refusal only asks to come again.
pub(crate) fn asks_to_come_again(code: Code) -> bool {
    matches!(
        code,
        Code::Aborted
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unavailable
            | Code::ResourceExhausted
    )
}

/// Sends every request from one of the connections; a request may be cancelled on the way.
pub(crate) fn storm<R: Clone + Send + 'static>(
    socket: &Path,
    requests: &[(R, Option<Duration>)],
    call: impl AsyncFn(ControllerClient<tonic::transport::Channel>, R) -> Result<(), tonic::Status>
    + Copy
    + Send
    + Sync,
) -> Outcomes {
    let shares: Vec<Vec<_>> = (0..CONNECTIONS)
        .map(|n| {
            requests
                .iter()
                .skip(n)
                .step_by(CONNECTIONS)
                .cloned()
                .collect()
        })
        .collect();
    let mut counts = Outcomes::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| {
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .unwrap();
                    runtime.block_on(async {
                        let channel = open(socket).await.expect("a connection");
                        let mut outcomes = Vec::new();
                        for (request, cancel_after) in share {
                            let client = ControllerClient::new(channel.clone());
                            let answer = call(client, request);
                            let limit = cancel_after.unwrap_or(Duration::from_secs(120));
                            outcomes.push(match tokio::time::timeout(limit, answer).await {
                                Err(_) => Outcome::Cancelled,
                                Ok(Ok(())) => Outcome::Done,
                                Ok(Err(status)) if asks_to_come_again(status.code()) => {
                                    Outcome::Busy
                                }
                                Ok(Err(status)) => panic!("refused: {status}"),
                            });
                        }
                        outcomes
                    })
                })
            })
            .collect();
        for thread in threads {
            for outcome in thread.join().expect("no refusal") {
                match outcome {
                    Outcome::Done => counts.done += 1,
                    Outcome::Cancelled => counts.cancelled += 1,
                    Outcome::Busy => counts.busy += 1,
                }
            }
        }
    });
    counts
}

#[test]
fn two_hundred_requests_with_repeats_and_cancellations_end_with_the_expected_set() {
    let world = World::new();
    let driver = world.start(&[]);
    let socket = driver.driver.socket().unwrap().to_owned();
    let mut numbers = Numbers(0x5eed_cafe);
    let names: Vec<String> = (0..VOLUMES).map(|n| format!("pvc-storm-{n}")).collect();

    let mut creates = Vec::new();
    for name in &names {
        for _ in 0..=numbers.below(2) {
            let cancel = cancel_after(&mut numbers);
            creates.push((world.create_request(name, GIB), cancel));
        }
    }
    numbers.shuffle(&mut creates);
    let outcomes = storm(&socket, &creates, async |mut client, request| {
        client.create_volume(Request::new(request)).await.map(drop)
    });
    assert!(outcomes.done > 0 && outcomes.cancelled > 0, "{outcomes:?}");

    // The provisioner comes again for every claim until it has an answer.
    let volumes: Vec<v1::Volume> = names
        .iter()
        .map(|name| settled(|| driver.client.create(world.create_request(name, GIB))))
        .collect();
    let handles: BTreeSet<&str> = volumes.iter().map(|v| v.volume_id.as_str()).collect();
    assert_eq!(handles.len(), VOLUMES);
    let contents = world.contents();
    let images: BTreeSet<String> = volumes
        .iter()
        .map(|v| v.volume_context["imageName"].clone())
        .collect();
    assert_eq!(contents.images, images);
    assert_eq!(contents.omap_keys["csi.volumes.default"].len(), VOLUMES);
    let records = contents
        .objects
        .iter()
        .filter(|o| o.starts_with("csi.volume."))
        .count();
    assert_eq!(records, VOLUMES);

    let mut deletes = Vec::new();
    for volume in &volumes {
        for _ in 0..=numbers.below(2) {
            let cancel = cancel_after(&mut numbers);
            deletes.push((world.delete_request(&volume.volume_id), cancel));
        }
    }
    numbers.shuffle(&mut deletes);
    let outcomes = storm(&socket, &deletes, async |mut client, request| {
        client.delete_volume(Request::new(request)).await.map(drop)
    });
    assert!(outcomes.done > 0, "{outcomes:?}");
    for volume in &volumes {
        settled(|| {
            driver
                .client
                .delete_volume(world.delete_request(&volume.volume_id))
        });
    }
    world.assert_ceph_empty("after the storm");
}

#[test]
fn thirty_two_callers_of_one_name_get_one_volume() {
    let world = World::new();
    let driver = world.start(&[]);
    let socket = driver.driver.socket().unwrap().to_owned();
    let handles: BTreeSet<String> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    Client::connect(&socket)
                        .create(world.create_request("one", GIB))
                        .expect("a joined answer, not a refusal")
                        .volume_id
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    });
    assert_eq!(handles.len(), 1);
    assert_eq!(world.contents().images.len(), 1);
    let handle = handles.first().unwrap();
    driver
        .client
        .delete_volume(world.delete_request(handle))
        .expect("a deletion");
    world.assert_ceph_empty("after one name was asked for by many");
}

#[test]
fn two_drivers_that_race_for_one_name_agree() {
    let world = World::new();
    let one = world.start_named("one", &[]);
    let two = world.start_named("two", &[]);
    for round in 0..10 {
        let name = format!("pvc-race-{round}");
        let (first, second) = std::thread::scope(|scope| {
            let ask = |socket: std::path::PathBuf| {
                let request = world.create_request(&name, GIB);
                scope.spawn(move || {
                    let client = Client::connect(&socket);
                    settled(|| client.create(request.clone()))
                })
            };
            let first = ask(one.driver.socket().unwrap().to_owned());
            let second = ask(two.driver.socket().unwrap().to_owned());
            (first.join().unwrap(), second.join().unwrap())
        });
        assert_eq!(first.volume_id, second.volume_id, "round {round}");
        assert_eq!(world.contents().images.len(), 1, "round {round}");
        one.client
            .delete_volume(world.delete_request(&first.volume_id))
            .expect("a deletion");
        world.assert_ceph_empty("after a race");
    }
}

/// Repeats a call as a sidecar would, as long as it is asked to.
pub(crate) fn settled<T>(mut call: impl FnMut() -> Result<T, tonic::Status>) -> T {
    cuttle_testbed::until(
        "the request is settled",
        Duration::from_secs(120),
        || match call() {
            Ok(value) => Ok(value),
            Err(status) if asks_to_come_again(status.code()) => Err(status.to_string()),
            Err(status) => panic!("refused: {status}"),
        },
    )
    .unwrap()
}
