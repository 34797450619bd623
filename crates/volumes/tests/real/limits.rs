//! How deep clones are stacked, and how many snapshots an image has.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use cuttle_model::{Class, Explain, ImageName, chain};
use cuttle_testbed::until;
use cuttle_volumes::{CloneLimits, Created};

use crate::setup::{Setup, controller, controller_with, setup, when_free};
use crate::taken::{Taking as _, image_of, sighted};

/// Flattening is the manager's, one image after the other.
const FLATTENED: Duration = Duration::from_secs(120);

fn with_limits(limits: CloneLimits) -> Setup {
    let mut setup = setup();
    let patience = Duration::from_secs(30);
    (setup.doors, setup.controller) = controller_with("", patience, limits);
    setup
}

/// Volumes that can be flattened.
const DEEP: [(&str, &str); 1] = [(
    "imageFeatures",
    "layering,exclusive-lock,object-map,fast-diff,deep-flatten",
)];

/// How many parents an image has above it, by Ceph's own program.
fn depth(setup: &Setup, image: &str) -> usize {
    let mut depth = 0;
    let mut spec = setup.spec(image);
    let mut options: Vec<String> = Vec::new();
    loop {
        let mut words = vec!["info".to_owned(), "--format".to_owned(), "json".to_owned()];
        words.append(&mut options);
        words.push(spec);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let info: serde_json::Value =
            serde_json::from_str(&setup.witness.rbd(&words).unwrap()).unwrap();
        let Some(parent) = info.get("parent") else {
            return depth;
        };
        depth += 1;
        let place = format!("{}/{}", setup.pool, setup.namespace);
        if parent["trash"] == true {
            let id = parent["id"].as_str().unwrap();
            options = [
                "--pool",
                &setup.pool,
                "--namespace",
                setup.namespace.as_str(),
            ]
            .map(str::to_owned)
            .to_vec();
            spec = format!("--image-id={id}");
        } else {
            spec = format!("{place}/{}", parent["image"].as_str().unwrap());
        }
    }
}

/// Asks until the source is flat enough; answers how often it was refused because it was not.
fn when_flat(
    setup: &Setup,
    name: &str,
    mut make: impl FnMut(&Setup) -> Result<Created, cuttle_volumes::rbd::CreateError>,
) -> (Created, u32) {
    let mut refused = 0;
    let made = until(name, FLATTENED, || match make(setup) {
        Ok(made) => Ok(made),
        Err(error) => {
            let told = chain(&error);
            assert_eq!(error.class(), Class::Busy, "{told}");
            assert!(told.contains("is being flattened"), "{told}");
            refused += 1;
            Err(told)
        }
    });
    (made.unwrap(), refused)
}

#[test]
fn a_chain_of_twelve_clones_stays_below_the_hard_limit() {
    // Flattened from a depth of two on, and never before.
    let setup = with_limits(CloneLimits {
        hard_depth: 3,
        soft_depth: 3,
        ..CloneLimits::default()
    });
    let mut volumes = vec![setup.create(&setup.request("c0", &DEEP)).unwrap()];
    let mut refusals = 0;
    for number in 1..=12_u8 {
        let last = volumes.last().unwrap();
        setup.write(&image_of(last), u64::from(number) << 20, &[number; 4096]);
        let name = format!("c{number}");
        let (clone, refused) = when_flat(&setup, &name, |setup| setup.clone_of(&name, last, &DEEP));
        refusals += refused;
        let depth = depth(&setup, &image_of(&clone));
        assert!((1..=2).contains(&depth), "{name} has {depth} parents");
        volumes.push(clone);
    }
    // Two clones fit on each other, the next waits for the one below.
    assert!(refusals >= 5, "refused {refusals} times");
    let data = setup.data(&image_of(volumes.last().unwrap()));
    for number in 1..=12_u8 {
        let at = usize::from(number) << 20;
        assert!(data[at..at + 4096].iter().all(|byte| *byte == number));
    }
    // A clone that is there is found, however deep its source is by now, and by any process.
    let (_doors, other) = controller_with(
        "",
        Duration::from_secs(30),
        CloneLimits {
            hard_depth: 1,
            soft_depth: 1,
            ..CloneLimits::default()
        },
    );
    for number in 1..volumes.len() {
        let mut request = setup.request(&format!("c{number}"), &DEEP);
        request.source = Some(cuttle_volumes::ContentSource {
            kind: cuttle_volumes::SourceKind::Volume,
            handle: volumes[number - 1].handle.clone(),
        });
        assert_eq!(
            other.create(&setup.table, &request).unwrap(),
            volumes[number]
        );
    }
    // The last shows all of it when the others are gone.
    let last = volumes.pop().unwrap();
    for volume in &volumes {
        when_free(|| setup.delete(&volume.handle)).unwrap();
    }
    until("those that nothing needs are gone", FLATTENED, || {
        let left = setup.contents().trash.len();
        (left <= 2)
            .then_some(())
            .ok_or_else(|| format!("{left} in the trash"))
    })
    .unwrap();
    assert!(setup.data(&image_of(&last)) == data);
    when_free(|| setup.delete(&last.handle)).unwrap();
    setup.assert_nothing_left("all deleted");
}

#[test]
fn a_volume_without_deep_flatten_is_never_flattened() {
    let setup = with_limits(CloneLimits {
        hard_depth: 3,
        soft_depth: 1,
        ..CloneLimits::default()
    });
    let mut volumes = vec![setup.volume("c0")];
    setup.write(&image_of(&volumes[0]), 1 << 20, b"of the first");
    for number in 1..=2 {
        let name = format!("c{number}");
        let clone = setup.clone_of(&name, volumes.last().unwrap(), &[]).unwrap();
        volumes.push(clone);
    }
    let refused = setup.clone_of("c3", &volumes[2], &[]).unwrap_err();
    let told = chain(&refused);
    assert_eq!(refused.class(), Class::Unmet, "{told}");
    assert!(told.contains("deep-flatten"), "{told}");
    // What the error advises.
    let snapshot = setup.take("s", &volumes[2]).unwrap();
    let (restored, _) = when_flat(&setup, "r", |setup| setup.restore("r", &snapshot, &[]));
    for (number, volume) in volumes.iter().enumerate() {
        assert_eq!(depth(&setup, &image_of(volume)), number);
        when_free(|| setup.delete(&volume.handle)).unwrap();
    }
    when_free(|| setup.drop(&snapshot)).unwrap();
    let data = setup.data(&image_of(&restored));
    assert_eq!(data[1 << 20..][..12], *b"of the first");
    when_free(|| setup.delete(&restored.handle)).unwrap();
    setup.assert_nothing_left("all deleted");
}

#[test]
fn a_chain_of_twelve_restores_flattens_the_snapshots_only() {
    let setup = with_limits(CloneLimits {
        hard_depth: 4,
        soft_depth: 2,
        ..CloneLimits::default()
    });
    let mut volumes = vec![setup.volume("r0")];
    let mut snapshots = Vec::new();
    for number in 1..=12_u8 {
        let last = volumes.last().unwrap();
        setup.write(&image_of(last), u64::from(number) << 20, &[number; 4096]);
        let taken = setup.take(&format!("s{number}"), last).unwrap();
        let name = format!("r{number}");
        let (restored, _) = when_flat(&setup, &name, |setup| setup.restore(&name, &taken, &[]));
        let depth = depth(&setup, &image_of(&restored));
        assert!((1..=3).contains(&depth), "{name} has {depth} parents");
        snapshots.push(taken);
        volumes.push(restored);
    }
    let last = volumes.last().unwrap();
    let data = setup.data(&image_of(last));
    for number in 1..=12_u8 {
        let at = usize::from(number) << 20;
        assert!(data[at..at + 4096].iter().all(|byte| *byte == number));
    }
    // Every restored volume still is one: only snapshots were flattened.
    for volume in &volumes[1..] {
        assert!(depth(&setup, &image_of(volume)) >= 1);
    }
    for snapshot in &snapshots {
        when_free(|| setup.drop(snapshot)).unwrap();
    }
    assert!(setup.data(&image_of(last)) == data);
    for volume in &volumes {
        when_free(|| setup.delete(&volume.handle)).unwrap();
    }
    setup.assert_nothing_left("all deleted");
}

#[test]
fn an_image_full_of_snapshots_gets_another_when_clones_are_flattened() {
    let setup = with_limits(CloneLimits {
        most_snapshots: 4,
        least_snapshots: 4,
        ..CloneLimits::default()
    });
    let volume = setup.volume("pvc");
    let mut taken: Vec<_> = (0..4)
        .map(|number| setup.take(&format!("s{number}"), &volume).unwrap())
        .collect();
    let refused = setup.take("s4", &volume).unwrap_err();
    let told = chain(&refused);
    assert_eq!(refused.class(), Class::Full, "{told}");
    let oldest = setup.image_of_snapshot(&taken[0]);
    assert!(
        told.contains("4 snapshots") && told.contains(&oldest),
        "{told}"
    );
    // Those that are there are found.
    assert_eq!(setup.take("s2", &volume).unwrap(), taken[2]);
    let later = until("room", FLATTENED, || {
        setup.take("s4", &volume).map_err(|error| {
            assert_eq!(error.class(), Class::Full, "{}", chain(&error));
            chain(&error)
        })
    });
    taken.push(later.unwrap());
    assert_eq!(depth(&setup, &oldest), 0);
    for (number, snapshot) in taken.iter().enumerate() {
        let image = setup.image_of_snapshot(snapshot);
        assert_eq!(
            sighted(&setup, &image),
            std::slice::from_ref(&image),
            "s{number}"
        );
        when_free(|| setup.drop(snapshot)).unwrap();
    }
    when_free(|| setup.delete(&volume.handle)).unwrap();
    setup.assert_nothing_left("all deleted");
}

#[test]
fn volumes_restored_from_a_deleted_snapshot_are_flattened_to_make_room() {
    let setup = with_limits(CloneLimits {
        most_snapshots: 1,
        least_snapshots: 1,
        ..CloneLimits::default()
    });
    let volume = setup.volume("pvc");
    let snapshot = setup.take("s", &volume).unwrap();
    let restored = setup.restore("r", &snapshot, &DEEP).unwrap();
    // The snapshot's image waits in the trash for the restored volume.
    when_free(|| setup.drop(&snapshot)).unwrap();
    let refused = setup.clone_of("c", &volume, &[]).unwrap_err();
    let told = chain(&refused);
    assert_eq!(refused.class(), Class::Full, "{told}");
    assert!(told.contains(&image_of(&restored)), "{told}");
    // The manager tries the removal of what is in the trash again after 30 seconds.
    let clone = until("room", FLATTENED, || {
        setup.clone_of("c", &volume, &[]).map_err(|error| {
            assert_eq!(error.class(), Class::Full, "{}", chain(&error));
            chain(&error)
        })
    });
    assert_eq!(depth(&setup, &image_of(&restored)), 0);
    for volume in [&volume, &restored, &clone.unwrap()] {
        when_free(|| setup.delete(&volume.handle)).unwrap();
    }
    setup.assert_nothing_left("all deleted");
}

#[test]
fn what_is_being_flattened_can_be_deleted() {
    let setup = setup();
    let mut request = setup.request("pvc", &[]);
    request.range = crate::setup::range(64 * 1024, None);
    let volume = setup.create(&request).unwrap();
    let snapshot = setup.take("s", &volume).unwrap();
    let image = setup.image_of_snapshot(&snapshot);
    let spec = setup.spec(&image);
    let order = serde_json::json!({"prefix": "rbd task add flatten", "image_spec": spec});
    setup.io().cluster().mgr_command(&order).unwrap();
    // The size makes it take seconds; whether it waits, runs or has ended, the deletion goes on.
    when_free(|| setup.drop(&snapshot)).unwrap();
    when_free(|| setup.delete(&volume.handle)).unwrap();
    setup.assert_nothing_left("all deleted");
}

#[test]
fn three_hundred_snapshots_of_one_image() {
    const MANY: usize = 300;
    let setup = setup();
    let volume = setup.volume("pvc");
    let controllers: Vec<_> = (0..2).map(|_| controller("").1).collect();
    let next = AtomicUsize::new(0);
    // Each takes the image's exclusive lock from the one before: more at once are slower.
    let side_by_side = |work: &(dyn Fn(usize) + Sync)| {
        next.store(0, Ordering::Relaxed);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= MANY {
                            break;
                        }
                        work(number);
                    }
                });
            }
        });
    };
    let taken: Vec<_> = (0..MANY).map(|_| std::sync::OnceLock::new()).collect();
    side_by_side(&|number| {
        let request = setup.taking(&format!("s{number}"), &volume.handle);
        let made = controllers[number % 2].create_snapshot(&setup.table, &request);
        taken[number].set(made.unwrap()).unwrap();
    });
    let images: Vec<_> = taken
        .iter()
        .map(|made| setup.image_of_snapshot(made.get().unwrap()))
        .collect();
    let contents = setup.contents();
    for image in &images {
        assert!(contents.images.contains(image), "{image}");
    }
    assert_eq!(contents.images.len(), MANY + 1);
    assert_eq!(contents.omap_keys["csi.snaps.default"].len(), MANY);
    // The oldest, one in the middle and the youngest can be restored, and so can the next.
    for number in [0, MANY / 2, MANY - 1] {
        let name = format!("r{number}");
        let made = taken[number].get().unwrap();
        let (restored, _) = when_flat(&setup, &name, |setup| setup.restore(&name, made, &[]));
        when_free(|| setup.delete(&restored.handle)).unwrap();
    }
    side_by_side(&|number| {
        when_free(|| setup.drop(taken[number].get().unwrap())).unwrap();
    });
    when_free(|| setup.delete(&volume.handle)).unwrap();
    // The manager removes one image after the other.
    let gone = until("nothing left", Duration::from_secs(600), || {
        let left = setup.contents().leftovers();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{} things", left.len()))
        }
    });
    gone.unwrap();
    assert!(
        setup
            .io()
            .image_id(&ImageName::new(images[0].clone()).unwrap())
            .unwrap()
            .is_none()
    );
}
