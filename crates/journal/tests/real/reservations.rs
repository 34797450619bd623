//! Names, makers and commits: what of several callers can happen, and what cannot.

use std::sync::Barrier;
use std::thread;

use cuttle_journal::{DirectoryEntry, JournalError, Kind, LocateError, Record, Reserved, locate};
use cuttle_model::{
    Class, ComposedHandle, Explain, ImageId, InstanceId, ObjectUuid, PoolId, RadosNamespace,
};

use crate::setup::{name, setup, uuid};

fn record(co_name: &str, maker: &str) -> Record {
    let image = cuttle_model::ImageName::new(format!("image-of-{co_name}")).unwrap();
    Record::new(Kind::Volume, name(co_name), image, None, maker.to_owned())
}

#[test]
fn of_many_offers_one_is_taken() {
    let setup = setup();
    let co_name = name("pvc-1");
    let barrier = Barrier::new(16);
    let outcomes: Vec<(ObjectUuid, Reserved)> = thread::scope(|scope| {
        let callers: Vec<_> = (0..16)
            .map(|_| {
                scope.spawn(|| {
                    let offered = ObjectUuid::random();
                    barrier.wait();
                    let reserved = setup.journal.reserve(&co_name, &offered).unwrap();
                    (offered, reserved)
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    });
    let winners: Vec<&ObjectUuid> = outcomes
        .iter()
        .filter(|(_, reserved)| *reserved == Reserved::New)
        .map(|(offered, _)| offered)
        .collect();
    assert_eq!(winners.len(), 1);
    let taken = Reserved::Taken(DirectoryEntry::same_pool(winners[0].clone()));
    let losers = outcomes.iter().filter(|(offered, _)| offered != winners[0]);
    assert!(losers.clone().all(|(_, reserved)| *reserved == taken));
    assert_eq!(losers.count(), 15);
}

#[test]
fn only_the_maker_commits_and_only_once() {
    let setup = setup();
    let journal = &setup.journal;
    let (co_name, uuid) = (name("pvc-1"), ObjectUuid::random());
    let (one, other) = (ImageId::new("aa").unwrap(), ImageId::new("bb").unwrap());
    let vanished = |outcome: Result<(), JournalError>| {
        matches!(outcome, Err(JournalError::RecordVanished { .. }))
    };
    assert!(vanished(journal.commit(&co_name, &uuid, &one, "x")));
    assert!(!journal.take_over(&uuid, None, "x").unwrap());
    assert_eq!(journal.load(&uuid).unwrap(), None);

    assert!(journal.write_record(&uuid, &record("pvc-1", "x")).unwrap());
    assert!(!journal.write_record(&uuid, &record("pvc-1", "y")).unwrap());
    assert!(vanished(journal.commit(&co_name, &uuid, &one, "y")));
    assert!(vanished(journal.commit(&name("pvc-2"), &uuid, &one, "x")));
    assert!(!journal.take_over(&uuid, Some("y"), "z").unwrap());
    assert!(!journal.take_over(&uuid, None, "z").unwrap());
    assert!(journal.take_over(&uuid, Some("x"), "z").unwrap());
    assert!(vanished(journal.commit(&co_name, &uuid, &one, "x")));

    journal.commit(&co_name, &uuid, &one, "z").unwrap();
    assert!(vanished(journal.commit(&co_name, &uuid, &other, "z")));
    assert!(!journal.take_over(&uuid, None, "w").unwrap());
    let committed = journal.load(&uuid).unwrap().unwrap();
    assert_eq!((committed.image_id, committed.maker), (Some(one), None));
}

#[test]
fn an_empty_record_is_filled_once() {
    let setup = setup();
    let journal = &setup.journal;
    let uuid = ObjectUuid::random();
    let missing = journal
        .complete_record(&uuid, &record("pvc-1", "x"))
        .unwrap_err();
    assert!(
        matches!(missing, JournalError::RecordVanished { .. }),
        "{missing}"
    );
    let object = Kind::Volume.record_object(&uuid);
    setup
        .io
        .write(&object, ceph::WriteOp::new().create_exclusive())
        .unwrap();
    assert!(
        journal
            .complete_record(&uuid, &record("pvc-1", "x"))
            .unwrap()
    );
    assert!(
        !journal
            .complete_record(&uuid, &record("pvc-1", "y"))
            .unwrap()
    );
    assert_eq!(
        journal.load(&uuid).unwrap().unwrap().maker.as_deref(),
        Some("x")
    );
}

#[test]
fn a_name_is_freed_for_its_own_uuid_alone() {
    let setup = setup();
    let journal = &setup.journal;
    let co_name = name("pvc-1");
    let (old, new) = (ObjectUuid::random(), ObjectUuid::random());
    journal.forget_name(&co_name, &old).unwrap();
    assert_eq!(journal.reserve(&co_name, &new).unwrap(), Reserved::New);
    journal.forget_name(&co_name, &old).unwrap();
    assert_eq!(
        journal.find(&co_name).unwrap(),
        Some(DirectoryEntry::same_pool(new.clone()))
    );
    journal.forget_name(&co_name, &new).unwrap();
    journal.forget_name(&co_name, &new).unwrap();
    assert_eq!(journal.find(&co_name).unwrap(), None);
    // The other form of the same entry, as an older release may have written it.
    let entry = DirectoryEntry {
        uuid: new.clone(),
        image_pool: Some(setup.io.pool_id()),
    };
    let key = Kind::Volume.directory_key(&co_name);
    let write = ceph::WriteOp::new().set_omap(&[(key, entry.encode())]);
    setup.io.write("csi.volumes.default", write).unwrap();
    journal.forget_name(&co_name, &new).unwrap();
    assert_eq!(journal.find(&co_name).unwrap(), None);
    journal.forget_record(&new).unwrap();
}

#[test]
fn instances_do_not_see_each_other() {
    let setup = setup();
    let east = InstanceId::new("east").unwrap();
    let other = cuttle_journal::Journal::new(Kind::Volume, setup.io.clone(), &east);
    let (co_name, first, second) = (name("pvc-1"), ObjectUuid::random(), ObjectUuid::random());
    assert_eq!(
        setup.journal.reserve(&co_name, &first).unwrap(),
        Reserved::New
    );
    assert_eq!(other.reserve(&co_name, &second).unwrap(), Reserved::New);
    assert_eq!(setup.journal.search(&second).unwrap(), None);
    assert_eq!(other.search(&second).unwrap(), Some(co_name));
}

#[test]
fn a_long_directory_is_read_page_by_page() {
    let setup = setup();
    let entries: Vec<(String, String)> = (0..2500)
        .map(|number| {
            (
                format!("csi.volume.pvc-{number:04}"),
                ObjectUuid::random().to_string(),
            )
        })
        .collect();
    let mut all = entries.clone();
    // What is no volume of ours is passed over.
    all.push((
        "csi.volume.pvc-0500-moved".to_owned(),
        "0001-0004-east-0000".to_owned(),
    ));
    all.push((
        "csi.snap.snapshot-1".to_owned(),
        ObjectUuid::random().to_string(),
    ));
    let write = ceph::WriteOp::new().set_omap(&all);
    setup.io.write("csi.volumes.default", write).unwrap();
    let mut listed = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = setup.journal.page(after.as_deref(), 700).unwrap();
        assert!(page.entries.len() <= 700);
        listed.extend(
            page.entries
                .into_iter()
                .map(|(name, entry)| (format!("csi.volume.{name}"), entry.uuid.to_string())),
        );
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, entries);
    let last = uuid(&entries.last().unwrap().1);
    assert_eq!(setup.journal.search(&last).unwrap(), Some(name("pvc-2499")));
    assert_eq!(setup.journal.search(&ObjectUuid::random()).unwrap(), None);
}

#[test]
fn a_pool_that_is_gone_is_told_from_a_record_that_is() {
    let setup = setup();
    let mut handle = ComposedHandle {
        cluster: setup.settings.id.clone(),
        location: setup.io.pool_id().get(),
        uuid: ObjectUuid::random(),
    };
    let found = locate(&setup.cluster, &setup.settings, &handle).unwrap();
    assert_eq!((found.record, found.image_id), (None, None));
    assert_eq!(found.image.as_str(), format!("csi-vol-{}", handle.uuid));
    handle.location = i64::MAX;
    let error = locate(&setup.cluster, &setup.settings, &handle).unwrap_err();
    assert!(
        matches!(&error, LocateError::PoolGone { pool, .. } if *pool == PoolId::new(i64::MAX)),
        "{error}"
    );
    assert_eq!(error.class(), Class::Absent);
    // Namespaces are separate worlds.
    let mut settings = setup.settings.clone();
    settings.rbd.namespace = RadosNamespace::default();
    handle.location = setup.io.pool_id().get();
    assert!(
        setup
            .journal
            .write_record(&handle.uuid, &record("pvc-1", "x"))
            .unwrap()
    );
    assert_eq!(
        locate(&setup.cluster, &settings, &handle).unwrap().record,
        None
    );
    assert!(
        locate(&setup.cluster, &setup.settings, &handle)
            .unwrap()
            .record
            .is_some()
    );
}
