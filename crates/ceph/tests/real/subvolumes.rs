//! File systems and subvolumes of the real cluster.

use ceph::{FsRef, Subvolumes};
use cuttle_model::{
    ByteSize, Class, Explain, FsId, FsName, Left, PoolName, SubvolumeGroup, SubvolumeName,
};

use crate::setup::{Setup, random_name, setup, with_faults};

const QUOTA: ByteSize = ByteSize::from_bytes(64 << 20);

fn fs() -> FsName {
    FsName::new("cephfs").unwrap()
}

fn name(text: &str) -> SubvolumeName {
    SubvolumeName::new(text).unwrap()
}

/// A group of the test's own.
fn group(setup: &Setup) -> Subvolumes {
    let group = SubvolumeGroup::new(random_name("t")).unwrap();
    setup.cluster.create_subvolume_group(&fs(), &group).unwrap();
    setup.cluster.subvolumes(&fs(), &group)
}

fn make(subvolumes: &Subvolumes, text: &str) {
    let started = subvolumes.start_create(&name(text), Some(QUOTA), None);
    started.unwrap().wait().unwrap();
}

#[test]
fn a_file_system_is_found_by_name_and_number() {
    let setup = setup();
    let by_name = setup.cluster.file_system(FsRef::Name(&fs())).unwrap();
    let found = by_name.unwrap();
    let pool = |id| setup.cluster.pool_name(id).unwrap().unwrap();
    assert_eq!(pool(found.metadata_pool).as_str(), "cephfs.meta");
    assert_eq!(pool(found.data_pools[0]).as_str(), "cephfs.data");
    let asked = setup.count("mon.query");
    let by_number = setup.cluster.file_system(FsRef::Id(found.id)).unwrap();
    assert_eq!(by_number.as_ref(), Some(&found));
    assert_eq!(
        setup.count("mon.query"),
        asked,
        "what is known is not asked"
    );
    let absent = FsRef::Id(FsId::new(4711));
    assert_eq!(setup.cluster.file_system(absent).unwrap(), None);
    assert_eq!(setup.count("mon.query"), asked + 1, "absence is asked for");
}

#[test]
fn a_subvolume_is_made_looked_at_grown_and_removed() {
    let setup = setup();
    let subvolumes = group(&setup);
    make(&subvolumes, "a");
    let info = subvolumes.info(&name("a")).unwrap();
    assert_eq!((info.quota, info.used), (Some(QUOTA), ByteSize::ZERO));
    assert!(info.is_complete(), "{info:?}");
    assert_eq!(info.data_pool.unwrap().as_str(), "cephfs.data");
    let path = info.path.unwrap();
    let directory = format!("/volumes/{}/a/", subvolumes.group());
    assert!(path.as_str().starts_with(&directory), "{path}");

    let twice = QUOTA.checked_mul(2).unwrap();
    subvolumes.resize(&name("a"), twice).unwrap();
    assert_eq!(subvolumes.info(&name("a")).unwrap().quota, Some(twice));

    assert!(setup.cluster.mgr_offers(Subvolumes::SET_METADATA).unwrap());
    subvolumes
        .set_metadata(&name("a"), [("key", "v w"), ("other", "2")].into_iter())
        .unwrap();
    assert_eq!(subvolumes.metadata(&name("a")).unwrap()["key"], "v w");

    assert!(subvolumes.snapshots(&name("a")).unwrap().is_empty());
    let snapshot = |verb: &str| {
        let group = subvolumes.group().as_str();
        let words = [
            "fs",
            "subvolume",
            "snapshot",
            verb,
            "cephfs",
            "a",
            "s1",
            group,
        ];
        setup.witness.json(&words).unwrap();
    };
    snapshot("create");
    assert_eq!(subvolumes.snapshots(&name("a")).unwrap(), ["s1"]);
    let held = subvolumes.remove(&name("a"), false).unwrap_err();
    assert!(held.is_not_empty(), "{held}");
    snapshot("rm");
    subvolumes.remove(&name("a"), false).unwrap();
    assert!(subvolumes.info(&name("a")).unwrap_err().is_absent());
    assert!(
        subvolumes
            .remove(&name("a"), false)
            .unwrap_err()
            .is_absent()
    );
}

/// What was sent behind a command tells what it has done, or, carried out before it, that there is
/// nothing.
#[test]
fn a_question_is_sent_without_waiting_for_the_command_before_it() {
    let setup = setup();
    let subvolumes = group(&setup);
    for text in ["a", "b", "c", "d"] {
        let name = name(text);
        let creating = subvolumes.start_create(&name, Some(QUOTA), None).unwrap();
        let asked = subvolumes.try_start_info(&name).unwrap();
        creating.wait().unwrap();
        match asked.wait() {
            Ok(info) => {
                assert_eq!(info.quota, Some(QUOTA));
                assert!(info.is_complete(), "{info:?}");
            }
            Err(error) => assert!(error.is_absent(), "{error}"),
        }
        subvolumes.remove(&name, false).unwrap();
    }
    // Four questions under way leave no place for a fifth.
    let names = ["v", "w", "x", "y", "z"].map(name);
    let mut asked: Vec<_> = names
        .iter()
        .map(|name| subvolumes.try_start_info(name))
        .collect();
    assert!(asked.pop().unwrap().is_none());
    for started in asked {
        assert!(started.unwrap().wait().unwrap_err().is_absent());
    }
}

#[test]
fn without_a_size_there_is_no_quota() {
    let setup = setup();
    let subvolumes = group(&setup);
    let started = subvolumes.start_create(&name("a"), None, None);
    started.unwrap().wait().unwrap();
    assert_eq!(subvolumes.info(&name("a")).unwrap().quota, None);
    subvolumes.remove(&name("a"), false).unwrap();
}

#[test]
fn what_is_missing_is_told_apart_by_the_listings() {
    let setup = setup();
    let nowhere = SubvolumeGroup::new(random_name("none")).unwrap();
    let subvolumes = setup.cluster.subvolumes(&fs(), &nowhere);
    let started = subvolumes.start_create(&name("a"), Some(QUOTA), None);
    assert!(started.unwrap().wait().unwrap_err().is_absent());
    let groups = setup.cluster.subvolume_groups(&fs()).unwrap();
    assert!(!groups.contains(&nowhere));
    let made = group(&setup);
    let groups = setup.cluster.subvolume_groups(&fs()).unwrap();
    assert!(groups.contains(made.group()), "{groups:?}");
    let other = FsName::new("nofs").unwrap();
    let error = setup.cluster.subvolume_groups(&other).unwrap_err();
    assert!(error.is_absent(), "{error}");
    let pool = PoolName::new(random_name("p")).unwrap();
    let started = made.start_create(&name("a"), Some(QUOTA), Some(&pool));
    let error = started.unwrap().wait().unwrap_err();
    assert_eq!(error.errno().name(), "EINVAL");
}

#[test]
fn a_command_on_offer_is_known_and_asked_for_once() {
    let setup = setup();
    let asked = setup.count("mgr.query");
    assert!(setup.cluster.mgr_offers("fs subvolume create").unwrap());
    assert!(setup.cluster.mgr_offers("fs subvolume rm").unwrap());
    assert!(!setup.cluster.mgr_offers("fs subvolume fold").unwrap());
    assert!(!setup.cluster.mgr_offers("fs subvolume fold").unwrap());
    assert_eq!(setup.count("mgr.query"), asked + 1);
}

#[test]
fn many_commands_at_once_all_end() {
    let setup = setup();
    let subvolumes = group(&setup);
    let names: Vec<String> = (0..24).map(|number| format!("v{number}")).collect();
    std::thread::scope(|scope| {
        for text in &names {
            let subvolumes = &subvolumes;
            scope.spawn(move || {
                make(subvolumes, text);
                assert_eq!(subvolumes.info(&name(text)).unwrap().quota, Some(QUOTA));
                subvolumes.remove(&name(text), false).unwrap();
            });
        }
    });
}

#[test]
fn injected_faults_are_errors_of_their_call() {
    let plan = "fail@1:mgr.command=EOPNOTSUPP,fail@1:mgr.query=ETIMEDOUT";
    let setup = with_faults(plan);
    let group = SubvolumeGroup::new("csi").unwrap();
    let subvolumes = setup.cluster.subvolumes(&fs(), &group);
    let error = subvolumes
        .start_create(&name("a"), Some(QUOTA), None)
        .map(drop)
        .unwrap_err();
    assert_eq!(error.class(), Class::Unsupported);
    let error = subvolumes.info(&name("a")).unwrap_err();
    assert_eq!((error.class(), error.left()), (Class::Down, Left::Nothing));
}
