//! The same name again, with other wishes.

use cuttle_model::{Class, Explain};
use cuttle_volumes::rbd::CreateError;

use crate::setup::{Setup, random_name, range, setup};

fn again(
    setup: &Setup,
    name: &str,
    sizes: (u64, Option<u64>),
    more: &[(&str, &str)],
) -> Result<cuttle_volumes::Created, CreateError> {
    let mut request = setup.request(name, more);
    request.range = range(sizes.0, sizes.1);
    setup.create(&request)
}

#[test]
fn only_incompatible_twins_are_refused() {
    let setup = setup();
    let name = random_name("pvc");
    let created = again(&setup, &name, (16, None), &[]).unwrap();
    for sizes in [(16, None), (8, None), (8, Some(16)), (16, Some(20))] {
        assert_eq!(
            again(&setup, &name, sizes, &[]).unwrap(),
            created,
            "{sizes:?}"
        );
    }
    for sizes in [(17, None), (8, Some(15))] {
        let error = again(&setup, &name, sizes, &[]).unwrap_err();
        assert!(
            matches!(
                error,
                CreateError::Incompatible {
                    property: "size",
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(error.class(), Class::Exists);
    }
    for (key, value, property) in [
        ("imageFeatures", "layering", "features"),
        ("objectSize", "1048576", "object size"),
        ("dataPool", "rbd", "data pool"),
    ] {
        let error = again(&setup, &name, (16, None), &[(key, value)]).unwrap_err();
        assert!(
            matches!(&error, CreateError::Incompatible { property: found, .. } if *found == property),
            "{error}"
        );
        assert!(error.remedy().is_some());
    }
    setup.assert_exactly("afterwards", &[(&name, &created)]);
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after delete");
}

#[test]
fn metadata_that_is_missing_is_set_by_the_repetition() {
    let setup = setup();
    let name = random_name("pvc");
    let created = again(&setup, &name, (16, None), &[]).unwrap();
    let spec = setup.spec(&created.context["imageName"]);
    let key = "csi.ceph.com/cluster/name";
    setup
        .witness
        .rbd(&["image-meta", "remove", &spec, key])
        .unwrap();
    again(&setup, &name, (16, None), &[]).unwrap();
    let value = setup
        .witness
        .rbd(&["image-meta", "get", &spec, key])
        .unwrap();
    assert_eq!(value.trim(), "k8s-east");
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after delete");
}
