//! All volumes, page by page.

use std::collections::BTreeMap;

use cuttle_model::{Class, Explain, PoolName};
use cuttle_volumes::rbd::ListSource;
use cuttle_volumes::{GetSnapshot, ListSnapshots, ListVolumes};

use crate::setup::{Setup, random_name, setup, when_free};
use crate::taken::Taking as _;

fn sources(setup: &Setup, pools: &[&str]) -> Vec<ListSource> {
    vec![ListSource {
        cluster: setup.table.iter().next().unwrap().id.clone(),
        pools: pools
            .iter()
            .map(|pool| PoolName::new(*pool).unwrap())
            .collect(),
        credentials: setup.admin(),
    }]
}

#[test]
fn every_finished_volume_is_listed_once() {
    let setup = setup();
    let mut made = BTreeMap::new();
    for number in 0..5 {
        let name = format!("pvc-{number}");
        let created = setup.create(&setup.request(&name, &[])).unwrap();
        made.insert(name, created);
    }
    // Neither unfinished volumes nor what others keep in the directory.
    let uuid = cuttle_model::ObjectUuid::random();
    setup.set_omap("csi.volumes.default", "csi.volume.pvc-9", uuid.as_str());
    setup.set_omap(
        "csi.volumes.default",
        "csi.volume.pvc-8",
        "0001-0004-east-and-so-on",
    );

    let sources = sources(&setup, &["rbd", "rbd"]);
    let sources = vec![ListSource {
        pools: vec![sources[0].pools[0].clone()],
        ..sources[0].clone()
    }];
    let mut listed = BTreeMap::new();
    let mut request = ListVolumes {
        token: None,
        most: Some(2),
    };
    let mut pages = 0;
    loop {
        let page = setup
            .controller
            .list(&setup.table, &sources, &request)
            .unwrap();
        assert!(page.volumes.len() <= 2);
        pages += 1;
        for volume in page.volumes {
            assert_eq!(volume.size, Some(made[volume.name.as_str()].size));
            assert!(
                listed
                    .insert(volume.name.to_string(), volume.handle)
                    .is_none()
            );
        }
        match page.next {
            Some(token) => request.token = Some(token),
            None => break,
        }
    }
    assert!(pages >= 3, "{pages}");
    let expected: BTreeMap<_, _> = made
        .iter()
        .map(|(name, created)| (name.clone(), created.handle.clone()))
        .collect();
    assert_eq!(listed, expected);
    for created in made.values() {
        setup.delete(&created.handle).unwrap();
    }
    setup.rados(&["rm", "csi.volumes.default"]);
    setup.assert_nothing_left("after delete");
}

#[test]
fn a_token_of_yesterday_is_refused() {
    let setup = setup();
    let sources = sources(&setup, &["rbd"]);
    for token in [
        "",
        "x",
        "[\"east\",\"gone\",\"\"]",
        "[\"west\",\"rbd\",\"\"]",
        "[1,2,3]",
    ] {
        let request = ListVolumes {
            token: Some(token.to_owned()),
            most: None,
        };
        let error = setup
            .controller
            .list(&setup.table, &sources, &request)
            .unwrap_err();
        assert_eq!(error.class(), Class::Busy, "{token}: {error}");
    }
    let page = setup
        .controller
        .list(&setup.table, &sources, &ListVolumes::default())
        .unwrap();
    assert_eq!((page.volumes.len(), page.next), (0, None));
}

#[test]
fn pools_follow_one_another() {
    let setup = setup();
    let other = random_name("list");
    setup.witness.pool(&other).unwrap();
    setup
        .witness
        .namespace(&other, setup.namespace.as_str())
        .unwrap();
    let here = setup.create(&setup.request("pvc-here", &[])).unwrap();
    let there = setup
        .create(&setup.request("pvc-there", &[("pool", &other)]))
        .unwrap();
    let sources = sources(&setup, &["rbd", &other]);
    let first = setup
        .controller
        .list(&setup.table, &sources, &ListVolumes::default())
        .unwrap();
    let token = first.next.clone();
    assert!(token.is_some());
    let request = ListVolumes { token, most: None };
    let second = setup
        .controller
        .list(&setup.table, &sources, &request)
        .unwrap();
    let handles: Vec<_> = first
        .volumes
        .into_iter()
        .chain(second.volumes)
        .map(|volume| volume.handle)
        .collect();
    assert_eq!(handles, [here.handle.clone(), there.handle.clone()]);
    assert_eq!(second.next, None);
    setup.delete(&here.handle).unwrap();
    setup.delete(&there.handle).unwrap();
    setup.assert_nothing_left("after delete");
    setup.witness.remove_pool(&other).unwrap();
}

/// All snapshots, a page after the other.
fn all_snapshots(
    setup: &Setup,
    sources: &[ListSource],
    mut request: ListSnapshots,
) -> Vec<cuttle_volumes::KnownSnapshot> {
    let mut listed = Vec::new();
    loop {
        let page = setup
            .controller
            .list_snapshots(&setup.table, sources, &request)
            .unwrap();
        assert!(page.snapshots.len() <= 2);
        listed.extend(page.snapshots);
        match page.next {
            Some(token) => request.page.token = Some(token),
            None => return listed,
        }
    }
}

#[test]
fn every_finished_snapshot_is_listed_once_and_can_be_asked_for() {
    let setup = setup();
    let prefix = [("volumeNamePrefix", "other-prefix-")];
    let one = setup.volume("one");
    let two = setup.create(&setup.request("two", &prefix)).unwrap();
    let mut made: Vec<_> = (0..5)
        .map(|number| {
            let of = if number % 2 == 0 { &one } else { &two };
            setup.take(&format!("s{number}"), of).unwrap()
        })
        .collect();
    // Neither unfinished ones nor what others keep in the directory.
    let uuid = cuttle_model::ObjectUuid::random();
    for (name, value) in [("s8", uuid.as_str()), ("s9", "nonsense")] {
        setup.set_omap("csi.snaps.default", &format!("csi.snap.{name}"), value);
    }
    let sources = sources(&setup, &["rbd"]);
    let by_two = || ListSnapshots {
        page: ListVolumes {
            token: None,
            most: Some(2),
        },
        of: None,
    };
    let mut listed = all_snapshots(&setup, &sources, by_two());
    listed.sort_by_key(|known| known.handle.uuid.to_string());
    made.sort_by_key(|made| made.handle.uuid.to_string());
    assert_eq!(listed.len(), made.len());
    for (known, made) in listed.iter().zip(&made) {
        assert_eq!(known.handle, made.handle);
        assert_eq!(known.source.as_ref(), Some(&made.source));
        assert_eq!((known.size, known.taken), (made.size, made.taken));
        let request = GetSnapshot {
            handle: made.handle.clone(),
            credentials: setup.admin(),
        };
        let asked = setup.controller.get_snapshot(&setup.table, &request);
        assert_eq!(asked.unwrap(), *known);
    }
    // Those of one volume, found beside it.
    let of = |volume: &cuttle_volumes::Created| {
        let beside = setup
            .controller
            .snapshots_of(&setup.table, &volume.handle, &setup.admin())
            .unwrap();
        let request = ListSnapshots {
            of: Some(volume.handle.clone()),
            ..by_two()
        };
        let listed = all_snapshots(&setup, &beside, request);
        assert!(
            listed
                .iter()
                .all(|known| known.source.as_ref() == Some(&volume.handle))
        );
        listed.len()
    };
    assert_eq!((of(&one), of(&two)), (3, 2));
    let mut gone = one.handle.clone();
    gone.location = 4_000_000;
    let nowhere = setup
        .controller
        .snapshots_of(&setup.table, &gone, &setup.admin());
    assert!(nowhere.unwrap().is_empty());

    // The volume may be gone; the snapshot is not there once it is deleted.
    for volume in [&one, &two] {
        when_free(|| setup.delete(&volume.handle)).unwrap();
    }
    assert_eq!(of(&one), 3);
    for made in &made {
        when_free(|| setup.drop(made)).unwrap();
        let request = GetSnapshot {
            handle: made.handle.clone(),
            credentials: setup.admin(),
        };
        let asked = setup.controller.get_snapshot(&setup.table, &request);
        assert_eq!(asked.unwrap_err().class(), Class::Absent);
    }
    assert!(all_snapshots(&setup, &sources, by_two()).is_empty());
    setup.rados(&["rm", "csi.snaps.default"]);
    setup.assert_nothing_left("after delete");
}
