//! ceph-csi's layout: what it wrote is read, and what is written is what it would have written.

use std::collections::BTreeMap;

use cuttle_journal::{DirectoryEntry, Journal, Kind, Record, Reserved, locate};
use cuttle_model::{
    CoName, ComposedHandle, ImageId, ImageName, InstanceId, ObjectUuid, PoolId, PoolName,
};

use crate::fixture::{ALL, Fixture, Omaps, fixture};
use crate::setup::{name, setup};

fn decoded(fixture: &Fixture) -> (CoName, DirectoryEntry, Record) {
    let (_, key, value) = fixture.entry();
    let co_name = CoName::new(key.strip_prefix("csi.volume.").unwrap()).unwrap();
    let entry = DirectoryEntry::decode(value).unwrap();
    let record = Record::decode(Kind::Volume, &entry.uuid, fixture.record().1).unwrap();
    (co_name, entry, record)
}

#[test]
fn every_recorded_layout_is_understood() {
    for (name, _) in ALL {
        let fixture = fixture(name);
        let (co_name, entry, record) = decoded(&fixture);
        assert_eq!(record.co_name.as_ref(), Some(&co_name), "{name}");
        assert_eq!(
            Kind::Volume.record_object(&entry.uuid),
            fixture.record().0,
            "{name}"
        );
        assert_eq!(
            Kind::Volume.directory_key(&co_name),
            fixture.entry().1,
            "{name}"
        );
        assert!(
            record.image_name.as_str().ends_with(entry.uuid.as_str()),
            "{name}"
        );
        assert_eq!(
            entry.image_pool.is_some(),
            record.journal_pool.is_some(),
            "{name}"
        );
        assert_eq!(record.is_committed(), record.image_id.is_some(), "{name}");
    }
    let (_, entry, record) = decoded(&fixture("topology"));
    assert_eq!(entry.image_pool, Some(PoolId::new(31)));
    assert_eq!(record.journal_pool, Some(PoolId::new(7)));
    let (_, entry, record) = decoded(&fixture("nameless-image"));
    assert_eq!(
        record.image_name.as_str(),
        format!("csi-vol-{}", entry.uuid)
    );
    assert!(!record.is_committed());
    let (_, _, record) = decoded(&fixture("encrypted"));
    assert_eq!(record.kms_id.as_deref(), Some("vault-tokens"));
    assert_eq!(record.encryption_type.as_deref(), Some("block"));
    assert_eq!(record.owner.as_deref(), Some("databases"));
    assert!(record.group_id.unwrap().starts_with("0001-0009-rook-ceph-"));
    let (_, _, record) = decoded(&fixture("prefixed-uncommitted"));
    assert_eq!(
        record.image_name.as_str(),
        "fast-50d53503-9da1-4a6c-847e-bacf8f2f1297"
    );
}

#[test]
fn records_and_entries_are_written_as_they_were_read() {
    for (name, _) in ALL {
        let fixture = fixture(name);
        let (_, entry, record) = decoded(&fixture);
        assert_eq!(entry.encode(), fixture.entry().2, "{name}");
        let mut written: BTreeMap<String, Vec<u8>> = record
            .encode()
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect();
        if name == "nameless-image" {
            // The reader's default is written out.
            written.remove("csi.imagename").unwrap();
        }
        assert_eq!(written, *fixture.record().1, "{name}");
    }
}

#[test]
fn damaged_records_are_told_by_their_key() {
    let uuid = ObjectUuid::random();
    for (key, value) in [
        ("csi.volname", &b"\xff\xfe"[..]),
        ("csi.imagename", b"a/b"),
        ("csi.imageid", b"\n"),
        ("csi.journalpool", b"7"),
    ] {
        let omap = BTreeMap::from([(key.to_owned(), value.to_vec())]);
        let error = Record::decode(Kind::Volume, &uuid, &omap).unwrap_err();
        assert_eq!(error.key, key, "{error}");
    }
    let empty = Record::decode(Kind::Volume, &uuid, &BTreeMap::new()).unwrap();
    assert_eq!((empty.co_name, empty.image_id), (None, None));
}

/// Makes a volume's journal as a creation does, with what a recorded layout says, and compares
/// what the cluster holds then, byte for byte.
#[test]
fn a_creation_leaves_the_recorded_bytes() {
    for (layout_name, instance) in [
        ("plain", "default"),
        ("prefixed-uncommitted", "default"),
        ("other-instance", "east"),
    ] {
        let setup = setup();
        let expected = fixture(layout_name);
        let (co_name, entry, mut record) = decoded(&expected);
        let journal = Journal::new(
            Kind::Volume,
            setup.io.clone(),
            &InstanceId::new(instance).unwrap(),
        );
        assert_eq!(
            journal.reserve(&co_name, &entry.uuid).unwrap(),
            Reserved::New
        );
        let image_id: Option<ImageId> = record.image_id.take();
        record.maker = image_id.as_ref().map(|_| "this creation".to_owned());
        assert!(journal.write_record(&entry.uuid, &record).unwrap());
        if let Some(id) = &image_id {
            journal
                .commit(&co_name, &entry.uuid, id, "this creation")
                .unwrap();
        }
        let objects = [expected.entry().0, expected.record().0];
        assert_eq!(
            setup.omaps(&setup.io, &objects),
            expected.image,
            "{layout_name}"
        );

        journal.forget_name(&co_name, &entry.uuid).unwrap();
        journal.forget_record(&entry.uuid).unwrap();
        let left = setup.omaps(&setup.io, &objects);
        assert_eq!(
            left,
            Omaps::from([(objects[0].to_owned(), BTreeMap::new())])
        );
    }
}

#[test]
fn what_ceph_csi_wrote_is_found_and_forgotten() {
    for (layout_name, _) in ALL {
        let setup = setup();
        let recorded = fixture(layout_name);
        let (co_name, entry, _) = decoded(&recorded);
        if !recorded.journal.is_empty() {
            // The pool numbers of another cluster: the next test has real ones.
            continue;
        }
        setup.write(&setup.io, &recorded.image);
        let instance = recorded.entry().0.strip_prefix("csi.volumes.").unwrap();
        let instance = InstanceId::new(instance).unwrap();
        let journal = Journal::new(Kind::Volume, setup.io.clone(), &instance);
        assert_eq!(journal.find(&co_name).unwrap().as_ref(), Some(&entry));
        assert_eq!(
            journal.search(&entry.uuid).unwrap().as_ref(),
            Some(&co_name)
        );
        let handle = ComposedHandle {
            cluster: setup.settings.id.clone(),
            location: setup.io.pool_id().get(),
            uuid: entry.uuid.clone(),
        };
        let found = locate(&setup.cluster, &setup.settings, &handle).unwrap();
        assert_eq!(
            found.record.unwrap().co_name.as_ref(),
            Some(&co_name),
            "{layout_name}"
        );
        assert_eq!(found.image_id, None);
        journal.forget_name(&co_name, &entry.uuid).unwrap();
        journal.forget_record(&entry.uuid).unwrap();
        assert_eq!(journal.find(&co_name).unwrap(), None);
        assert_eq!(journal.load(&entry.uuid).unwrap(), None);
    }
}

#[test]
fn a_directory_in_another_pool_is_read_and_written() {
    let setup = setup();
    let pool = format!("journal-{}", uuid::Uuid::new_v4().simple());
    setup.witness.pool(&pool).unwrap();
    let place = PoolName::new(pool.clone()).unwrap();
    let directory = setup.cluster.io(&place, setup.io.namespace()).unwrap();
    let (image_pool, journal_pool) = (setup.io.pool_id(), directory.pool_id());
    let journal = Journal::split(
        Kind::Volume,
        directory.clone(),
        setup.io.clone(),
        image_pool,
        &InstanceId::default(),
    );
    let (co_name, uuid) = (name("pvc-1"), ObjectUuid::random());
    assert_eq!(journal.reserve(&co_name, &uuid).unwrap(), Reserved::New);
    let mut record = Record::new(
        Kind::Volume,
        co_name.clone(),
        ImageName::new(format!("csi-vol-{uuid}")).unwrap(),
        None,
        "maker".to_owned(),
    );
    record.journal_pool = Some(journal_pool);
    assert!(journal.write_record(&uuid, &record).unwrap());
    let value = setup.omaps(&directory, &["csi.volumes.default"]);
    let expected = format!("{:016x}/{uuid}", image_pool.get()).into_bytes();
    assert_eq!(value["csi.volumes.default"]["csi.volume.pvc-1"], expected);

    let handle = ComposedHandle {
        cluster: setup.settings.id.clone(),
        location: image_pool.get(),
        uuid: uuid.clone(),
    };
    let found = locate(&setup.cluster, &setup.settings, &handle).unwrap();
    let found = found
        .journal(&setup.settings, &InstanceId::default())
        .unwrap();
    assert_eq!(
        found.find(&co_name).unwrap().unwrap().image_pool,
        Some(image_pool)
    );
    found.forget_name(&co_name, &uuid).unwrap();
    assert_eq!(journal.find(&co_name).unwrap(), None);
    journal.forget_record(&uuid).unwrap();
    setup.witness.remove_pool(&pool).unwrap();
}
