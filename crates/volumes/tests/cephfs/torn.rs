//! Every state a crash can leave, of ours or of ceph-csi's, built by Ceph's own programs: the table
//! of `docs/formats.md`, line by line.

use cuttle_model::{Explain, ObjectUuid};
use cuttle_volumes::cephfs::{CreateError, DeleteError};
use cuttle_volumes::{Created, Deleted};

use crate::setup::{Setup, random_name, setup};

const DIRECTORY: &str = "csi.volumes.default";

/// What a test builds its states for.
struct Torn {
    setup: Setup,
    name: String,
    uuid: ObjectUuid,
    subvolume: String,
}

impl Torn {
    fn new() -> Self {
        let uuid = ObjectUuid::random();
        Self {
            setup: setup(),
            name: random_name("pvc"),
            subvolume: format!("csi-vol-{uuid}"),
            uuid,
        }
    }

    fn reserve(&self) {
        let key = format!("csi.volume.{}", self.name);
        self.setup.set_omap(DIRECTORY, &key, self.uuid.as_str());
    }

    fn record_object(&self) -> String {
        format!("csi.volume.{}", self.uuid)
    }

    fn record(&self) {
        let object = self.record_object();
        self.setup.set_omap(&object, "csi.volname", &self.name);
        self.setup
            .set_omap(&object, "csi.imagename", &self.subvolume);
        self.setup.set_omap(&object, "csi.volume.owner", "shop");
    }

    fn maker(&self) {
        let object = self.record_object();
        self.setup
            .set_omap(&object, "cuttle.maker", "a process that died");
    }

    fn subvolume(&self) {
        self.subvolume_of(16);
    }

    fn subvolume_of(&self, mib: u64) {
        let size = (mib << 20).to_string();
        let group = self.setup.group.as_str();
        self.setup
            .fs_subvolume(&["create"], &self.subvolume, &[size.as_str(), group]);
    }

    fn create(&self) -> Result<Created, CreateError> {
        self.setup.create(&self.setup.request(&self.name, &[]))
    }

    /// The repeated create completes the volume, with the UUID that was reserved.
    #[track_caller]
    fn assert_completed(self) {
        let created = self.create().unwrap();
        assert_eq!(created.handle.uuid, self.uuid);
        self.finish(&created);
    }

    /// The repeated create makes the volume anew.
    #[track_caller]
    fn assert_made_anew(self) {
        let created = self.create().unwrap();
        assert_ne!(created.handle.uuid, self.uuid);
        self.finish(&created);
    }

    #[track_caller]
    fn finish(&self, created: &Created) {
        self.setup
            .assert_exactly("after create", &[(&self.name, created)]);
        self.setup.delete(&created.handle).unwrap();
        self.setup.assert_nothing_left("after delete");
    }

    /// A delete by the handle leaves nothing.
    #[track_caller]
    fn assert_deleted(self) {
        let handle = self.setup.handle(self.uuid.as_str());
        assert_eq!(self.setup.delete(&handle).unwrap(), Deleted::Removed);
        self.setup.assert_nothing_left("after delete");
        assert_eq!(self.setup.delete(&handle).unwrap(), Deleted::NothingThere);
    }
}

/// Builds a state twice: for the repeated create and for a delete.
fn twice(build: impl Fn(&Torn)) -> [Torn; 2] {
    [(); 2].map(|()| {
        let torn = Torn::new();
        build(&torn);
        torn
    })
}

#[test]
fn a_name_alone() {
    let [create, delete] = twice(Torn::reserve);
    create.assert_completed();
    delete.assert_deleted();
}

#[test]
fn a_name_with_an_empty_record_of_ceph_csis() {
    let [create, delete] = twice(|torn| {
        torn.setup.rados(&["create", &torn.record_object()]);
        torn.reserve();
    });
    create.assert_completed();
    delete.assert_deleted();
}

#[test]
fn an_empty_record_of_ceph_csis_alone() {
    let torn = Torn::new();
    torn.setup.rados(&["create", &torn.record_object()]);
    torn.assert_deleted();
}

#[test]
fn a_name_and_a_record_of_ours() {
    let [create, delete] = twice(|torn| {
        torn.reserve();
        torn.record();
        torn.maker();
    });
    create.assert_made_anew();
    delete.assert_deleted();
}

#[test]
fn an_unfinished_subvolume_of_ours() {
    let [create, delete] = twice(|torn| {
        torn.reserve();
        torn.record();
        torn.maker();
        torn.subvolume();
    });
    create.assert_made_anew();
    delete.assert_deleted();
}

#[test]
fn an_unfinished_subvolume_in_a_group_that_was_configured_before() {
    let torn = Torn::new();
    torn.reserve();
    torn.record();
    torn.maker();
    let old = random_name("old");
    torn.setup.witness.subvolume_group(&old).unwrap();
    torn.setup
        .fs_subvolume(&["create"], &torn.subvolume, &["16777216", &old]);
    let created = torn.create().unwrap();
    assert!(torn.setup.witness.subvolume_names(&old).unwrap().is_empty());
    torn.finish(&created);
    torn.setup
        .witness
        .json(&["fs", "subvolumegroup", "rm", "cephfs", &old])
        .unwrap();
}

#[test]
fn a_name_that_was_replaced_while_the_record_before_is_still_there() {
    let mut torn = Torn::new();
    torn.record();
    torn.maker();
    torn.uuid = torn.uuid.successor().unwrap();
    torn.subvolume = format!("csi-vol-{}", torn.uuid);
    torn.reserve();
    torn.assert_completed();
}

#[test]
fn the_record_of_another_volume_is_not_taken_for_the_one_before() {
    let torn = Torn::new();
    torn.reserve();
    let before = torn.uuid.predecessor().unwrap();
    let object = format!("csi.volume.{before}");
    torn.setup.set_omap(&object, "csi.volname", "another");
    torn.setup.set_omap(&object, "cuttle.maker", "another");
    torn.create().unwrap();
    assert!(torn.setup.journal().objects.contains(&object));
}

#[test]
fn a_finished_volume_of_ceph_csis() {
    let [create, delete] = twice(|torn| {
        torn.reserve();
        torn.record();
        torn.subvolume();
    });
    create.assert_completed();
    delete.assert_deleted();
}

#[test]
fn a_record_of_ceph_csis_without_a_subvolume() {
    // Its create was cut off, or its delete, or ours.
    let [create, delete] = twice(|torn| {
        torn.reserve();
        torn.record();
    });
    create.assert_made_anew();
    delete.assert_deleted();
}

#[test]
fn a_delete_cut_off_before_its_last_step() {
    let [create, delete] = twice(Torn::record);
    let created = create.create().unwrap();
    assert_ne!(created.handle.uuid, create.uuid);
    // The delete is repeated, as its caller was never answered.
    let old = create.setup.handle(create.uuid.as_str());
    create.setup.delete(&old).unwrap();
    create.finish(&created);
    delete.assert_deleted();
}

#[test]
fn a_subvolume_without_a_record_is_somebody_elses() {
    let [create, delete] = twice(|torn| {
        torn.reserve();
        torn.subvolume();
    });
    let created = create.create().unwrap();
    assert_ne!(created.handle.uuid, create.uuid);
    create.setup.delete(&created.handle).unwrap();
    let handle = delete.setup.handle(delete.uuid.as_str());
    assert_eq!(delete.setup.delete(&handle).unwrap(), Deleted::Removed);
    for torn in [create, delete] {
        assert_eq!(torn.setup.journal().leftovers(), []);
        let left = torn.setup.subvolumes();
        assert_eq!(left, [torn.subvolume.clone()].into());
        let group = torn.setup.group.as_str();
        torn.setup.fs_subvolume(&["rm"], &torn.subvolume, &[group]);
    }
}

#[test]
fn a_volume_in_another_group_is_named_and_left_alone() {
    let torn = Torn::new();
    torn.reserve();
    torn.record();
    let old = random_name("old");
    torn.setup.witness.subvolume_group(&old).unwrap();
    torn.setup
        .fs_subvolume(&["create"], &torn.subvolume, &["16777216", &old]);
    let error = torn.create().unwrap_err();
    assert!(
        matches!(&error, CreateError::Incompatible { property: "subvolume group", existing, .. }
            if *existing == old),
        "{error}"
    );
    let handle = torn.setup.handle(torn.uuid.as_str());
    let error = torn.setup.delete(&handle).unwrap_err();
    assert_eq!(error.code().number(), 1488, "{error}");
    assert!(error.remedy().unwrap().contains(&old));
    // With the configuration set back, it is found.
    let mut back = Setup::new(cuttle_testbed::shared_cluster());
    back.settings.cephfs = torn.setup.settings.cephfs.clone();
    back.settings.cephfs.subvolume_group = cuttle_model::SubvolumeGroup::new(old.as_str()).unwrap();
    assert_eq!(back.delete(&handle).unwrap(), Deleted::Removed);
    torn.setup.assert_nothing_left("after delete");
    torn.setup
        .witness
        .json(&["fs", "subvolumegroup", "rm", "cephfs", &old])
        .unwrap();
}

#[test]
fn damage_is_told_and_not_touched() {
    let torn = Torn::new();
    torn.reserve();
    torn.setup
        .set_omap(&torn.record_object(), "csi.volname", "another");
    assert_eq!(torn.create().unwrap_err().code().number(), 1304);
    torn.setup
        .set_omap(&torn.record_object(), "csi.imagename", "a/b");
    assert_eq!(torn.create().unwrap_err().code().number(), 1303);
    let handle = torn.setup.handle(torn.uuid.as_str());
    let error = torn.setup.delete(&handle).unwrap_err();
    assert_eq!(error.code().number(), 1303);
    let key = format!("csi.volume.{}", torn.name);
    torn.setup.set_omap(DIRECTORY, &key, "nonsense");
    assert_eq!(torn.create().unwrap_err().code().number(), 1302);
}

#[test]
fn volumes_of_features_to_come_are_told_and_not_touched() {
    for (key, value, code) in [
        ("csi.volume.encryptKMS", "vault-tokens", 1424),
        ("csi.volume.backingsnapshotid", "0001-…", 1478),
    ] {
        let torn = Torn::new();
        torn.reserve();
        torn.record();
        torn.setup.set_omap(&torn.record_object(), key, value);
        let error = torn.create().unwrap_err();
        assert!(matches!(error, CreateError::Incompatible { .. }), "{error}");
        let handle = torn.setup.handle(torn.uuid.as_str());
        let error = torn.setup.delete(&handle).unwrap_err();
        assert_eq!(error.code().number(), code, "{error}");
        assert_eq!(torn.setup.journal().leftovers().len(), 2);
    }
}

#[test]
fn snapshots_hold_a_volume() {
    let torn = Torn::new();
    torn.reserve();
    torn.record();
    torn.subvolume();
    let group = torn.setup.group.as_str();
    let snapshot = |verb: &str, name: &str| {
        torn.setup
            .fs_subvolume(&["snapshot", verb], &torn.subvolume, &[name, group]);
    };
    snapshot("create", "one");
    snapshot("create", "two");
    let handle = torn.setup.handle(torn.uuid.as_str());
    let error = torn.setup.delete(&handle).unwrap_err();
    let DeleteError::Snapshots { snapshots, .. } = &error else {
        panic!("{error}");
    };
    let mut names = snapshots.clone();
    names.sort();
    assert_eq!(names, ["one", "two"]);
    let created = torn.create().unwrap();
    assert_eq!(created.handle, handle, "it is as it was");
    snapshot("rm", "one");
    snapshot("rm", "two");
    torn.assert_deleted();
}
