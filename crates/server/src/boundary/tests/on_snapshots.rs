//! Requests about snapshots, and content sources of new volumes.

use cuttle_volumes::SourceKind;
use v1::volume_content_source::{SnapshotSource, Type, VolumeSource};

use super::*;
use crate::boundary::snapshots;

const OF_THE_TREE: &str =
    "mig_mons-b7f67366bb43f32e07d8a261a7840da9_image-e0b45b52-7e09-47d3-8f1b-806995fa4412_706f6f6c";

fn taking() -> v1::CreateSnapshotRequest {
    v1::CreateSnapshotRequest {
        source_volume_id: HANDLE.to_owned(),
        name: "snapshot-1".to_owned(),
        secrets: secrets(),
        parameters: map(&[("clusterID", "c1"), ("snapshotNamePrefix", "nightly-")]),
    }
}

fn refused_taking(change: impl FnOnce(&mut v1::CreateSnapshotRequest)) -> Mistakes {
    let mut wire = taking();
    change(&mut wire);
    snapshots::create(wire, &table()).unwrap_err()
}

#[test]
fn a_snapshot_as_the_snapshotter_asks_for_it() {
    let request = snapshots::create(taking(), &table()).unwrap();
    assert_eq!(request.source.encode(), HANDLE);
    assert_eq!(request.name.as_str(), "snapshot-1");
    assert_eq!(request.parameters.cluster.as_str(), "c1");
    assert_eq!(request.credentials.user.as_str(), "csi");
}

#[test]
fn every_field_of_a_snapshots_request_is_checked() {
    for (part, mistakes) in [
        (
            "source_volume_id: must not be empty",
            refused_taking(|w| w.source_volume_id.clear()),
        ),
        (
            "source_volume_id",
            refused_taking(|w| w.source_volume_id = "disk-1".to_owned()),
        ),
        (
            "source_volume_id: cluster \"c9\"",
            refused_taking(|w| w.source_volume_id = HANDLE.replace("c1", "c9")),
        ),
        ("name", refused_taking(|w| w.name.clear())),
        ("name", refused_taking(|w| w.name = "n".repeat(129))),
        ("name", refused_taking(|w| w.name = "a\nb".to_owned())),
        (
            "parameters.clusterID: cluster \"c9\"",
            refused_taking(|w| w.parameters = map(&[("clusterID", "c9")])),
        ),
        (
            "clusterID is missing",
            refused_taking(|w| w.parameters.clear()),
        ),
        (
            "snapshotNamePrefix must not contain '/'",
            refused_taking(|w| {
                w.parameters
                    .insert("snapshotNamePrefix".to_owned(), "a/b".to_owned());
            }),
        ),
        (
            "csi.storage.k8s.io/snapshotter-secret-name",
            refused_taking(|w| w.secrets.clear()),
        ),
        (
            "secrets.userKey",
            refused_taking(|w| drop(w.secrets.remove("userKey"))),
        ),
    ] {
        assert_told(&mistakes, Class::Invalid, &[part]);
    }
    assert_told(
        &refused_taking(|w| w.source_volume_id = OF_THE_TREE.to_owned()),
        Class::Unsupported,
        &["source_volume_id", "in-tree"],
    );
    let all = snapshots::create(v1::CreateSnapshotRequest::default(), &table()).unwrap_err();
    assert_told(
        &all,
        Class::Invalid,
        &[
            "5 mistakes",
            "name",
            "source_volume_id",
            "clusterID",
            "userID",
            "userKey",
        ],
    );
}

#[test]
fn a_deletion_of_a_snapshot_needs_handle_and_secrets() {
    let wire = v1::DeleteSnapshotRequest {
        snapshot_id: HANDLE.to_owned(),
        secrets: secrets(),
    };
    let request = snapshots::delete(&wire, &table()).unwrap();
    assert_eq!(request.handle.encode(), HANDLE);
    for (part, id) in [
        ("snapshot_id: must not be empty", String::new()),
        ("snapshot_id", "snap".to_owned()),
        ("snapshot_id: cluster", HANDLE.replace("c1", "c9")),
    ] {
        let wire = v1::DeleteSnapshotRequest {
            snapshot_id: id,
            ..wire.clone()
        };
        let refused = snapshots::delete(&wire, &table()).unwrap_err();
        assert_told(&refused, Class::Invalid, &[part]);
    }
    let wire = v1::DeleteSnapshotRequest {
        secrets: map(&[]),
        ..wire
    };
    let refused = snapshots::delete(&wire, &table()).unwrap_err();
    assert_told(&refused, Class::Invalid, &["snapshotter-secret-name"]);
}

fn from(kind: Type) -> v1::CreateVolumeRequest {
    v1::CreateVolumeRequest {
        volume_content_source: Some(v1::VolumeContentSource { r#type: Some(kind) }),
        ..good()
    }
}

fn snapshot(id: &str) -> Type {
    Type::Snapshot(SnapshotSource {
        snapshot_id: id.to_owned(),
    })
}

fn volume(id: &str) -> Type {
    Type::Volume(VolumeSource {
        volume_id: id.to_owned(),
    })
}

#[test]
fn a_volume_is_made_of_a_snapshot_or_a_volume() {
    for (kind, wire) in [
        (SourceKind::Snapshot, snapshot(HANDLE)),
        (SourceKind::Volume, volume(HANDLE)),
    ] {
        let request = create::create(from(wire), &table()).unwrap();
        let source = request.source.unwrap();
        assert_eq!(
            (source.kind, source.handle.encode()),
            (kind, HANDLE.to_owned())
        );
    }
    assert!(create::create(good(), &table()).unwrap().source.is_none());
}

#[test]
fn content_sources_are_checked() {
    for (part, class, wire) in [
        (
            "snapshot.snapshot_id: must not be empty",
            Class::Invalid,
            snapshot(""),
        ),
        ("snapshot.snapshot_id", Class::Invalid, snapshot("s")),
        (
            "snapshot.snapshot_id: cluster \"c9\"",
            Class::Invalid,
            snapshot(&HANDLE.replace("c1", "c9")),
        ),
        (
            "volume.volume_id: must not be empty",
            Class::Invalid,
            volume(""),
        ),
        ("volume.volume_id", Class::Invalid, volume("disk")),
        ("volume.volume_id", Class::Unsupported, volume(OF_THE_TREE)),
    ] {
        let refused = create::create(from(wire), &table()).unwrap_err();
        assert_told(&refused, class, &[part]);
    }
    let wire = v1::CreateVolumeRequest {
        volume_content_source: Some(v1::VolumeContentSource { r#type: None }),
        ..good()
    };
    let refused = create::create(wire, &table()).unwrap_err();
    assert_told(
        &refused,
        Class::Invalid,
        &["neither a snapshot nor a volume"],
    );
}

#[test]
fn only_a_volume_with_content_is_for_readers() {
    for mode in [Mode::MultiNodeReaderOnly, Mode::SingleNodeReaderOnly] {
        let mut wire = from(snapshot(HANDLE));
        wire.volume_capabilities = vec![capability(mount(), mode)];
        create::create(wire.clone(), &table()).unwrap();
        wire.volume_content_source = None;
        let refused = create::create(wire, &table()).unwrap_err();
        assert_told(&refused, Class::Invalid, &["new, empty volume"]);
    }
    let mut wire = from(snapshot(HANDLE));
    wire.volume_capabilities = vec![capability(mount(), Mode::MultiNodeMultiWriter)];
    let refused = create::create(wire, &table()).unwrap_err();
    assert_told(&refused, Class::Invalid, &["only one node may write"]);
}

#[test]
fn every_field_of_a_listing_is_checked() {
    let listing = v1::ListSnapshotsRequest {
        snapshot_id: HANDLE.to_owned(),
        source_volume_id: HANDLE.to_owned(),
        secrets: secrets(),
        ..v1::ListSnapshotsRequest::default()
    };
    snapshots::list(listing.clone(), &table()).unwrap();
    let refused = |change: fn(&mut v1::ListSnapshotsRequest)| {
        let mut wire = listing.clone();
        change(&mut wire);
        snapshots::list(wire, &table()).unwrap_err()
    };
    for (part, mistakes) in [
        (
            "snapshot_id: cluster \"c9\"",
            refused(|w| w.snapshot_id = HANDLE.replace("c1", "c9")),
        ),
        (
            "source_volume_id: cluster \"c9\"",
            refused(|w| w.source_volume_id = HANDLE.replace("c1", "c9")),
        ),
        (
            "max_entries: must not be negative, is -1",
            refused(|w| w.max_entries = -1),
        ),
        ("userKey", refused(|w| drop(w.secrets.remove("userKey")))),
        (
            "userID",
            refused(|w| drop(w.secrets.insert("userID".to_owned(), "client.x".to_owned()))),
        ),
    ] {
        let told = mistakes.to_string();
        assert!(told.contains(part), "{told}");
        assert!(!told.contains("client.x"), "{told}");
    }
    // Handles that are none of ours are nobody's.
    for strange in ["x", "0001-", &"n".repeat(5000), OF_THE_TREE] {
        for field in 0..2 {
            let mut wire = listing.clone();
            let changed = match field {
                0 => &mut wire.snapshot_id,
                _ => &mut wire.source_volume_id,
            };
            strange.clone_into(changed);
            let list = snapshots::list(wire, &table()).unwrap();
            assert!(matches!(list.listing, snapshots::Listing::Nothing));
        }
    }
}

#[test]
fn every_field_of_a_question_about_a_snapshot_is_checked() {
    let question = v1::GetSnapshotRequest {
        snapshot_id: HANDLE.to_owned(),
        secrets: secrets(),
    };
    let asked = snapshots::get(&question, &table()).unwrap();
    assert_eq!(asked.handle.encode(), HANDLE);
    assert!(asked.credentials.is_some());
    for (part, id) in [
        ("snapshot_id: must not be empty", String::new()),
        ("snapshot_id", "disk-1".to_owned()),
        ("snapshot_id", OF_THE_TREE.to_owned()),
        ("snapshot_id: cluster \"c9\"", HANDLE.replace("c1", "c9")),
    ] {
        let wire = v1::GetSnapshotRequest {
            snapshot_id: id,
            ..question.clone()
        };
        let told = snapshots::get(&wire, &table()).unwrap_err().to_string();
        assert!(told.contains(part), "{told}");
    }
}
