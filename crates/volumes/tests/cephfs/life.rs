//! The whole life of a volume, as users see it.

use cuttle_model::{ByteSize, ComposedHandle, Explain, VolumeHandle, chain};
use cuttle_volumes::cephfs::{CapacityOf, ExpandError, ListSource, ValidateError};
use cuttle_volumes::{
    ControllerSettings, Created, Deleted, ExpandVolume, GetVolume, ListVolumes, ValidateVolume,
    Validation,
};

use crate::setup::{
    Setup, capability, controller_with, credentials, mib, random_name, range, setup,
};

fn expansion(setup: &Setup, created: &Created, required: u64, limit: Option<u64>) -> ExpandVolume {
    ExpandVolume {
        handle: VolumeHandle::Composed(created.handle.clone()),
        range: range(required, limit),
        capability: None,
        credentials: setup.admin(),
    }
}

fn validation(setup: &Setup, handle: &ComposedHandle) -> ValidateVolume {
    ValidateVolume {
        handle: VolumeHandle::Composed(handle.clone()),
        capabilities: vec![capability()],
        credentials: setup.admin(),
    }
}

#[test]
fn a_volume_is_made_found_grown_and_removed() {
    let setup = setup();
    let name = random_name("pvc");
    let request = setup.request(&name, &[("mounter", "fuse")]);
    let created = setup.create(&request).unwrap();
    assert_eq!(created.size, mib(16));
    assert_eq!(created.handle.location, setup.fscid());
    let subvolume = format!("csi-vol-{}", created.handle.uuid);
    assert_eq!(created.context["subvolumeName"], subvolume);
    assert_eq!(created.context["mounter"], "fuse");
    assert_eq!(created.context["fsName"], "cephfs");
    assert!(!created.context.keys().any(|key| key.starts_with("csi.")));
    setup.assert_exactly("made", &[(&name, &created)]);
    assert_eq!(setup.create(&request).unwrap(), created);

    let table = setup.table();
    let grown = setup
        .controller
        .expand(&table, &expansion(&setup, &created, 33, None))
        .unwrap();
    assert_eq!(
        (grown.size, grown.node_expansion_required),
        (mib(36), false)
    );
    let smaller = setup
        .controller
        .expand(&table, &expansion(&setup, &created, 20, None))
        .unwrap();
    assert_eq!(smaller.size, mib(36), "volumes do not shrink");
    let error = setup
        .controller
        .expand(&table, &expansion(&setup, &created, 20, Some(32)))
        .unwrap_err();
    assert!(matches!(error, ExpandError::PastLimit { .. }), "{error}");
    assert_eq!(setup.subvolume(&created).quota, Some(36 << 20));
    // A volume that was expanded since is still the one that was asked for.
    let again = setup.create(&request).unwrap();
    assert_eq!(again.size, mib(36));
    setup.assert_exactly("grown", &[(&name, &again)]);

    let asked = validation(&setup, &created.handle);
    let answer = setup.controller.validate(&table, &asked).unwrap();
    assert_eq!(answer, Validation::Confirmed);
    let volume = GetVolume {
        handle: created.handle.clone(),
        credentials: setup.admin(),
    };
    let volume = setup.controller.get(&table, &volume).unwrap();
    assert_eq!((volume.size, volume.trouble), (Some(mib(36)), None));

    assert_eq!(setup.delete(&created.handle).unwrap(), Deleted::Removed);
    setup.assert_nothing_left("deleted");
    assert_eq!(
        setup.delete(&created.handle).unwrap(),
        Deleted::NothingThere
    );
    let error = setup.controller.validate(&table, &asked).unwrap_err();
    assert!(matches!(error, ValidateError::Absent { .. }), "{error}");
    let error = setup
        .controller
        .expand(&table, &expansion(&setup, &created, 64, None))
        .unwrap_err();
    assert!(matches!(error, ExpandError::Absent { .. }), "{error}");
}

#[test]
fn metadata_prefix_and_pool_are_those_of_the_class() {
    let setup = setup();
    let name = random_name("pvc");
    let request = setup.request(
        &name,
        &[("volumeNamePrefix", "team-"), ("pool", "cephfs.data")],
    );
    let labelling = ControllerSettings {
        set_metadata: true,
        cluster_name: Some("k8s-east".to_owned()),
        ..ControllerSettings::default()
    };
    let (_, controller) = controller_with("", labelling);
    let created = controller.create(&setup.table(), &request).unwrap();
    let subvolume = &created.context["subvolumeName"];
    assert!(subvolume.starts_with("team-"), "{subvolume}");
    assert_eq!(setup.subvolume(&created).data_pool, "cephfs.data");
    let metadata = || setup.witness.subvolume_metadata(&setup.group, subvolume);
    let metadata = || metadata().unwrap().into_iter().collect::<Vec<_>>();
    let expected = [
        ("csi.ceph.com/cluster/name", "k8s-east"),
        ("csi.storage.k8s.io/pv/name", name.as_str()),
        ("csi.storage.k8s.io/pvc/name", "data"),
        ("csi.storage.k8s.io/pvc/namespace", "shop"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(metadata(), expected);
    // What got lost is written again by the repeated request.
    let group = setup.group.as_str();
    let key = "csi.storage.k8s.io/pvc/name";
    setup.fs_subvolume(&["metadata", "rm"], subvolume, &[key, group]);
    controller.create(&setup.table(), &request).unwrap();
    assert_eq!(metadata(), expected);
    setup.assert_exactly("labelled", &[(&name, &created)]);
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("deleted");
}

#[test]
fn without_a_range_there_is_no_quota() {
    let setup = setup();
    let name = random_name("pvc");
    let mut request = setup.request(&name, &[]);
    request.range = None;
    let created = setup.create(&request).unwrap();
    assert_eq!(created.size, ByteSize::ZERO);
    setup.assert_exactly("made", &[(&name, &created)]);
    // A quota is what expanding gives it.
    let grown = setup
        .controller
        .expand(&setup.table(), &expansion(&setup, &created, 64, None))
        .unwrap();
    assert_eq!(grown.size, mib(64));
    assert_eq!(setup.subvolume(&created).quota, Some(64 << 20));
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("deleted");
}

#[test]
fn the_documented_capabilities_are_enough_for_a_whole_life() {
    let setup = setup();
    let user = random_name("csi");
    let mds = format!(
        "allow r fsname=cephfs path=/volumes, allow rws fsname=cephfs path=/volumes/{}",
        setup.group
    );
    let caps = [
        ("mon", "allow r fsname=cephfs"),
        ("mgr", "allow rw"),
        (
            "osd",
            "allow rw tag cephfs metadata=cephfs, allow rw tag cephfs data=cephfs",
        ),
        ("mds", mds.as_str()),
    ];
    let key = setup.witness.user(&user, &caps).unwrap();
    let name = random_name("pvc");
    let mut request = setup.request(&name, &[]);
    request.credentials = credentials(&user, &key);
    let created = setup.create(&request).unwrap();
    setup.assert_exactly("made", &[(&name, &created)]);
    let mut expand = expansion(&setup, &created, 32, None);
    expand.credentials = request.credentials.clone();
    setup.controller.expand(&setup.table(), &expand).unwrap();
    let mut deletion = setup.deletion(&created.handle);
    deletion.credentials = request.credentials;
    setup.controller.delete(&setup.table(), &deletion).unwrap();
    setup.assert_nothing_left("deleted");
}

#[test]
fn capacity_is_what_the_pool_and_the_groups_quota_leave() {
    let setup = setup();
    let of = CapacityOf {
        cluster: setup.settings.id.clone(),
        fs: cuttle_model::FsName::new("cephfs").unwrap(),
        pool: None,
        credentials: setup.admin(),
    };
    let free = || setup.controller.capacity(&setup.table(), &of).unwrap();
    assert!(free() > mib(100), "{}", free());
    let words = ["fs", "subvolumegroup", "resize", "cephfs"];
    let quota = (64 << 20).to_string();
    setup
        .witness
        .json(&[&words[..], &[setup.group.as_str(), quota.as_str()]].concat())
        .unwrap();
    assert_eq!(free(), mib(64));
}

#[test]
fn volumes_are_listed_page_by_page() {
    let setup = setup();
    let mut made: Vec<(String, Created)> = (0..5)
        .map(|number| {
            let name = format!("pvc-{number}");
            let created = setup.create(&setup.request(&name, &[])).unwrap();
            (name, created)
        })
        .collect();
    let gone = &made[2].1.context["subvolumeName"];
    setup.fs_subvolume(&["rm"], gone, &[setup.group.as_str()]);
    let source = ListSource {
        cluster: setup.settings.id.clone(),
        file_systems: vec![cuttle_model::FsName::new("cephfs").unwrap()],
        credentials: setup.admin(),
    };
    let sources = [source];
    let mut request = ListVolumes {
        token: None,
        most: Some(2),
    };
    let mut listed = Vec::new();
    loop {
        let page = setup
            .controller
            .list(&setup.table(), &sources, &request)
            .unwrap();
        assert!(page.volumes.len() <= 2);
        listed.extend(page.volumes);
        match page.next {
            Some(next) => request.token = Some(next),
            None => break,
        }
    }
    let seen: Vec<_> = listed
        .iter()
        .map(|volume| (volume.name.to_string(), volume.handle.clone(), volume.size))
        .collect();
    let expected: Vec<_> = made
        .iter()
        .map(|(name, created)| {
            let size = (name != "pvc-2").then_some(mib(16));
            (name.clone(), created.handle.clone(), size)
        })
        .collect();
    assert_eq!(seen, expected);
    request.token = Some("nonsense".to_owned());
    let error = setup
        .controller
        .list(&setup.table(), &sources, &request)
        .unwrap_err();
    assert_eq!(error.code().number(), 1461, "{}", chain(&error));
    for (_, created) in made.drain(..) {
        setup.delete(&created.handle).unwrap();
    }
    setup.assert_nothing_left("deleted");
}
