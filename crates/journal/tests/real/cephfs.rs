//! The journal of CephFS volumes: ceph-csi's layout, and each of its guarded writes.

use std::collections::BTreeMap;

use ceph::Io;
use cuttle_journal::{
    DirectoryEntry, JournalError, Kind, Reserved, SubvolumeJournal, SubvolumeRecord,
};
use cuttle_model::{CoName, InstanceId, ObjectUuid, PoolName, RadosNamespace, SubvolumePrefix};

use crate::fixture::{CEPHFS, Fixture};
use crate::setup::{Setup, name, setup};

/// The journal in the file system's metadata pool, in a namespace of the test's own.
fn journal(setup: &Setup) -> (Io, SubvolumeJournal) {
    let pool = PoolName::new("cephfs.meta").unwrap();
    let namespace = format!("j-{}", uuid::Uuid::new_v4().simple());
    let namespace = RadosNamespace::new(namespace).unwrap();
    let io = setup.cluster.io(&pool, &namespace).unwrap();
    let journal = SubvolumeJournal::new(io.clone(), &InstanceId::default());
    (io, journal)
}

fn record(co_name: &CoName, uuid: &ObjectUuid, maker: &str) -> SubvolumeRecord {
    let subvolume = SubvolumePrefix::default().subvolume_name(uuid);
    SubvolumeRecord::new(co_name.clone(), subvolume, None, maker.to_owned())
}

fn decoded(fixture: &Fixture) -> (CoName, ObjectUuid, SubvolumeRecord) {
    let (_, key, value) = fixture.entry();
    let co_name = CoName::new(key.strip_prefix("csi.volume.").unwrap()).unwrap();
    let uuid = DirectoryEntry::decode(value).unwrap().uuid;
    let record = SubvolumeRecord::decode(&uuid, fixture.record().1).unwrap();
    (co_name, uuid, record)
}

#[test]
fn every_recorded_layout_is_understood_and_written_alike() {
    for (name, fixture) in CEPHFS.map(|(name, text)| (name, Fixture::parse(text))) {
        let (co_name, uuid, record) = decoded(&fixture);
        assert_eq!(record.co_name.as_ref(), Some(&co_name), "{name}");
        assert!(record.subvolume.as_str().ends_with(uuid.as_str()), "{name}");
        assert_eq!(record.maker, None, "{name}");
        let written: BTreeMap<String, Vec<u8>> = record
            .encode()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        assert_eq!(written, *fixture.record().1, "{name}");
    }
    let of = |wanted: &str| {
        let (_, text) = CEPHFS.iter().find(|(name, _)| *name == wanted).unwrap();
        decoded(&Fixture::parse(text)).2
    };
    assert_eq!(of("encrypted").encryption_type.as_deref(), Some("file"));
    assert_eq!(of("encrypted").kms_id.as_deref(), Some("vault-tokens"));
    assert!(of("shallow").backing_snapshot.unwrap().starts_with("0001-"));
    assert_eq!(of("nfs").nfs_cluster.as_deref(), Some("nfs-a"));
    assert!(of("prefixed").subvolume.as_str().starts_with("team-"));
}

#[test]
fn a_finished_volume_is_ceph_csis_to_the_byte() {
    let setup = setup();
    let (io, journal) = journal(&setup);
    let plain = Fixture::parse(CEPHFS[0].1);
    let (co_name, uuid, made_by_csi) = decoded(&plain);
    assert_eq!(journal.reserve(&co_name, &uuid).unwrap(), Reserved::New);
    let record = SubvolumeRecord {
        maker: Some("me".to_owned()),
        ..made_by_csi
    };
    assert!(journal.write_record(&uuid, &record).unwrap());
    journal.commit(&co_name, &uuid, "me").unwrap();
    let objects = [plain.entry().0, plain.record().0];
    assert_eq!(setup.omaps(&io, &objects), plain.image);
    journal.forget_name(&co_name, &uuid).unwrap();
    journal.forget_record(&uuid).unwrap();
    let left = setup.omaps(&io, &objects);
    assert!(left.values().all(BTreeMap::is_empty), "{left:?}");
}

#[test]
fn of_two_makers_one_finishes() {
    let setup = setup();
    let (_, journal) = journal(&setup);
    let (co_name, uuid) = (name("v"), ObjectUuid::random());
    assert!(
        journal
            .write_record(&uuid, &record(&co_name, &uuid, "a"))
            .unwrap()
    );
    assert!(
        !journal
            .write_record(&uuid, &record(&co_name, &uuid, "b"))
            .unwrap()
    );
    assert!(!journal.take_over(&uuid, "x", "b").unwrap());
    assert!(journal.take_over(&uuid, "a", "b").unwrap());
    assert!(!journal.take_over(&uuid, "a", "c").unwrap());
    let late = journal.commit(&co_name, &uuid, "a").unwrap_err();
    assert!(
        matches!(late, JournalError::RecordVanished { .. }),
        "{late}"
    );
    assert!(!journal.forget_unfinished(&uuid, "a").unwrap());
    journal.forget_gone(&uuid).unwrap();
    assert_eq!(
        journal.load(&uuid).unwrap().unwrap().maker.as_deref(),
        Some("b"),
        "a volume in the making is not gone"
    );
    let other = journal.commit(&name("w"), &uuid, "b").unwrap_err();
    assert!(
        matches!(other, JournalError::RecordVanished { .. }),
        "{other}"
    );
    assert!(journal.forget_unfinished(&uuid, "b").unwrap());
    assert!(journal.forget_unfinished(&uuid, "b").unwrap());
    assert_eq!(journal.load(&uuid).unwrap(), None);
    assert!(!journal.take_over(&uuid, "b", "c").unwrap());
    assert!(journal.commit(&co_name, &uuid, "b").is_err());
}

#[test]
fn a_finished_volume_cannot_be_taken_over() {
    let setup = setup();
    let (_, journal) = journal(&setup);
    let (co_name, uuid) = (name("v"), ObjectUuid::random());
    journal
        .write_record(&uuid, &record(&co_name, &uuid, "a"))
        .unwrap();
    journal.commit(&co_name, &uuid, "a").unwrap();
    assert!(!journal.take_over(&uuid, "a", "b").unwrap());
    assert!(!journal.forget_unfinished(&uuid, "a").unwrap());
    assert!(journal.commit(&co_name, &uuid, "a").is_err());
    assert!(
        !journal
            .complete_record(&uuid, &record(&co_name, &uuid, "b"))
            .unwrap()
    );
    assert_eq!(journal.load(&uuid).unwrap().unwrap().maker, None);
    journal.forget_gone(&uuid).unwrap();
    assert_eq!(journal.load(&uuid).unwrap(), None);
    journal.forget_gone(&uuid).unwrap();
}

#[test]
fn a_name_goes_over_to_a_successor_once() {
    let setup = setup();
    let (_, journal) = journal(&setup);
    let (co_name, first) = (name("v"), ObjectUuid::random());
    let second = first.successor().unwrap();
    assert!(!journal.replace(&co_name, &first, &second).unwrap());
    journal.reserve(&co_name, &first).unwrap();
    assert!(journal.replace(&co_name, &first, &second).unwrap());
    assert!(!journal.replace(&co_name, &first, &second).unwrap());
    assert_eq!(journal.find(&co_name).unwrap().unwrap().uuid, second);
    journal.forget_name(&co_name, &first).unwrap();
    assert!(
        journal.find(&co_name).unwrap().is_some(),
        "it is the other's"
    );
    assert_eq!(journal.search(&second).unwrap(), Some(co_name.clone()));
    journal.forget_name(&co_name, &second).unwrap();
    assert_eq!(journal.find(&co_name).unwrap(), None);
}

#[test]
fn an_empty_record_is_filled_once() {
    let setup = setup();
    let (io, journal) = journal(&setup);
    let (co_name, uuid) = (name("v"), ObjectUuid::random());
    let mine = record(&co_name, &uuid, "a");
    assert!(!journal.complete_record(&uuid, &mine).unwrap(), "not there");
    let object = Kind::Volume.record_object(&uuid);
    io.write(&object, ceph::WriteOp::new().create()).unwrap();
    assert_eq!(journal.load(&uuid).unwrap().unwrap().co_name, None);
    assert!(journal.complete_record(&uuid, &mine).unwrap());
    assert!(!journal.complete_record(&uuid, &mine).unwrap());
    assert_eq!(journal.load(&uuid).unwrap(), Some(mine));
}
