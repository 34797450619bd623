//! Volumes that ceph-csi has encrypted: known as such, and left whole.

use cuttle_model::{Access, Class, Explain, VolumeCapability, VolumeHandle};
use cuttle_volumes::ExpandVolume;
use cuttle_volumes::rbd::{CreateError, DeleteError};

use crate::setup::{capability, random_name, range, setup};

#[test]
fn a_volume_with_a_key_in_a_store_is_neither_deleted_nor_given_to_a_plain_claim() {
    let setup = setup();
    let name = random_name("pvc");
    let request = setup.request(&name, &[]);
    let created = setup.create(&request).unwrap();
    let record = format!("csi.volume.{}", created.handle.uuid);
    setup.set_omap(&record, "csi.volume.encryptKMS", "vault-1");
    setup.set_omap(&record, "csi.volume.encryptionType", "block");

    let error = setup.delete(&created.handle).unwrap_err();
    assert!(
        matches!(&error, DeleteError::Encrypted { store } if store == "vault-1"),
        "{error}"
    );
    assert_eq!(error.class(), Class::Unmet);
    assert!(error.remedy().is_some());
    let error = setup.create(&request).unwrap_err();
    assert!(
        matches!(
            error,
            CreateError::Incompatible {
                property: "encryption",
                ..
            }
        ),
        "{error}"
    );
    // The node has to grow the mapping over the image, even under a raw block volume.
    let block = VolumeCapability {
        access: Access::Block,
        ..capability()
    };
    let growth = ExpandVolume {
        handle: VolumeHandle::Composed(created.handle.clone()),
        range: range(32, None),
        capability: Some(block),
        credentials: setup.admin(),
    };
    let expanded = setup.controller.expand(&setup.table, &growth).unwrap();
    assert!(expanded.node_expansion_required);
    assert_eq!(setup.contents().images.len(), 1);

    // The store called `default` keeps no key of its own.
    setup.set_omap(&record, "csi.volume.encryptKMS", "default");
    setup.delete(&created.handle).unwrap();
    setup.assert_nothing_left("after delete");
}
