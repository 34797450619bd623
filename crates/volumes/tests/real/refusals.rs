//! What cannot be done, and what the operator is told.

use cuttle_model::{
    Access, AccessMode, Class, ClusterId, ClusterTable, Explain, Left, PoolId, VolumeCapability,
    VolumeHandle,
};
use cuttle_volumes::Deleted;
use cuttle_volumes::ReachError;
use cuttle_volumes::rbd::{CreateError, CreateVolume};

use crate::setup::{Setup, capability, credentials, random_name, range, setup};

#[track_caller]
fn refused(setup: &Setup, request: &CreateVolume, class: Class, words: &[&str]) {
    let error = setup.create(request).unwrap_err();
    assert_eq!(error.class(), class, "{error}");
    let told = format!(
        "{}; {}",
        cuttle_model::chain(&error),
        error.remedy().as_deref().unwrap_or_default()
    );
    for word in words {
        assert!(told.contains(word), "{word:?} is not in: {told}");
    }
    assert!(
        !told.contains(&setup.witness.admin_key()),
        "the key is told"
    );
    assert_ne!(error.left(), Left::MaybeRunning, "{error}");
}

#[test]
fn users_learn_what_their_key_lacks() {
    let setup = setup();
    let request = setup.request(&random_name("pvc"), &[]);
    let with = |user: &str, key: &str| CreateVolume {
        credentials: credentials(user, key),
        ..request.clone()
    };
    let wrong = "AQBBBBBBBBBBBBAABBBBBBBBBBBBBBBBBBBBBB==";
    for (user, key) in [
        ("admin", wrong),
        ("nobody", wrong),
        ("admin", "no key at all"),
    ] {
        let request = with(user, key);
        refused(
            &setup,
            &request,
            Class::Unauthenticated,
            &["user and key in the Secret", &format!("client.{user}")],
        );
    }

    let user = random_name("reader");
    let caps = [("mon", "profile rbd"), ("osd", "allow r")];
    let key = setup.witness.user(&user, &caps).unwrap();
    let command = format!(
        "ceph auth caps client.{user} mon 'profile rbd' mgr 'profile rbd pool=rbd \
         namespace={ns}' osd 'profile rbd pool=rbd namespace={ns}'",
        ns = setup.namespace
    );
    refused(
        &setup,
        &with(&user, &key),
        Class::Denied,
        &["EPERM", &command],
    );
    setup.assert_nothing_left("after the refusals");
}

#[test]
fn the_suggested_capabilities_suffice() {
    let setup = setup();
    let user = random_name("csi");
    let scope = format!("pool=rbd namespace={}", setup.namespace);
    let profile = format!("profile rbd {scope}");
    let caps = [("mon", "profile rbd"), ("mgr", &profile), ("osd", &profile)];
    let key = setup.witness.user(&user, &caps).unwrap();
    for features in ["layering,exclusive-lock,object-map", ""] {
        let request = CreateVolume {
            credentials: credentials(&user, &key),
            ..setup.request(&random_name("pvc"), &[("imageFeatures", features)])
        };
        let created = setup.create(&request).unwrap();
        assert_eq!(setup.create(&request).unwrap(), created);
        let mut deletion = setup.deletion(&created.handle);
        deletion.credentials = credentials(&user, &key);
        setup.controller.delete(&setup.table, &deletion).unwrap();
        setup.assert_nothing_left("after delete");
    }
}

#[test]
fn pools_that_are_not_ready_are_told_with_the_command() {
    let setup = setup();
    let name = random_name("pvc");
    let more = [("pool", "no-such-pool")];
    refused(
        &setup,
        &setup.request(&name, &more),
        Class::Invalid,
        &["no pool \"no-such-pool\""],
    );
    let more = [("dataPool", "no-such-pool")];
    refused(
        &setup,
        &setup.request(&name, &more),
        Class::Invalid,
        &["no pool \"no-such-pool\""],
    );

    let bare = random_name("bare");
    setup.witness.bare_pool(&bare).unwrap();
    let command = format!("rbd pool init {bare}");
    let more = [("pool", bare.as_str())];
    refused(
        &setup,
        &setup.request(&name, &more),
        Class::Unmet,
        &[&command],
    );
    // Once it is, the namespace is missing.
    setup.witness.pool(&bare).unwrap();
    let command = format!("rbd namespace create {bare}/{}", setup.namespace);
    for features in ["layering", ""] {
        let more = [("pool", bare.as_str()), ("imageFeatures", features)];
        refused(
            &setup,
            &setup.request(&name, &more),
            Class::Unmet,
            &[&command],
        );
    }
    let left = setup
        .witness
        .rbd_namespace_contents(&bare, setup.namespace.as_str())
        .unwrap();
    assert_eq!(left.leftovers(), []);
    setup
        .witness
        .namespace(&bare, setup.namespace.as_str())
        .unwrap();
    let created = setup
        .create(&setup.request(&name, &[("pool", &bare)]))
        .unwrap();
    setup.delete(&created.handle).unwrap();
    setup.witness.remove_pool(&bare).unwrap();
    setup.assert_nothing_left("after the refusals");
}

#[test]
fn sizes_and_capabilities_are_checked_before_anything_is_made() {
    let setup = setup();
    let request = setup.request(&random_name("pvc"), &[]);
    let sized = |required, limit| CreateVolume {
        range: range(required, limit),
        ..request.clone()
    };
    refused(
        &setup,
        &sized(1025, Some(1100)),
        Class::OutOfRange,
        &["limit_bytes"],
    );
    refused(&setup, &sized(0, None), Class::Invalid, &["required_bytes"]);
    refused(
        &setup,
        &sized(1 << 40, None),
        Class::OutOfRange,
        &["objectSize"],
    );
    for (access, mode) in [
        (capability().access, AccessMode::MultiNodeMultiWriter),
        (Access::Block, AccessMode::MultiNodeReaderOnly),
    ] {
        let request = CreateVolume {
            capabilities: vec![capability(), VolumeCapability { access, mode }],
            ..request.clone()
        };
        refused(&setup, &request, Class::Invalid, &[mode.name()]);
    }
    setup.assert_nothing_left("after the refusals");
}

#[test]
fn an_unknown_cluster_is_no_proof_of_absence() {
    let setup = setup();
    let created = setup
        .create(&setup.request(&random_name("pvc"), &[]))
        .unwrap();
    let empty = ClusterTable::default();
    let error = setup
        .controller
        .delete(&empty, &setup.deletion(&created.handle))
        .unwrap_err();
    assert!(
        error.to_string().contains("\"east\" is not configured"),
        "{error}"
    );
    assert_eq!(error.class(), Class::Unmet);
    let error = setup
        .controller
        .create(&empty, &setup.request("pvc", &[]))
        .unwrap_err();
    assert!(
        matches!(
            &error,
            CreateError::Reach(ReachError::UnknownCluster { .. })
        ),
        "{error}"
    );
    assert_eq!(error.class(), Class::Invalid);
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after delete");
}

#[test]
fn an_unreachable_cluster_is_no_proof_of_absence() {
    let setup = setup();
    let settings = setup.table.iter().next().unwrap();
    let mut dead = (**settings).clone();
    // A port that nobody listens on.
    dead.monitors = cuttle_model::Monitors::new(vec!["v2:127.0.0.1:1".to_owned()]).unwrap();
    let table = ClusterTable::new([dead]);
    let doors = cuttle_door::Doors::new(cuttle_door::FaultPlan::none());
    let options = ceph::ConnectOptions {
        connect_timeout: std::time::Duration::from_secs(2),
        ..ceph::ConnectOptions::default()
    };
    let clusters = ceph::Clusters::new(doors.ceph.clone(), options);
    let settings = cuttle_volumes::ControllerSettings::default();
    let controller = cuttle_volumes::rbd::RbdController::new(clusters, settings);
    let handle = setup.handle("50d53503-9da1-4a6c-847e-bacf8f2f1297");
    let error = controller
        .delete(&table, &setup.deletion(&handle))
        .unwrap_err();
    assert_eq!(
        (error.class(), error.left()),
        (Class::Down, Left::Nothing),
        "{error}"
    );
}

#[test]
fn a_volume_in_a_pool_that_is_gone_counts_as_removed() {
    let setup = setup();
    let pool = random_name("gone");
    setup.witness.pool(&pool).unwrap();
    setup
        .witness
        .namespace(&pool, setup.namespace.as_str())
        .unwrap();
    let created = setup
        .create(&setup.request(&random_name("pvc"), &[("pool", &pool)]))
        .unwrap();
    setup.witness.remove_pool(&pool).unwrap();
    assert_eq!(
        setup.delete(&created.handle).unwrap(),
        Deleted::NothingThere
    );
    let mut handle = created.handle;
    // A number that no pool has had yet was given by another cluster.
    handle.location = PoolId::new(i64::MAX).get();
    assert_eq!(setup.delete(&handle).unwrap_err().code().number(), 1408);
    handle.cluster = ClusterId::new("west").unwrap();
    let request = cuttle_volumes::DeleteVolume {
        handle: VolumeHandle::Composed(handle),
        credentials: setup.admin(),
    };
    setup.controller.delete(&setup.table, &request).unwrap_err();
}
