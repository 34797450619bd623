//! The trash.

use std::time::{Duration, SystemTime};

use cuttle_model::ImageId;
use serde_json::json;

use crate::setup::{image, setup, until};

#[test]
fn an_image_goes_through_the_trash_and_is_found_there() {
    let setup = setup();
    setup.make("i");
    let id = setup.io.image_id(&image("i")).unwrap().unwrap();
    assert!(setup.io.trash_move(&image("i")).unwrap());
    assert!(!setup.io.trash_move(&image("i")).unwrap());
    assert_eq!(setup.io.image_id(&image("i")).unwrap(), None);
    let entry = setup.io.trash_get(&id).unwrap().unwrap();
    assert_eq!(
        (entry.name.as_str(), &entry.id, entry.by_user),
        ("i", &id, true)
    );
    let age = SystemTime::now()
        .duration_since(entry.deleted)
        .unwrap_or_default();
    assert!(age < Duration::from_secs(600), "{age:?}");
    assert_eq!(
        setup.io.trash_find_by_name(&image("i")).unwrap(),
        Some(entry)
    );
    assert_eq!(setup.io.trash_find_by_name(&image("other")).unwrap(), None);
    assert!(setup.io.trash_remove(&id, false).unwrap());
    assert!(!setup.io.trash_remove(&id, false).unwrap());
    assert_eq!(setup.io.trash_get(&id).unwrap(), None);
    assert_eq!(setup.leftovers(), [""; 0]);
}

#[test]
fn an_image_comes_back_from_the_trash() {
    let setup = setup();
    setup.make("i");
    let id = setup.io.image_id(&image("i")).unwrap().unwrap();
    setup.io.trash_move(&image("i")).unwrap();
    setup.make("i");
    let taken = setup.io.trash_restore(&id, &image("i")).unwrap_err();
    assert!(taken.is_present(), "{taken}");
    setup.io.trash_restore(&id, &image("j")).unwrap();
    assert_eq!(setup.io.image_id(&image("j")).unwrap(), Some(id));
    let unknown = ImageId::new("00000000000000").unwrap();
    assert!(
        setup
            .io
            .trash_restore(&unknown, &image("k"))
            .unwrap_err()
            .is_absent()
    );
}

#[test]
fn the_manager_empties_the_trash_on_command() {
    let setup = setup();
    setup.make("i");
    let id = setup.io.image_id(&image("i")).unwrap().unwrap();
    setup.io.trash_move(&image("i")).unwrap();
    let spec = setup.spec(id.as_str());
    let command = json!({"prefix": "rbd task add trash remove", "image_id_spec": spec});
    let reply = setup.cluster.mgr_command(&command).unwrap();
    assert!(reply.json["id"].is_string(), "{reply:?}");
    assert!(until(Duration::from_secs(60), || setup
        .io
        .trash_get(&id)
        .unwrap()
        .is_none()));
}
