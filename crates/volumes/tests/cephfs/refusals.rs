//! What is refused, and what each refusal says.

use cuttle_model::{
    Access, AccessMode, Class, ClusterId, Explain, Fsid, Left, VolumeCapability, chain,
};
use cuttle_volumes::Deleted;
use cuttle_volumes::cephfs::CreateError;

use crate::setup::{Setup, controller, credentials, random_name, range, setup};

#[test]
fn the_same_name_with_another_size_is_another_volume() {
    let setup = setup();
    let name = random_name("pvc");
    let created = setup.create(&setup.request(&name, &[])).unwrap();
    let mut larger = setup.request(&name, &[]);
    larger.range = Some(range(64, None));
    let mut smaller = setup.request(&name, &[]);
    smaller.range = Some(range(4, Some(8)));
    for request in [larger, smaller] {
        let error = setup.create(&request).unwrap_err();
        assert!(
            matches!(&error, CreateError::Incompatible { property: "quota", existing, .. }
                if existing == "16 MiB"),
            "{error}"
        );
        assert_eq!(
            (error.class(), error.left()),
            (Class::Exists, Left::Nothing)
        );
    }
    setup.assert_exactly("after the refusals", &[(&name, &created)]);
    setup.delete(&created.handle).unwrap();
}

#[test]
fn a_missing_group_is_made_only_where_the_configuration_says_so() {
    let mut setup = Setup::new(cuttle_testbed::shared_cluster());
    let name = random_name("pvc");
    let error = setup.create(&setup.request(&name, &[])).unwrap_err();
    assert_eq!(error.code().number(), 1481, "{}", chain(&error));
    assert_eq!(error.left(), Left::Undone);
    let command = format!("ceph fs subvolumegroup create cephfs {}", setup.group);
    assert!(error.remedy().unwrap().contains(&command));
    assert_eq!(setup.journal().leftovers(), []);

    setup.settings.cephfs.create_subvolume_group = true;
    let created = setup.create(&setup.request(&name, &[])).unwrap();
    setup.assert_exactly("made with its group", &[(&name, &created)]);
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("deleted");
}

#[test]
fn what_the_class_names_has_to_exist() {
    let setup = setup();
    for (parameter, value, code, words) in [
        ("fsName", "no-such-fs", 1480, "no-such-fs"),
        ("pool", "rbd", 1486, "cephfs.data"),
        ("pool", "no-such-pool", 1486, "add_data_pool"),
        ("subvolumeGroup", "another", 1477, "another"),
    ] {
        let request = setup.request(&random_name("pvc"), &[(parameter, value)]);
        let error = setup.create(&request).unwrap_err();
        let text = format!("{} {}", chain(&error), error.remedy().unwrap());
        assert_eq!(error.code().number(), code, "{text}");
        assert_eq!(error.class(), Class::Invalid, "{text}");
        assert!(text.contains(words), "{text}");
    }
    let mut block = setup.request(&random_name("pvc"), &[]);
    block.capabilities = vec![VolumeCapability {
        access: Access::Block,
        mode: AccessMode::SingleNodeWriter,
    }];
    let error = setup.create(&block).unwrap_err();
    assert!(matches!(error, CreateError::Capability { .. }), "{error}");
    setup.assert_nothing_left("after the refusals");
}

#[test]
fn a_user_without_rights_is_told_the_command() {
    let setup = setup();
    let user = random_name("weak");
    let caps = [
        ("mon", "allow r"),
        ("osd", "allow rw tag cephfs metadata=cephfs"),
    ];
    let key = setup.witness.user(&user, &caps).unwrap();
    let mut request = setup.request(&random_name("pvc"), &[]);
    request.credentials = credentials(&user, &key);
    let error = setup.create(&request).unwrap_err();
    assert_eq!(error.class(), Class::Denied, "{}", chain(&error));
    let remedy = error.remedy().unwrap();
    assert!(remedy.contains(&format!("ceph auth caps client.{user}")));
    assert!(remedy.contains("mgr 'allow rw'"), "{remedy}");
    request.credentials = setup.admin();
    let created = setup.create(&request).unwrap();
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after all");
}

#[test]
fn an_errno_of_the_manager_is_explained() {
    let setup = setup();
    let (_, old) = controller("fail@1:mgr.command=EOPNOTSUPP");
    let request = setup.request(&random_name("pvc"), &[]);
    let error = old.create(&setup.table(), &request).unwrap_err();
    let text = chain(&error);
    assert_eq!(error.code().number(), 1484, "{text}");
    assert!(
        text.contains("librados") && text.contains("the cluster runs"),
        "{text}"
    );
    assert!(error.remedy().unwrap().contains("upgrade"), "{text}");
    setup.assert_nothing_left("a creation that was refused for good");

    let volume = setup.create(&request).unwrap();
    let expansion = cuttle_volumes::ExpandVolume {
        handle: cuttle_model::VolumeHandle::Composed(volume.handle.clone()),
        range: range(64, None),
        capability: None,
        credentials: setup.admin(),
    };
    for errno in ["EOPNOTSUPP", "ENOSYS"] {
        let (_, old) = controller(&format!("fail@1:mgr.command={errno}"));
        let error = old.expand(&setup.table(), &expansion).unwrap_err();
        let text = chain(&error);
        assert_eq!(error.code().number(), 1484, "{text}");
        assert!(
            text.contains("librados") && text.contains("the cluster runs"),
            "{text}"
        );
    }
    setup.delete(&volume.handle).unwrap();

    let (_, silent) = controller("fail@1:mgr.command=ETIMEDOUT");
    let error = silent.create(&setup.table(), &request).unwrap_err();
    assert_eq!(error.code().number(), 1482, "{}", chain(&error));
    assert_eq!(error.left(), Left::MaybeRunning);
    let created = setup.create(&request).unwrap();
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after all");
}

#[test]
fn only_a_file_system_that_nobody_hides_is_gone() {
    let setup = setup();
    let created = setup
        .create(&setup.request(&random_name("pvc"), &[]))
        .unwrap();
    let mut elsewhere = created.handle.clone();
    elsewhere.location = 4711;
    setup.delete(&elsewhere).unwrap();
    assert_eq!(setup.subvolumes().len(), 1, "the other is not touched");
    // A user who may not see the file system proves nothing.
    let user = random_name("blind");
    let caps = [("mon", "allow r fsname=another"), ("mgr", "allow rw")];
    let key = setup.witness.user(&user, &caps).unwrap();
    let mut request = setup.deletion(&created.handle);
    request.credentials = credentials(&user, &key);
    let error = setup
        .controller
        .delete(&setup.table(), &request)
        .unwrap_err();
    assert_eq!(error.code().number(), 1476, "{}", chain(&error));
    assert_eq!(error.class(), Class::Unmet);
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("deleted");
}

#[test]
fn a_quota_that_was_changed_before_it_was_read_back_is_set_again() {
    let setup = setup();
    // The creation stands still before it asks; on a busy machine it takes long to get in between.
    for seconds in [3, 10, 30] {
        let (_, slow) = controller(&format!("pause@1:mgr.query={seconds}000ms"));
        let request = setup.request(&random_name("pvc"), &[]);
        let (created, in_between) = std::thread::scope(|scope| {
            let creating = scope.spawn(|| slow.create(&setup.table(), &request));
            let appeared = || match setup.subvolumes().pop_first() {
                Some(name) => Ok(name),
                None => Err("no subvolume yet".to_owned()),
            };
            let limit = std::time::Duration::from_secs(60);
            let made = cuttle_testbed::until("a subvolume", limit, appeared).unwrap();
            let group = setup.group.as_str();
            setup.fs_subvolume(&["resize"], &made, &["4194304", group]);
            let in_between = !creating.is_finished();
            (creating.join().unwrap().unwrap(), in_between)
        });
        let quota = setup.subvolume(&created).quota;
        setup.delete(&created.handle).unwrap();
        setup.assert_nothing_left("deleted");
        if in_between {
            assert_eq!(quota, Some(16 << 20));
            return;
        }
    }
    panic!("the quota never was changed in time");
}

#[test]
fn a_volume_is_not_gone_where_the_cluster_id_is_anothers_fsid() {
    let mut setup = setup();
    let delete = |setup: &Setup, location: Option<i64>| {
        let mut handle = setup.handle("50d53503-9da1-41ed-847e-bacf8f2f1297");
        handle.location = location.unwrap_or(handle.location);
        setup.delete(&handle)
    };
    setup.settings.id = ClusterId::new("50d53503-9da1-4a6c-847e-bacf8f2f0000").unwrap();
    // Nothing of it in its file system; no such file system.
    for location in [None, Some(4_000)] {
        let error = delete(&setup, location).unwrap_err();
        assert_eq!(error.code().number(), 1408, "{}", chain(&error));
        assert_eq!((error.class(), error.left()), (Class::Unmet, Left::Nothing));
    }
    let right = setup.witness.fsid().to_owned();
    setup.settings.fsid = Some(Fsid::parse(&right).unwrap());
    assert_eq!(delete(&setup, None).unwrap(), Deleted::NothingThere);
    setup.settings.fsid = None;
    setup.settings.id = ClusterId::new(right).unwrap();
    assert_eq!(delete(&setup, None).unwrap(), Deleted::NothingThere);
}
