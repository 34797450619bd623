//! A clusterID that leads to another cluster than before: what is not there does not count as gone.

use cuttle_model::{
    Class, ClusterId, ClusterSettings, ClusterTable, Explain, Fsid, Left, Monitors,
};
use cuttle_model::{ComposedHandle, VolumeHandle, chain};
use cuttle_testbed::{Cluster, StartOptions};
use cuttle_volumes::rbd::{DeleteError, RbdController};
use cuttle_volumes::{DeleteSnapshot, DeleteVolume, Deleted, NotTheSame, ReachError};

use crate::setup::{Setup, controller, credentials, random_name, setup};

/// A table whose only entry, `id`, leads to `witness`.
fn leading_to(
    witness: &Cluster,
    id: &ClusterId,
    setup: &Setup,
    fsid: Option<&Cluster>,
) -> ClusterTable {
    let monitors = Monitors::new(vec![witness.monitors()]).unwrap();
    let mut settings = ClusterSettings::new(id.clone(), monitors);
    settings.rbd.namespace = setup.namespace.clone();
    settings.fsid = fsid.map(fsid_of);
    ClusterTable::new([settings])
}

fn fsid_of(witness: &Cluster) -> Fsid {
    Fsid::parse(witness.fsid()).unwrap()
}

fn deletion(witness: &Cluster, handle: &ComposedHandle) -> DeleteVolume {
    DeleteVolume {
        handle: VolumeHandle::Composed(handle.clone()),
        credentials: credentials("admin", &witness.admin_key()),
    }
}

#[track_caller]
fn assert_refused(result: Result<Deleted, DeleteError>, found: &Cluster, because: NotTheSame) {
    let error = result.unwrap_err();
    let told = format!("{}; {}", chain(&error), error.remedy().unwrap());
    assert_eq!(
        (error.class(), error.left()),
        (Class::Unmet, Left::Nothing),
        "{told}"
    );
    assert_eq!(error.code().number(), 1408, "{told}");
    assert!(
        told.contains(found.fsid()) && told.contains("config.json"),
        "{told}"
    );
    let DeleteError::Reach(ReachError::OtherCluster { because: said, .. }) = error else {
        panic!("{told}");
    };
    assert_eq!(said, because);
}

/// A cluster of its own, with the setup's namespace, so that only the volume is missing there.
fn another(setup: &Setup) -> Cluster {
    let other = Cluster::start(&StartOptions::default()).unwrap();
    other.namespace("rbd", setup.namespace.as_str()).unwrap();
    other
}

#[test]
fn a_volume_is_not_gone_because_another_cluster_answers() {
    let setup = setup();
    let other = another(&setup);
    let created = setup
        .create(&setup.request(&random_name("pvc"), &[]))
        .unwrap();
    let handle = &created.handle;
    let east = &handle.cluster;
    let delete = |controller: &RbdController, table: &ClusterTable, handle: &ComposedHandle| {
        controller.delete(table, &deletion(&other, handle))
    };

    // This process has met the right cluster before.
    let moved = leading_to(&other, east, &setup, None);
    let before = NotTheSame::Remembered(fsid_of(&setup.witness));
    assert_refused(delete(&setup.controller, &moved, handle), &other, before);
    let snapshot = DeleteSnapshot {
        handle: handle.clone(),
        credentials: credentials("admin", &other.admin_key()),
    };
    assert_refused(
        setup.controller.delete_snapshot(&moved, &snapshot),
        &other,
        before,
    );

    // A new process has not; a pool that cannot have been is all it can go by.
    let (_doors, fresh) = controller("");
    let elsewhere = ComposedHandle {
        location: 4_000_000,
        ..handle.clone()
    };
    let error = delete(&fresh, &moved, &elsewhere).unwrap_err();
    assert!(
        matches!(
            &error,
            DeleteError::Reach(ReachError::OtherCluster {
                because: NotTheSame::NoSuchPoolYet { .. },
                ..
            })
        ),
        "{error}"
    );

    // The configured fsid is the strongest sign, for and against.
    let said = leading_to(&other, east, &setup, Some(&other));
    for handle in [handle, &elsewhere] {
        let deleted = delete(&setup.controller, &said, handle).unwrap();
        assert_eq!(deleted, Deleted::NothingThere);
    }
    let denied = leading_to(&other, east, &setup, Some(&setup.witness));
    let configured = NotTheSame::Configured(fsid_of(&setup.witness));
    assert_refused(delete(&fresh, &denied, handle), &other, configured);
    let mut request = setup.request(&random_name("pvc"), &[]);
    request.credentials = credentials("admin", &other.admin_key());
    let error = fresh.create(&denied, &request).unwrap_err();
    assert_eq!(error.code().number(), 1408, "{error}");

    // Nothing has happened to the volume.
    assert_eq!(setup.delete(handle).unwrap(), Deleted::Removed);
    assert_eq!(setup.delete(handle).unwrap(), Deleted::NothingThere);
    setup.assert_nothing_left("deleted in its own cluster");
    other.stop().unwrap();
}

#[test]
fn a_cluster_id_that_is_an_fsid_is_held_to_it() {
    let setup = setup();
    let other = another(&setup);
    let id = ClusterId::new(setup.witness.fsid()).unwrap();
    let handle = ComposedHandle {
        cluster: id.clone(),
        ..setup.handle("50d53503-9da1-41ed-847e-bacf8f2f1297")
    };
    let named = NotTheSame::Named(fsid_of(&setup.witness));
    let wrong = leading_to(&other, &id, &setup, None);
    let (_doors, fresh) = controller("");
    assert_refused(
        fresh.delete(&wrong, &deletion(&other, &handle)),
        &other,
        named,
    );

    let right = leading_to(&setup.witness, &id, &setup, None);
    let deleted = fresh
        .delete(&right, &deletion(&setup.witness, &handle))
        .unwrap();
    assert_eq!(deleted, Deleted::NothingThere);
    other.stop().unwrap();
}
