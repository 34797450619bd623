//! Every state a crash can leave, of ours or of ceph-csi's, built by raw writes: the table of
//! `docs/formats.md`, line by line.

use std::time::Duration;

use cuttle_model::{Explain, ObjectUuid};
use cuttle_volumes::Created;
use cuttle_volumes::Deleted;
use cuttle_volumes::rbd::CreateError;

use crate::setup::{Setup, controller_that_waits, random_name, setup};

const DIRECTORY: &str = "csi.volumes.default";

/// What a test builds its states for.
struct Torn {
    setup: Setup,
    name: String,
    uuid: String,
    image: String,
}

impl Torn {
    fn new() -> Self {
        let uuid = ObjectUuid::random().to_string();
        Self {
            setup: setup(),
            name: random_name("pvc"),
            image: format!("csi-vol-{uuid}"),
            uuid,
        }
    }

    fn reserve(&self) {
        self.setup
            .set_omap(DIRECTORY, &format!("csi.volume.{}", self.name), &self.uuid);
    }

    fn record_object(&self) -> String {
        format!("csi.volume.{}", self.uuid)
    }

    fn record(&self) {
        let object = self.record_object();
        self.setup.set_omap(&object, "csi.volname", &self.name);
        self.setup.set_omap(&object, "csi.imagename", &self.image);
        self.setup.set_omap(&object, "csi.volume.owner", "shop");
    }

    fn maker(&self) {
        self.setup
            .set_omap(&self.record_object(), "cuttle.maker", "a process that died");
    }

    fn make_image(&self) -> String {
        self.make_image_of("16")
    }

    fn make_image_of(&self, mib: &str) -> String {
        let spec = self.setup.spec(&self.image);
        let features = "layering,exclusive-lock,object-map,fast-diff";
        self.setup
            .witness
            .rbd(&["create", "--size", mib, "--image-feature", features, &spec])
            .unwrap();
        self.image_id()
    }

    fn image_id(&self) -> String {
        let name = cuttle_model::ImageName::new(self.image.clone()).unwrap();
        self.setup
            .io()
            .image_id(&name)
            .unwrap()
            .unwrap()
            .to_string()
    }

    fn commit(&self, id: &str) {
        self.setup
            .set_omap(&self.record_object(), "csi.imageid", id);
    }

    fn create(&self) -> Result<Created, CreateError> {
        self.setup.create(&self.setup.request(&self.name, &[]))
    }

    /// The repeated create completes the volume, with the UUID that was reserved.
    #[track_caller]
    fn assert_completed(&self) {
        let created = self.create().unwrap();
        assert_eq!(created.handle.uuid.as_str(), self.uuid);
        self.finish(&created);
    }

    /// The repeated create makes the volume anew.
    #[track_caller]
    fn assert_made_anew(&self) {
        let created = self.create().unwrap();
        assert_ne!(created.handle.uuid.as_str(), self.uuid);
        self.finish(&created);
    }

    #[track_caller]
    fn finish(&self, created: &Created) {
        self.setup
            .assert_exactly("after the repetition", &[(&self.name, created)]);
        assert_eq!(self.create().unwrap(), *created);
        self.setup.delete(&created.handle).unwrap();
        self.setup.assert_nothing_left("after delete");
    }

    /// A delete by the handle leaves nothing.
    #[track_caller]
    fn assert_deleted(&self) {
        let handle = self.setup.handle(&self.uuid);
        assert_eq!(self.setup.delete(&handle).unwrap(), Deleted::Removed);
        self.setup.assert_nothing_left("after delete");
        assert_eq!(self.setup.delete(&handle).unwrap(), Deleted::NothingThere);
    }
}

/// Builds a state twice: once for the repeated create, once for a delete.
#[track_caller]
fn both(build: impl Fn(&Torn)) {
    let torn = Torn::new();
    build(&torn);
    torn.assert_completed();
    let torn = Torn::new();
    build(&torn);
    torn.assert_deleted();
}

#[test]
fn a_name_without_a_record() {
    both(Torn::reserve);
}

#[test]
fn a_name_without_a_record_but_with_half_an_image() {
    both(|torn| {
        torn.reserve();
        let id = torn.make_image();
        torn.setup.rados(&["rm", &format!("rbd_header.{id}")]);
        torn.setup.rados(&["rm", &format!("rbd_object_map.{id}")]);
    });
}

#[test]
fn whole_images_without_a_record_are_nobodys_to_take() {
    // An operator's copies, of which one has the volume's very name.
    for prefix in ["csi-vol-", "old-", "backup-csi-vol-"] {
        for reserved in [true, false] {
            let mut torn = Torn::new();
            torn.image = format!("{prefix}{}", torn.uuid);
            let id = torn.make_image();
            if reserved {
                torn.reserve();
                let created = torn.create().unwrap();
                let is_new = created.handle.uuid.as_str() != torn.uuid;
                assert_eq!(is_new, prefix == "csi-vol-", "{prefix}");
                torn.setup.delete(&created.handle).unwrap();
                torn.reserve();
            }
            torn.setup.delete(&torn.setup.handle(&torn.uuid)).unwrap();
            assert_eq!(torn.image_id(), id);
            let spec = torn.setup.spec(&torn.image);
            torn.setup.witness.rbd(&["info", &spec]).unwrap();
            torn.setup.witness.rbd(&["rm", &spec]).unwrap();
            torn.setup.assert_nothing_left("but the copy");
        }
    }
}

#[test]
fn an_empty_id_object() {
    both(|torn| {
        torn.reserve();
        torn.record();
        torn.maker();
        torn.setup
            .rados(&["create", &format!("rbd_id.{}", torn.image)]);
    });
}

#[test]
fn an_image_of_ceph_csi_survives_whatever_fails_while_it_is_taken_up() {
    for errno in ["EIO", "ENOSPC", "EDQUOT", "EACCES", "ETIMEDOUT"] {
        let number = cuttle_door::errno_from_name(errno).unwrap();
        let torn = Torn::new();
        torn.reserve();
        torn.record();
        let id = torn.make_image();
        let data = format!("rbd_data.{id}.0000000000000000");
        torn.setup.rados(&["create", &data]);
        for n in 1.. {
            let (doors, faulty) =
                controller_that_waits(&format!("fail@{n}={errno}"), Duration::from_millis(1));
            let request = torn.setup.request(&torn.name, &[]);
            let outcome = faulty.create(&torn.setup.table, &request);
            let ledger = doors.ledger().snapshot();
            let struck = ledger.iter().any(|entry| entry.errno == Some(number));
            assert_eq!(torn.image_id(), id, "{errno} at call {n}");
            let objects = torn.setup.contents().objects;
            for object in [&data, &format!("rbd_header.{id}")] {
                assert!(objects.contains(object), "{errno} at call {n}: {object}");
            }
            if !struck {
                assert_eq!(outcome.unwrap().handle.uuid.as_str(), torn.uuid);
                break;
            }
            // As it was, for the next round; a create that succeeded in spite of the fault
            // has committed it.
            torn.setup
                .rados(&["rmomapkey", &torn.record_object(), "csi.imageid"]);
        }
        torn.setup.rados(&["rm", &data]);
        torn.assert_deleted();
    }
}

#[test]
fn an_empty_record_with_a_name() {
    // ceph-csi makes record, name and keys in this order.
    both(|torn| {
        torn.setup.rados(&["create", &torn.record_object()]);
        torn.reserve();
    });
}

#[test]
fn an_empty_record_without_a_name() {
    let torn = Torn::new();
    torn.setup.rados(&["create", &torn.record_object()]);
    torn.assert_deleted();
}

#[test]
fn a_record_without_an_image() {
    both(|torn| {
        torn.reserve();
        torn.record();
        torn.maker();
    });
    // As ceph-csi leaves it.
    both(|torn| {
        torn.reserve();
        torn.record();
    });
}

#[test]
fn an_id_object_alone() {
    both(|torn| {
        torn.reserve();
        torn.record();
        torn.maker();
        let id = torn.make_image();
        let spec = torn.setup.spec(&torn.image);
        torn.setup.witness.rbd(&["rm", &spec]).unwrap();
        let path = std::env::temp_dir().join(&id);
        let mut data = u32::try_from(id.len()).unwrap().to_le_bytes().to_vec();
        data.extend(id.as_bytes());
        std::fs::write(&path, data).unwrap();
        torn.setup.rados(&[
            "put",
            &format!("rbd_id.{}", torn.image),
            path.to_str().unwrap(),
        ]);
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn names_without_a_header() {
    for foreign in [false, true] {
        both(|torn| {
            torn.reserve();
            torn.record();
            if !foreign {
                torn.maker();
            }
            let id = torn.make_image();
            torn.setup.rados(&["rm", &format!("rbd_header.{id}")]);
            torn.setup.rados(&["rm", &format!("rbd_object_map.{id}")]);
        });
    }
}

#[test]
fn an_entry_in_rbds_directory_without_id_object_or_header() {
    both(|torn| {
        torn.reserve();
        torn.record();
        torn.maker();
        let id = torn.make_image();
        torn.setup.rados(&["rm", &format!("rbd_header.{id}")]);
        torn.setup.rados(&["rm", &format!("rbd_object_map.{id}")]);
        torn.setup.rados(&["rm", &format!("rbd_id.{}", torn.image)]);
    });
}

#[test]
fn a_header_that_only_rbds_directory_leads_to() {
    both(|torn| {
        torn.reserve();
        torn.record();
        torn.maker();
        torn.make_image();
        torn.setup.rados(&["rm", &format!("rbd_id.{}", torn.image)]);
    });
}

#[test]
fn a_header_without_its_object_map() {
    both(|torn| {
        torn.reserve();
        torn.record();
        torn.maker();
        let id = torn.make_image();
        torn.setup.rados(&["rm", &format!("rbd_object_map.{id}")]);
    });
}

#[test]
fn a_whole_image_that_is_not_committed() {
    both(|torn| {
        torn.reserve();
        torn.record();
        torn.maker();
        torn.make_image();
    });
    // As ceph-csi leaves it; very old volumes stay so for ever, so the image is never remade.
    let torn = Torn::new();
    torn.reserve();
    torn.record();
    let id = torn.make_image();
    torn.create().unwrap();
    assert_eq!(torn.image_id(), id);
    torn.assert_completed();
}

#[test]
fn an_uncommitted_image_in_the_trash() {
    // An undoing that was interrupted.
    both(|torn| {
        torn.reserve();
        torn.record();
        torn.maker();
        torn.make_image();
        let spec = torn.setup.spec(&torn.image);
        torn.setup.witness.rbd(&["trash", "mv", &spec]).unwrap();
    });
}

#[test]
fn a_record_that_is_gone_while_the_name_is_not() {
    // An undoing, or a delete of ceph-csi, that was interrupted between its last two steps: as if
    // nothing but the name had ever been.
    both(Torn::reserve);
}

#[test]
fn a_committed_volume_whose_image_is_in_the_trash() {
    let build = |torn: &Torn| {
        torn.reserve();
        torn.record();
        let id = torn.make_image();
        torn.commit(&id);
        let spec = torn.setup.spec(&torn.image);
        torn.setup.witness.rbd(&["trash", "mv", &spec]).unwrap();
    };
    let torn = Torn::new();
    build(&torn);
    torn.assert_deleted();

    // A create does not touch what may hold data: the trash keeps it, and the record keeps the way
    // to it, so that the interrupted delete can still be repeated.
    let torn = Torn::new();
    build(&torn);
    let created = torn.create().unwrap();
    assert_ne!(created.handle.uuid.as_str(), torn.uuid);
    assert!(torn.setup.contents().trash.contains(&torn.image));
    torn.setup.delete(&created.handle).unwrap();
    assert!(torn.setup.contents().trash.contains(&torn.image));
    torn.assert_deleted();
}

#[test]
fn a_committed_volume_whose_image_is_gone() {
    let build = |torn: &Torn| {
        torn.reserve();
        torn.record();
        torn.commit("0123456789abcd");
    };
    let torn = Torn::new();
    build(&torn);
    torn.assert_deleted();
    let torn = Torn::new();
    build(&torn);
    torn.assert_made_anew();
}

#[test]
fn a_delete_interrupted_after_the_name() {
    for trashed in [true, false] {
        let torn = Torn::new();
        torn.record();
        let id = torn.make_image();
        torn.commit(&id);
        let spec = torn.setup.spec(&torn.image);
        torn.setup.witness.rbd(&["trash", "mv", &spec]).unwrap();
        if !trashed {
            let spec = torn.setup.spec(&id);
            torn.setup.witness.rbd(&["trash", "rm", &spec]).unwrap();
        }
        torn.assert_deleted();
    }
}

#[test]
fn the_name_of_a_removed_volume_is_left_to_its_new_owner() {
    // The old volume's delete was interrupted after the name, which a new volume has taken since.
    let torn = Torn::new();
    torn.record();
    let created = torn.create().unwrap();
    assert_ne!(created.handle.uuid.as_str(), torn.uuid);
    torn.setup.delete(&torn.setup.handle(&torn.uuid)).unwrap();
    torn.setup
        .assert_exactly("after the old delete", &[(&torn.name, &created)]);
    torn.finish(&created);
}

#[test]
fn a_committed_image_without_a_header_is_never_touched() {
    let torn = Torn::new();
    torn.reserve();
    torn.record();
    let id = torn.make_image();
    torn.commit(&id);
    torn.setup.rados(&["rm", &format!("rbd_header.{id}")]);
    let before = torn.setup.contents();
    let error = torn.create().unwrap_err();
    assert!(
        matches!(error, CreateError::HeaderMissing { .. }),
        "{error}"
    );
    assert!(error.remedy().unwrap().contains(&id));
    assert_eq!(torn.setup.contents(), before);
    // A delete is what its owner wants.
    torn.assert_deleted();
}

#[test]
fn a_record_of_another_name_is_not_taken() {
    let torn = Torn::new();
    torn.reserve();
    torn.record();
    torn.setup
        .set_omap(&torn.record_object(), "csi.volname", "somebody-else");
    let before = torn.setup.contents();
    let error = torn.create().unwrap_err();
    assert_eq!(error.code().to_string(), "CUTTLE-1304", "{error}");
    assert_eq!(torn.setup.contents(), before);
}

#[test]
fn a_directory_value_of_no_known_form_is_not_taken() {
    let torn = Torn::new();
    torn.setup.set_omap(
        DIRECTORY,
        &format!("csi.volume.{}", torn.name),
        "what is this",
    );
    let error = torn.create().unwrap_err();
    assert_eq!(error.code().to_string(), "CUTTLE-1302", "{error}");
}

#[test]
fn an_old_volume_without_image_name_or_id_is_found_and_deleted() {
    both(|torn| {
        torn.reserve();
        torn.setup
            .set_omap(&torn.record_object(), "csi.volname", &torn.name);
        torn.setup
            .set_omap(&torn.record_object(), "csi.imagename", &torn.image);
        torn.setup
            .set_omap(&torn.record_object(), "csi.volume.owner", "shop");
        torn.make_image();
    });
    let torn = Torn::new();
    torn.reserve();
    torn.setup
        .set_omap(&torn.record_object(), "csi.volname", &torn.name);
    torn.make_image();
    torn.assert_deleted();
}

#[test]
fn a_name_in_another_pool_is_freed_with_its_volume() {
    // Volumes that older releases made for topologies: the name is in pool `journal`.
    let torn = Torn::new();
    let journal = random_name("journal");
    torn.setup.witness.pool(&journal).unwrap();
    let admin = torn.setup.io();
    let directory = admin.cluster().io(
        &cuttle_model::PoolName::new(journal.clone()).unwrap(),
        admin.namespace(),
    );
    let directory = directory.unwrap();
    let key = format!("csi.volume.{}", torn.name);
    let value = format!("{:016x}/{}", admin.pool_id().get(), torn.uuid);
    directory
        .write(DIRECTORY, ceph::WriteOp::new().set_omap(&[(&key, &value)]))
        .unwrap();
    torn.record();
    let pool = format!("{:016x}", directory.pool_id().get());
    torn.setup
        .set_omap(&torn.record_object(), "csi.journalpool", &pool);
    let id = torn.make_image();
    torn.commit(&id);
    torn.assert_deleted();
    let left = directory
        .omap_get(DIRECTORY, &[key.as_str()])
        .unwrap()
        .unwrap();
    assert_eq!(left.len(), 0);

    // The same with the name's pool gone.
    torn.record();
    torn.setup
        .set_omap(&torn.record_object(), "csi.journalpool", &pool);
    let id = torn.make_image();
    torn.commit(&id);
    torn.setup.witness.remove_pool(&journal).unwrap();
    torn.assert_deleted();
}

#[test]
fn a_name_that_points_into_a_pool_that_is_gone_is_free() {
    let torn = Torn::new();
    let value = format!("{:016x}/{}", i64::MAX, torn.uuid);
    torn.setup
        .set_omap(DIRECTORY, &format!("csi.volume.{}", torn.name), &value);
    torn.assert_made_anew();
}
