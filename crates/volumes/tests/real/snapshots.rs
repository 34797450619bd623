//! Snapshots, restores and clones: their whole life, in every order.

use cuttle_model::{Class, Explain, chain};
use cuttle_volumes::rbd::DeleteError;
use cuttle_volumes::{Deleted, SourceKind};

use crate::setup::{random_name, setup, when_free};
use crate::taken::{Taking as _, image_of};

#[test]
fn a_snapshot_is_taken_restored_and_removed() {
    let setup = setup();
    let volume = setup.volume("pvc");
    setup.write(&image_of(&volume), 0, b"before");
    let name = random_name("snapshot");
    let made = setup.take(&name, &volume).unwrap();
    assert_eq!(made.size, volume.size);
    assert_eq!(made.source, volume.handle);
    assert!(made.taken.elapsed().unwrap().as_secs() < 600, "{made:?}");
    setup.write(&image_of(&volume), 0, b"after!");
    setup.assert_snapshots("taken", &[&volume], &[(&name, &made, &volume)]);
    // The repeated request finds it.
    assert_eq!(setup.take(&name, &volume).unwrap(), made);
    setup.assert_snapshots("repeated", &[&volume], &[(&name, &made, &volume)]);

    let restored = setup.restore("restored", &made, &[]).unwrap();
    assert_eq!(setup.data(&image_of(&restored))[..6], *b"before");
    assert_eq!(setup.data(&image_of(&volume))[..6], *b"after!");
    // Not for whom the volume was, nor for whom the snapshot was.
    let metadata = setup.metadata(&image_of(&restored));
    assert_eq!(metadata["csi.storage.k8s.io/pv/name"], "restored");
    assert!(
        !metadata.to_string().contains("volumesnapshot"),
        "{metadata}"
    );
    let metadata = setup.metadata(&setup.image_of_snapshot(&made));
    assert_eq!(metadata["csi.storage.k8s.io/volumesnapshot/name"], name);
    assert!(!metadata.to_string().contains("/pv"), "{metadata}");

    // Volume before snapshot, snapshot before what was restored from it.
    assert_eq!(setup.delete(&volume.handle).unwrap(), Deleted::Removed);
    assert_eq!(setup.drop(&made).unwrap(), Deleted::Removed);
    assert_eq!(setup.drop(&made).unwrap(), Deleted::NothingThere);
    assert_eq!(setup.data(&image_of(&restored))[..6], *b"before");
    assert_eq!(setup.delete(&restored.handle).unwrap(), Deleted::Removed);
    setup.assert_nothing_left("all deleted");
}

#[test]
fn a_chain_of_restores_and_clones_keeps_its_data_when_its_parents_are_gone() {
    let setup = setup();
    let first = setup.volume("first");
    setup.write(&image_of(&first), 5 << 20, b"of the first");
    let snapshot = setup.take("s1", &first).unwrap();
    let restored = setup.restore("restored", &snapshot, &[]).unwrap();
    setup.write(&image_of(&restored), 9 << 20, b"of the restored");
    let clone = setup.clone_of("clone", &restored, &[]).unwrap();
    setup.write(&image_of(&clone), 13 << 20, b"of the clone");
    let second = setup.clone_of("second", &clone, &[]).unwrap();
    let data = setup.data(&image_of(&second));
    for (at, text) in [
        (5, &b"of the first"[..]),
        (9, b"of the restored"),
        (13, b"of the clone"),
    ] {
        assert_eq!(data[at << 20..][..text.len()], *text);
    }
    setup.drop(&snapshot).unwrap();
    for parent in [&first, &restored, &clone] {
        setup.delete(&parent.handle).unwrap();
    }
    assert!(setup.data(&image_of(&second)) == data);
    let last = setup.clone_of("last", &second, &[]).unwrap();
    setup.delete(&second.handle).unwrap();
    assert!(setup.data(&image_of(&last)) == data);
    setup.delete(&last.handle).unwrap();
    setup.assert_nothing_left("all deleted");
}

#[test]
fn a_name_belongs_to_one_source() {
    let setup = setup();
    let (one, other) = (setup.volume("one"), setup.volume("other"));
    let made = setup.take("s", &one).unwrap();
    let refused = setup.take("s", &other).unwrap_err();
    assert_eq!(refused.class(), Class::Exists, "{}", chain(&refused));
    let restored = setup.restore("r", &made, &[]).unwrap();
    let refused = setup.clone_of("r", &one, &[]).unwrap_err();
    assert_eq!(refused.class(), Class::Exists, "{}", chain(&refused));
    let refused = setup.create(&setup.request("r", &[])).unwrap_err();
    assert_eq!(refused.class(), Class::Exists, "{}", chain(&refused));
    let clone = setup.clone_of("c", &one, &[]).unwrap();
    let refused = setup.clone_of("c", &other, &[]).unwrap_err();
    assert_eq!(refused.class(), Class::Exists, "{}", chain(&refused));
    // The same requests again, also when the source is gone by now.
    assert_eq!(setup.restore("r", &made, &[]).unwrap(), restored);
    assert_eq!(setup.clone_of("c", &one, &[]).unwrap(), clone);
    setup.drop(&made).unwrap();
    setup.delete(&one.handle).unwrap();
    assert_eq!(setup.restore("r", &made, &[]).unwrap(), restored);
    assert_eq!(setup.clone_of("c", &one, &[]).unwrap(), clone);
    for volume in [&other, &restored, &clone] {
        setup.delete(&volume.handle).unwrap();
    }
    setup.assert_nothing_left("all deleted");
}

#[test]
fn what_is_not_there_is_not_taken() {
    let setup = setup();
    let volume = setup.volume("pvc");
    let made = setup.take("s", &volume).unwrap();
    setup.drop(&made).unwrap();
    setup.delete(&volume.handle).unwrap();
    let refused = setup.take("s", &volume).unwrap_err();
    assert_eq!(refused.class(), Class::Absent, "{}", chain(&refused));
    for kind in [SourceKind::Snapshot, SourceKind::Volume] {
        let handle = match kind {
            SourceKind::Snapshot => &made.handle,
            SourceKind::Volume => &volume.handle,
        };
        let refused = setup.create_from("r", kind, handle, &[]).unwrap_err();
        assert_eq!(refused.class(), Class::Absent, "{}", chain(&refused));
    }
    setup.assert_nothing_left("nothing made");
}

#[test]
fn what_was_flattened_by_hand_takes_nothing_from_its_clones() {
    let setup = setup();
    let volume = setup.volume("pvc");
    setup.write(&image_of(&volume), 5 << 20, b"of the volume");
    let snapshot = setup.take("s", &volume).unwrap();
    let restored = setup.restore("r", &snapshot, &[]).unwrap();
    let clone = setup.clone_of("c", &restored, &[]).unwrap();
    let data = setup.data(&image_of(&clone));
    assert_eq!(data[5 << 20..][..13], *b"of the volume");
    let flatten = |image: &str| {
        let words = ["flatten", "--no-progress", &setup.spec(image)];
        setup.witness.rbd(&words).unwrap();
    };
    flatten(&image_of(&restored));
    let refused = when_free(|| setup.delete(&restored.handle)).unwrap_err();
    assert_eq!(refused.class(), Class::Unmet, "{}", chain(&refused));
    assert!(matches!(refused, DeleteError::HalfFlattened { .. }));
    when_free(|| setup.drop(&snapshot)).unwrap();
    when_free(|| setup.delete(&volume.handle)).unwrap();
    assert!(setup.data(&image_of(&clone)) == data);
    // What the error advises.
    flatten(&image_of(&clone));
    when_free(|| setup.delete(&restored.handle)).unwrap();
    assert!(setup.data(&image_of(&clone)) == data);
    when_free(|| setup.delete(&clone.handle)).unwrap();
    setup.assert_nothing_left("all deleted");
}

#[test]
fn twenty_restores_of_one_snapshot_at_once() {
    let setup = setup();
    let volume = setup.volume("pvc");
    setup.write(&image_of(&volume), 5 << 20, b"of the volume");
    let snapshot = setup.take("s", &volume).unwrap();
    // The snapshot needs its volume no longer.
    when_free(|| setup.delete(&volume.handle)).unwrap();
    let restored: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..20_u64)
            .map(|number| {
                let mut request = setup.request(&format!("r{number}"), &[]);
                // Every other is bigger than the snapshot.
                request.range = crate::setup::range(16 + number % 2 * 8, None);
                request.source = Some(cuttle_volumes::ContentSource {
                    kind: SourceKind::Snapshot,
                    handle: snapshot.handle.clone(),
                });
                let setup = &setup;
                scope.spawn(move || setup.create(&request).unwrap())
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    for (number, volume) in restored.iter().enumerate() {
        let data = setup.data(&image_of(volume));
        let size = if number % 2 == 0 { 16 << 20 } else { 24 << 20 };
        assert_eq!(data.len(), size, "r{number}");
        assert_eq!(data[5 << 20..][..13], *b"of the volume", "r{number}");
        assert!(data[16 << 20..].iter().all(|byte| *byte == 0), "r{number}");
    }
    when_free(|| setup.drop(&snapshot)).unwrap();
    for volume in &restored {
        when_free(|| setup.delete(&volume.handle)).unwrap();
    }
    setup.assert_nothing_left("all deleted");
}
