//! All volumes, page by page.

use std::collections::BTreeMap;

use cuttle_model::{Class, Explain, PoolName};
use cuttle_volumes::ListVolumes;
use cuttle_volumes::rbd::ListSource;

use crate::setup::{Setup, random_name, setup};

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
