//! Objects, omap and compound writes.

use ceph::{ImageOptions, ReadOp, WriteOp, read_many, write_many};
use cuttle_model::{ByteSize, Class, Explain, ImageName, PoolId, PoolName, RadosNamespace};

use std::time::Duration;

use crate::setup::{pool, random_name, setup, until};

#[test]
fn an_absent_object_is_an_answer() {
    let io = setup().io;
    assert_eq!(io.read("nothing", 10).unwrap(), None);
    assert_eq!(io.omap_get("nothing", &["k"]).unwrap(), None);
    assert_eq!(io.omap_all("nothing").unwrap(), None);
    assert_eq!(io.omap_page("nothing", "", "", 10).unwrap(), None);
    assert_eq!(
        io.exec("nothing", "rbd", "get_size", &[0; 8]).unwrap(),
        None
    );
    assert!(!io.remove("nothing").unwrap());
}

#[test]
fn omap_values_of_any_bytes_come_back_by_key() {
    let io = setup().io;
    let every_byte: Vec<u8> = (0..=255).collect();
    let entries = [("a", &b"1"[..]), ("empty", b""), ("bytes", &every_byte)];
    io.write("o", WriteOp::new().set_omap(&entries)).unwrap();
    let found = io
        .omap_get("o", &["bytes", "empty", "missing"])
        .unwrap()
        .unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(
        (found["bytes"].as_slice(), found["empty"].as_slice()),
        (&every_byte[..], &b""[..])
    );
    io.write("o", WriteOp::new().remove_omap_keys(&["a", "never-there"]))
        .unwrap();
    let left: Vec<String> = io.omap_all("o").unwrap().unwrap().into_keys().collect();
    assert_eq!(left, ["bytes", "empty"]);
}

#[test]
fn listing_pages_through_all_entries_in_order() {
    let io = setup().io;
    let keys: Vec<String> = (0..2500).map(|n| format!("csi.volume.{n:05}")).collect();
    for chunk in keys.chunks(500) {
        let entries: Vec<(&str, &str)> = chunk.iter().map(|key| (key.as_str(), "v")).collect();
        io.write(
            "dir",
            WriteOp::new()
                .set_omap(&entries)
                .set_omap(&[("other", "x")]),
        )
        .unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = io
            .omap_page("dir", &after, "csi.volume.", 700)
            .unwrap()
            .unwrap();
        assert!(page.entries.len() <= 700);
        seen.extend(page.entries.into_keys());
        after.clone_from(seen.last().unwrap());
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, keys);
    assert_eq!(io.omap_all("dir").unwrap().unwrap().len(), 2501);
}

#[test]
fn the_first_reservation_makes_the_directory_and_the_second_is_refused() {
    let io = setup().io;
    let reserve = |value: &str| {
        let guarded = WriteOp::new().create().compare_omap("pvc-1", None);
        io.write("dir", guarded.set_omap(&[("pvc-1", value)]))
    };
    reserve("uuid-1").unwrap();
    let refused = reserve("uuid-2").unwrap_err();
    assert!(refused.is_guard_failed(), "{refused}");
    assert_eq!(
        io.omap_get("dir", &["pvc-1"]).unwrap().unwrap()["pvc-1"],
        b"uuid-1"
    );
}

#[test]
fn a_guard_protects_all_steps() {
    let io = setup().io;
    io.write("o", WriteOp::new().set_omap(&[("k", "mine")]))
        .unwrap();
    let only_if = |value: &[u8]| {
        WriteOp::new()
            .compare_omap("k", Some(value))
            .remove_omap_keys(&["k"])
            .write_full(b"done")
    };
    assert!(
        io.write("o", only_if(b"theirs"))
            .unwrap_err()
            .is_guard_failed()
    );
    assert_eq!(io.read("o", 10).unwrap().unwrap(), b"");
    io.write("o", only_if(b"mine")).unwrap();
    assert_eq!(io.read("o", 10).unwrap().unwrap(), b"done");
    assert!(io.omap_all("o").unwrap().unwrap().is_empty());
}

#[test]
fn creation_is_exclusive_when_asked() {
    let io = setup().io;
    let exclusive = WriteOp::new().create_exclusive().set_omap(&[("a", "1")]);
    io.write("o", &exclusive).unwrap();
    assert!(io.write("o", &exclusive).unwrap_err().is_present());
    io.write("o", WriteOp::new().create()).unwrap();
    assert!(
        io.write("absent", WriteOp::new().assert_exists())
            .unwrap_err()
            .is_absent()
    );
    assert!(io.remove("o").unwrap());
    assert!(!io.remove("o").unwrap());
}

#[test]
fn namespaces_do_not_see_each_other() {
    let (one, other) = (setup(), setup());
    one.io
        .write("o", WriteOp::new().write_full(b"one"))
        .unwrap();
    assert_eq!(other.io.read("o", 10).unwrap(), None);
    assert_eq!(one.leftovers(), ["o"]);
    assert!(other.leftovers().is_empty());
}

#[test]
fn the_witness_sees_what_was_written() {
    let setup = setup();
    setup
        .io
        .write("o", WriteOp::new().set_omap(&[("key", "value")]))
        .unwrap();
    let namespace = setup.io.namespace().as_str();
    let words = ["-p", "rbd", "-N", namespace, "listomapkeys", "o"];
    assert_eq!(setup.witness.rados(&words).unwrap().trim(), "key");
}

#[test]
fn reads_and_writes_at_once_answer_in_order_and_one_failure_spoils_no_other() {
    let setup = setup();
    let io = &setup.io;
    let data = |text: &str| WriteOp::new().write_full(text.as_bytes());
    let writes = [data("one"), WriteOp::new().assert_exists(), data("three")];
    let outcomes = write_many(&[
        (io, "o1", &writes[0]),
        (io, "absent", &writes[1]),
        (io, "o3", &writes[2]),
    ]);
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert!(outcomes[1].as_ref().unwrap_err().is_absent());

    io.write("omap", WriteOp::new().set_omap(&[("k", "v")]))
        .unwrap();
    let mut replies = read_many(&[
        (io, ReadOp::data("o1", 100)),
        (io, ReadOp::data("absent", 100)),
        (io, ReadOp::omap_get("omap", &["k"])),
        (io, ReadOp::data("o3", 2)),
    ])
    .into_iter()
    .map(Result::unwrap);
    assert_eq!(replies.next().unwrap().unwrap().bytes, b"one");
    assert_eq!(replies.next().unwrap(), None);
    assert_eq!(replies.next().unwrap().unwrap().omap["k"], b"v");
    assert_eq!(replies.next().unwrap().unwrap().bytes, b"th");
    assert_eq!(setup.count("rados.read"), 2);
}

#[test]
fn pools_are_found_by_name_and_number_and_absent_ones_are_an_answer() {
    let setup = setup();
    let cluster = &setup.cluster;
    let id = cluster
        .pool_id(&pool())
        .unwrap()
        .expect("the pool `rbd` is there");
    assert_eq!(cluster.pool_name(id).unwrap(), Some(pool()));
    assert_eq!(id, setup.io.pool_id());
    let absent = PoolName::new(random_name("no-pool")).unwrap();
    assert_eq!(cluster.pool_id(&absent).unwrap(), None);
    assert_eq!(cluster.pool_name(PoolId::new(1 << 40)).unwrap(), None);
    assert_eq!(cluster.pool_name(PoolId::new(-1)).unwrap(), None);
    let refused = cluster.io(&absent, &RadosNamespace::default()).unwrap_err();
    assert!(refused.is_absent(), "{refused}");
}

#[test]
fn a_pool_made_after_the_connection_is_found() {
    let setup = setup();
    let name = random_name("pool");
    let new = PoolName::new(name.clone()).unwrap();
    assert_eq!(setup.cluster.pool_id(&new).unwrap(), None);
    setup.witness.bare_pool(&name).unwrap();
    let io = setup.cluster.io(&new, &RadosNamespace::default()).unwrap();
    assert!(!io.pool_is_initialised().unwrap());
    setup.witness.rbd(&["pool", "init", &name]).unwrap();
    assert!(io.pool_is_initialised().unwrap());
    setup.witness.remove_pool(&name).unwrap();
    // Using it is what tells the client that it is gone.
    let write = || io.write("o", WriteOp::new().create());
    let gone = || write().is_err_and(|error| error.is_absent());
    assert!(until(Duration::from_secs(30), gone));
    assert_eq!(setup.cluster.pool_id(&new).unwrap(), None);
}

#[test]
fn a_full_pool_is_told_at_once_and_removing_still_works() {
    let setup = setup();
    let name = random_name("full");
    setup.witness.pool(&name).unwrap();
    let full = PoolName::new(name.clone()).unwrap();
    let io = setup.cluster.io(&full, &RadosNamespace::default()).unwrap();
    let write = |object: &str| io.write(object, WriteOp::new().write_full(b"x"));
    write("o").unwrap();
    setup
        .witness
        .json(&["osd", "pool", "set-quota", &name, "max_objects", "1"])
        .unwrap();
    // The monitors notice with the next statistics; what adds nothing is let through for ever.
    let is_full = || write(&random_name("more")).is_err_and(|error| error.is_full());
    assert!(until(Duration::from_secs(60), is_full));
    let options = ImageOptions {
        features: Some(1),
        ..ImageOptions::default()
    };
    let image = ImageName::new("i").unwrap();
    let error = io
        .create_image(&image, ByteSize::MIB, &options)
        .unwrap_err();
    assert_eq!(error.class(), Class::Full, "{error}");
    assert!(io.remove("o").unwrap());
    setup.witness.remove_pool(&name).unwrap();
}

#[test]
fn the_same_context_is_shared_without_a_call() {
    let setup = setup();
    let before = setup.doors.ledger().total();
    let again = setup.cluster.io(&pool(), setup.io.namespace()).unwrap();
    assert!(again.pool_is_initialised().unwrap());
    assert_eq!(again.pool_id(), setup.io.pool_id());
    assert_eq!(setup.doors.ledger().total(), before);
}
