//! The journal of snapshots: ceph-csi's layout under other names, and nothing of a volume's.

use std::collections::BTreeMap;

use cuttle_journal::{DirectoryEntry, Journal, Kind, Record, Reserved, locate, locate_snapshot};
use cuttle_model::{CoName, ComposedHandle, InstanceId};

use crate::fixture::snapshot;
use crate::setup::setup;

#[test]
fn a_snapshot_leaves_the_recorded_bytes_and_is_found_by_its_handle() {
    let setup = setup();
    let expected = snapshot();
    let (_, key, value) = expected.entry();
    let co_name = CoName::new(key.strip_prefix("csi.snap.").unwrap()).unwrap();
    let entry = DirectoryEntry::decode(value).unwrap();
    let uuid = &entry.uuid;
    let mut record = Record::decode(Kind::Snapshot, uuid, expected.record().1).unwrap();
    assert_eq!(record.image_name, Kind::Snapshot.default_image_name(uuid));
    let source = record.source.clone().unwrap();
    assert_eq!(
        source.as_str(),
        "csi-vol-50d53503-9da1-4a6c-847e-bacf8f2f1297"
    );

    let journal = Journal::new(Kind::Snapshot, setup.io.clone(), &InstanceId::default());
    let id = record.image_id.take().unwrap();
    record.maker = Some("this creation".to_owned());
    record.clone_of = Some("a handle".to_owned());
    assert_eq!(journal.reserve(&co_name, uuid).unwrap(), Reserved::New);
    assert!(journal.write_record(uuid, &record).unwrap());
    journal
        .commit(&co_name, uuid, &id, "this creation")
        .unwrap();
    let objects = [expected.entry().0, expected.record().0];
    assert_eq!(setup.omaps(&setup.io, &objects), expected.image);

    let handle = ComposedHandle {
        cluster: setup.settings.id.clone(),
        location: setup.io.pool_id().get(),
        uuid: uuid.clone(),
    };
    let found = locate_snapshot(&setup.cluster, &setup.settings, &handle).unwrap();
    assert_eq!(found.record.as_ref().unwrap().source, Some(source));
    let as_volume = locate(&setup.cluster, &setup.settings, &handle).unwrap();
    assert_eq!(as_volume.record, None);
    assert_eq!(setup.journal.find(&co_name).unwrap(), None);

    let journal = found
        .journal(&setup.settings, &InstanceId::default())
        .unwrap();
    assert_eq!(journal.find(&co_name).unwrap(), Some(entry.clone()));
    journal.forget_name(&co_name, uuid).unwrap();
    journal.forget_record(uuid).unwrap();
    let left = setup.omaps(&setup.io, &objects);
    assert_eq!(
        left,
        BTreeMap::from([(objects[0].to_owned(), BTreeMap::new())])
    );
}
