//! Many requests at once, repeated and cancelled at random, end with exactly the expected set.

use std::collections::BTreeSet;

use cuttle_csi::v1;
use tonic::Request;

use super::{FsWorld, META};
use crate::calls::{Client, MIB};
use crate::storm::{CONNECTIONS, Numbers, cancel_after, settled, storm};

const VOLUMES: usize = 100;
/// Of those, this many are deleted while the others are asked for again.
const DELETED: usize = 60;

/// A request of the storm.
#[derive(Clone)]
enum Ask {
    Create(v1::CreateVolumeRequest),
    Delete(v1::DeleteVolumeRequest),
}

fn raise(socket: &std::path::Path, asks: &[(Ask, Option<std::time::Duration>)]) -> usize {
    let outcomes = storm(socket, asks, async |mut client, ask| match ask {
        Ask::Create(request) => client.create_volume(Request::new(request)).await.map(drop),
        Ask::Delete(request) => client.delete_volume(Request::new(request)).await.map(drop),
    });
    assert!(outcomes.done > 0, "{outcomes:?}");
    outcomes.cancelled
}

impl FsWorld {
    /// Exactly these volumes, by their names in all three places: [`FsWorld::assert_exactly`] looks
    /// at each, which takes long with a hundred of them.
    #[track_caller]
    fn assert_names(&self, when: &str, volumes: &[(&str, &v1::Volume)]) {
        let rados = |words: &[&str]| {
            let all = ["-p", META, "-N", &self.group];
            let text = self.world.cluster.rados(&[&all, words].concat()).unwrap();
            let lines = text.lines().map(str::to_owned);
            lines.collect::<BTreeSet<String>>()
        };
        let (mut names, mut records, mut subvolumes) =
            <(BTreeSet<_>, BTreeSet<_>, BTreeSet<_>)>::default();
        for (name, volume) in volumes {
            let handle = &volume.volume_id;
            let uuid = handle.get(handle.len() - 36..).unwrap();
            names.insert(format!("csi.volume.{name}"));
            records.insert(format!("csi.volume.{uuid}"));
            subvolumes.insert(volume.volume_context["subvolumeName"].clone());
        }
        let mut objects = rados(&["ls"]);
        objects.retain(|object| !object.starts_with("csi.volumes."));
        assert_eq!(objects, records, "{when}");
        let keys = rados(&["listomapkeys", "csi.volumes.default"]);
        assert_eq!(keys, names, "{when}");
        assert_eq!(self.subvolumes(), subvolumes, "{when}");
    }
}

#[test]
fn two_hundred_requests_with_repeats_and_cancellations_end_with_the_expected_set() {
    let fs = FsWorld::new();
    let driver = fs.start_named("driver", &[]);
    let socket = driver.driver.socket().unwrap().to_owned();
    let mut numbers = Numbers(0x5eed_cafe);
    let names: Vec<String> = (0..VOLUMES).map(|n| format!("pvc-storm-{n}")).collect();
    let create = |name: &str| fs.create_request(name, 20 * MIB);

    let mut asks = Vec::new();
    for name in &names {
        for _ in 0..=numbers.below(2) {
            asks.push((Ask::Create(create(name)), cancel_after(&mut numbers)));
        }
    }
    numbers.shuffle(&mut asks);
    let cancelled = raise(&socket, &asks);
    assert!(cancelled > 0, "nobody hung up");
    // The provisioner comes again for every claim until it has an answer.
    let volumes: Vec<v1::Volume> = names
        .iter()
        .map(|name| settled(|| driver.client.create(create(name))))
        .collect();
    let all: Vec<_> = names.iter().map(String::as_str).zip(&volumes).collect();
    fs.assert_names("after the creates", &all);

    let mut asks = Vec::new();
    let (deleted, kept) = all.split_at(DELETED);
    for (_, volume) in deleted {
        for _ in 0..=numbers.below(2) {
            let request = fs.delete_request(&volume.volume_id);
            asks.push((Ask::Delete(request), cancel_after(&mut numbers)));
        }
    }
    for (name, _) in kept {
        for _ in 0..=numbers.below(2) {
            asks.push((Ask::Create(create(name)), cancel_after(&mut numbers)));
        }
    }
    numbers.shuffle(&mut asks);
    raise(&socket, &asks);
    let delete = |volume: &v1::Volume| {
        let request = fs.delete_request(&volume.volume_id);
        settled(|| driver.client.delete_volume(request.clone()));
    };
    for (_, volume) in deleted {
        delete(volume);
    }
    for (name, volume) in kept {
        assert_eq!(settled(|| driver.client.create(create(name))), **volume);
    }
    fs.assert_names("after the deletes", kept);
    let (last, kept) = kept.split_at(4);
    for (_, volume) in kept {
        delete(volume);
    }
    fs.assert_exactly("the last four", last);
    for (_, volume) in last {
        delete(volume);
    }
    fs.assert_exactly("after the storm", &[]);
}

#[test]
fn thirty_two_callers_of_one_name_get_one_volume() {
    let fs = FsWorld::new();
    let driver = fs.start_named("driver", &[]);
    let socket = driver.driver.socket().unwrap().to_owned();
    let volumes: Vec<v1::Volume> = std::thread::scope(|scope| {
        let ask = || {
            let client = Client::connect(&socket);
            let volume = client.create(fs.create_request("one", 20 * MIB));
            volume.expect("a joined answer, not a refusal")
        };
        let callers: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(ask)).collect();
        let ended = callers.into_iter().map(|caller| caller.join().unwrap());
        ended.collect()
    });
    let handles: BTreeSet<&str> = volumes.iter().map(|one| one.volume_id.as_str()).collect();
    assert_eq!(handles.len(), 1);
    fs.assert_exactly("one volume", &[("one", &volumes[0])]);
    fs.delete(&driver.client, &volumes[0].volume_id);
    fs.assert_exactly("after one name was asked for by many", &[]);
}
