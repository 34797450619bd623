//! How many calls to Ceph the operations make, held in a file that a change must touch.
//!
//! `docs/round-trips.md` explains each of them. `UPDATE_SNAPSHOTS=1` writes the file anew.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

use crate::calls::GIB;
use crate::world::{Running, World};

const HELD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/round_trips.txt");

/// The names of the calls through the Ceph door in the log so far, in order.
fn ceph_calls(driver: &Running) -> Vec<String> {
    driver
        .driver
        .log_text()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["target"] == "cuttle::door" && event["fields"]["door"] == "ceph")
        .filter_map(|event| Some(event["fields"]["call"].as_str()?.to_owned()))
        .collect()
}

/// Runs `work` and gives back the calls it made.
fn calls_of(driver: &Running, work: impl FnOnce()) -> Vec<String> {
    let before = ceph_calls(driver).len();
    work();
    ceph_calls(driver).split_off(before)
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the switch that writes the held file anew"
)]
fn the_calls_of_create_and_delete_are_as_held() {
    let world = World::new();
    let driver = world.start(&[]);
    let create = |name: &str| {
        driver
            .client
            .create(world.create_request(name, GIB))
            .expect("a volume")
            .volume_id
    };
    let delete = |handle: &str| {
        driver
            .client
            .delete_volume(world.delete_request(handle))
            .expect("a deletion");
    };
    let mut text = String::new();
    let mut tell = |what: &str, mut calls: Vec<String>| {
        // Calls that are made side by side end in any order.
        calls.sort();
        writeln!(
            text,
            "{what}: {} calls\n  {}\n",
            calls.len(),
            calls.join("\n  ")
        )
        .unwrap();
    };
    let mut handle = String::new();
    tell(
        "first create on a connection",
        calls_of(&driver, || handle = create("pvc-first")),
    );
    delete(&handle);
    tell(
        "create",
        calls_of(&driver, || handle = create("pvc-counted")),
    );
    tell(
        "repeated create",
        calls_of(&driver, || assert_eq!(create("pvc-counted"), handle)),
    );
    tell(
        "expand",
        calls_of(&driver, || {
            let request = world.expand_request(&handle, 2 * GIB);
            driver
                .client
                .controller_expand_volume(request)
                .expect("growth");
        }),
    );
    let mut plain = world.create_request("pvc-plain", GIB);
    let features = ("imageFeatures".to_owned(), "layering".to_owned());
    plain.parameters.extend([features]);
    let plain = driver.client.create(plain).expect("a volume").volume_id;
    tell(
        "expand of an image that is all header",
        calls_of(&driver, || {
            let request = world.expand_request(&plain, 2 * GIB);
            let grown = driver.client.controller_expand_volume(request);
            assert_eq!(grown.expect("growth").capacity_bytes, 2 * GIB);
        }),
    );
    delete(&plain);
    tell("delete", calls_of(&driver, || delete(&handle)));
    tell("repeated delete", calls_of(&driver, || delete(&handle)));
    world.assert_ceph_empty("after the counted calls");

    if std::env::var("UPDATE_SNAPSHOTS").is_ok() {
        std::fs::write(HELD, &text).expect("the held file");
    }
    let held = std::fs::read_to_string(Path::new(HELD)).unwrap_or_default();
    assert_eq!(
        text, held,
        "calls changed; see docs/round-trips.md, then UPDATE_SNAPSHOTS=1"
    );
}
