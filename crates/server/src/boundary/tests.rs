//! Bad requests of every kind, and the good ones beside them.

use std::collections::BTreeMap;

use cuttle_csi::v1;
use cuttle_csi::v1::volume_capability::access_mode::Mode;
use cuttle_csi::v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
use cuttle_model::{ByteSize, Class, ClusterId, ClusterSettings, ClusterTable, Explain, Monitors};
use proptest::prelude::*;

use super::controller::RBD;
use super::mistakes::Mistakes;
use super::{controller, create};

mod on_nodes;
mod on_snapshots;

const HANDLE: &str = "0001-0002-c1-0000000000000002-50d53503-9da1-11ed-847e-bacf8f2f1297";
const GIB: i64 = 1 << 30;

fn table() -> ClusterTable {
    let cluster = |id: &str| {
        ClusterSettings::new(
            ClusterId::new(id).unwrap(),
            Monitors::new(vec!["127.0.0.1:3300".to_owned()]).unwrap(),
        )
    };
    ClusterTable::new([cluster("c1"), cluster("c2")])
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

fn secrets() -> BTreeMap<String, String> {
    map(&[("userID", "csi"), ("userKey", "QUJD")])
}

fn capability(access: AccessType, mode: Mode) -> v1::VolumeCapability {
    v1::VolumeCapability {
        access_type: Some(access),
        access_mode: Some(AccessMode { mode: mode.into() }),
    }
}

fn mount() -> AccessType {
    AccessType::Mount(MountVolume {
        fs_type: "ext4".to_owned(),
        ..MountVolume::default()
    })
}

fn good() -> v1::CreateVolumeRequest {
    v1::CreateVolumeRequest {
        name: "pvc-1".to_owned(),
        capacity_range: Some(v1::CapacityRange {
            required_bytes: GIB,
            limit_bytes: 0,
        }),
        volume_capabilities: vec![capability(mount(), Mode::SingleNodeWriter)],
        parameters: map(&[("clusterID", "c1"), ("pool", "rbd")]),
        secrets: secrets(),
        ..v1::CreateVolumeRequest::default()
    }
}

fn refused(change: impl FnOnce(&mut v1::CreateVolumeRequest)) -> Mistakes {
    let mut wire = good();
    change(&mut wire);
    create::create(wire, &table()).unwrap_err()
}

/// The mistake is of the class, and its text and remedy together hold all the parts.
fn assert_told(mistakes: &Mistakes, class: Class, parts: &[&str]) {
    let text = format!("{mistakes}; {}", mistakes.remedy().unwrap_or_default());
    assert_eq!(mistakes.class(), class, "{text}");
    for part in parts {
        assert!(text.contains(part), "\"{part}\" not in: {text}");
    }
}

#[test]
fn a_good_create_passes_whole() {
    let create = create::create(good(), &table()).unwrap();
    assert_eq!(create.name.as_str(), "pvc-1");
    assert_eq!(create.range.required, Some(ByteSize::GIB));
    assert_eq!(create.parsed.parameters.cluster.as_str(), "c1");
    assert_eq!(create.credentials.user.as_str(), "csi");
    let mut default_size = good();
    default_size.capacity_range = None;
    let range = create::create(default_size, &table()).unwrap().range;
    assert_eq!(range, cuttle_model::CapacityRange::default());
}

#[test]
fn names_are_bounded() {
    assert_told(
        &refused(|w| w.name.clear()),
        Class::Invalid,
        &["name", "must not be empty"],
    );
    let megabyte = refused(|w| w.name = "n".repeat(1 << 20));
    assert_told(&megabyte, Class::Invalid, &["at most 128 bytes"]);
    assert!(megabyte.to_string().len() < 400);
    assert_told(
        &refused(|w| w.name = "a\u{7}b".into()),
        Class::Invalid,
        &["control characters"],
    );
}

#[test]
fn sizes_are_checked_before_anything_is_made() {
    let range = |required_bytes, limit_bytes| {
        refused(|w| {
            w.capacity_range = Some(v1::CapacityRange {
                required_bytes,
                limit_bytes,
            });
        })
    };
    assert_told(
        &range(-1, 0),
        Class::Invalid,
        &["required_bytes must not be negative"],
    );
    assert_told(
        &range(2 * GIB, GIB),
        Class::Invalid,
        &["limit_bytes (1 GiB) is below"],
    );
    assert_told(
        &range(GIB + 1, GIB + 2),
        Class::OutOfRange,
        &[
            "rounds up to 2 GiB",
            "raise the claim's limit to at least 2 GiB",
        ],
    );
    assert_told(
        &range(i64::MAX, 0),
        Class::OutOfRange,
        &["beyond the largest volume"],
    );
}

#[test]
fn parameters_and_clusters_are_named() {
    assert_told(
        &refused(|w| w.parameters.clear()),
        Class::Invalid,
        &["clusterID", "pool"],
    );
    assert_told(
        &refused(|w| w.parameters = map(&[("clusterID", "nope"), ("pool", "p")])),
        Class::Invalid,
        &[
            "parameters.clusterID",
            "\"nope\" is not in config.json",
            "use one of c1, c2",
        ],
    );
    assert_told(
        &refused(|w| {
            w.parameters.extend(map(&[("imageFeature", "layering")]));
        }),
        Class::Invalid,
        &["imageFeature"],
    );
    assert_told(
        &refused(|w| w.parameters.extend(map(&[("encrypted", "true")]))),
        Class::Invalid,
        &["encrypted", "not supported yet"],
    );
}

#[test]
fn capabilities_that_rbd_cannot_serve_are_refused() {
    let mode = |access: AccessType, mode| {
        let mut wire = good();
        wire.volume_capabilities = vec![capability(access, mode)];
        create::create(wire, &table())
    };
    let block = || AccessType::Block(BlockVolume {});
    for good in [
        Mode::SingleNodeWriter,
        Mode::SingleNodeSingleWriter,
        Mode::SingleNodeMultiWriter,
    ] {
        mode(mount(), good).unwrap();
    }
    mode(block(), Mode::MultiNodeMultiWriter).unwrap();
    assert_told(
        &mode(mount(), Mode::MultiNodeMultiWriter).unwrap_err(),
        Class::Invalid,
        &[
            "volume_capabilities[0].access_mode.mode",
            "MULTI_NODE_MULTI_WRITER",
            "CephFS",
        ],
    );
    assert_told(
        &mode(mount(), Mode::MultiNodeReaderOnly).unwrap_err(),
        Class::Invalid,
        &["new, empty volume"],
    );
    assert_told(
        &refused(|w| w.volume_capabilities.clear()),
        Class::Invalid,
        &["volume_capabilities", "at least one"],
    );
}

#[test]
fn what_is_to_come_is_unsupported_and_named() {
    let mutable = refused(|w| w.mutable_parameters = map(&[("iops", "1")]));
    assert_told(
        &mutable,
        Class::Unsupported,
        &["mutable_parameters", "not supported yet"],
    );
}

#[test]
fn all_mistakes_come_at_once_and_hide_secrets() {
    let all = create::create(
        v1::CreateVolumeRequest {
            secrets: map(&[("userID", "client.MARKER"), ("userKey", "MARKER MARKER")]),
            ..v1::CreateVolumeRequest::default()
        },
        &table(),
    )
    .unwrap_err();
    assert_told(
        &all,
        Class::Invalid,
        &[
            "name",
            "volume_capabilities",
            "parameters",
            "secrets.userID",
            "secrets.userKey",
        ],
    );
    let text = format!("{all} {all:?} {:?}", all.remedy());
    assert!(!text.contains("MARKER"), "{text}");
    assert_eq!(all.code().to_string(), "CUTTLE-1032");
}

#[test]
fn deletes_need_a_handle_of_a_known_cluster() {
    let delete = |handle: &str| {
        let wire = v1::DeleteVolumeRequest {
            volume_id: handle.to_owned(),
            secrets: secrets(),
        };
        controller::delete(RBD, &wire, &table())
    };
    assert_eq!(delete(HANDLE).unwrap().handle.encode(), HANDLE);
    assert_told(
        &delete("").unwrap_err(),
        Class::Invalid,
        &["volume_id", "empty"],
    );
    assert_told(
        &delete("../../etc").unwrap_err(),
        Class::Invalid,
        &["malformed"],
    );
    let elsewhere = HANDLE.replace("c1", "c9");
    assert_told(
        &delete(&elsewhere).unwrap_err(),
        Class::Invalid,
        &["\"c9\"", "c1, c2"],
    );
    let anonymous = v1::DeleteVolumeRequest {
        volume_id: HANDLE.to_owned(),
        ..Default::default()
    };
    assert_told(
        &controller::delete(RBD, &anonymous, &table()).unwrap_err(),
        Class::Invalid,
        &["secrets.userID: is missing", "secrets.userKey: is missing"],
    );
}

#[test]
fn expansions_need_a_size() {
    let expand = |capacity_range, volume_capability| {
        let wire = v1::ControllerExpandVolumeRequest {
            volume_id: HANDLE.to_owned(),
            capacity_range,
            secrets: secrets(),
            volume_capability,
        };
        controller::expand(RBD, wire, &table())
    };
    let range = |required_bytes, limit_bytes| {
        Some(v1::CapacityRange {
            required_bytes,
            limit_bytes,
        })
    };
    let grown = expand(range(GIB + 1, 0), None).unwrap();
    assert_eq!(grown.range.required.unwrap().bytes(), (1 << 30) + 1);
    assert_eq!(grown.capability, None);
    let block = capability(AccessType::Block(BlockVolume {}), Mode::SingleNodeWriter);
    let block = expand(range(GIB, 0), Some(block)).unwrap();
    assert!(block.capability.unwrap().is_block());
    assert_told(
        &expand(None, None).unwrap_err(),
        Class::Invalid,
        &["capacity_range", "missing"],
    );
    assert_told(
        &expand(range(0, GIB), None).unwrap_err(),
        Class::Invalid,
        &["required_bytes"],
    );
    assert_told(
        &expand(range(GIB + 1, GIB + 1), None).unwrap_err(),
        Class::OutOfRange,
        &["limit"],
    );
}

#[test]
fn validation_objects_to_what_cannot_be_and_refuses_what_is_malformed() {
    let validate = |mode, parameters: &[(&str, &str)]| {
        let wire = v1::ValidateVolumeCapabilitiesRequest {
            volume_id: HANDLE.to_owned(),
            volume_capabilities: vec![capability(mount(), mode)],
            parameters: map(parameters),
            ..Default::default()
        };
        controller::validate(RBD, wire, &table())
    };
    assert_eq!(
        validate(Mode::SingleNodeWriter, &[]).unwrap().objection,
        None
    );
    assert_eq!(
        validate(Mode::MultiNodeReaderOnly, &[]).unwrap().objection,
        None
    );
    let shared = validate(Mode::MultiNodeMultiWriter, &[])
        .unwrap()
        .objection
        .unwrap();
    assert!(shared.contains("MULTI_NODE_MULTI_WRITER"), "{shared}");
    let wrong = validate(Mode::SingleNodeWriter, &[("pool", "")])
        .unwrap()
        .objection
        .unwrap();
    assert!(wrong.contains("clusterID"), "{wrong}");
    assert_told(
        &validate(Mode::Unknown, &[]).unwrap_err(),
        Class::Invalid,
        &["access_mode"],
    );
}

#[test]
fn pages_have_a_size_of_zero_or_more() {
    let list = |max_entries, token: &str| {
        controller::list(v1::ListVolumesRequest {
            max_entries,
            starting_token: token.to_owned(),
        })
    };
    let first = list(0, "").unwrap();
    assert_eq!((first.most, first.token), (None, None));
    let next = list(5, "t").unwrap();
    assert_eq!((next.most, next.token.as_deref()), (Some(5), Some("t")));
    assert_told(&list(-1, "").unwrap_err(), Class::Invalid, &["max_entries"]);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        Just(String::new()),
        Just(HANDLE.to_owned()),
        Just("c1".to_owned()),
        "[0-9a-f-]{0,90}",
    ]
}

fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop_oneof![
        any::<String>(),
        Just("clusterID".to_owned()),
        Just("pool".to_owned()),
        Just("userID".to_owned()),
        Just("userKey".to_owned()),
        Just("mounter".to_owned()),
    ];
    prop::collection::btree_map(key, text(), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_requests_are_refused_with_a_short_text(
        name in text(),
        handle in text(),
        parameters in pairs(),
        secrets in pairs(),
        required_bytes in any::<i64>(),
        limit_bytes in any::<i64>(),
        mode in any::<i32>(),
    ) {
        let capacity_range = Some(v1::CapacityRange { required_bytes, limit_bytes });
        let capability = v1::VolumeCapability {
            access_mode: Some(AccessMode { mode }),
            access_type: Some(mount()),
        };
        let create = create::create(
            v1::CreateVolumeRequest {
                name,
                capacity_range,
                volume_capabilities: vec![capability.clone()],
                parameters: parameters.clone(),
                secrets: secrets.clone(),
                ..Default::default()
            },
            &table(),
        ).err();
        let expand = controller::expand(
            RBD,
            v1::ControllerExpandVolumeRequest {
                volume_id: handle.clone(),
                capacity_range,
                secrets: secrets.clone(),
                volume_capability: Some(capability),
            },
            &table(),
        ).err();
        let delete = controller::delete(
            RBD,
            &v1::DeleteVolumeRequest { volume_id: handle, secrets },
            &table(),
        ).err();
        for mistakes in [create, expand, delete].into_iter().flatten() {
            prop_assert!(
                matches!(mistakes.class(), Class::Invalid | Class::OutOfRange),
                "{mistakes}"
            );
            prop_assert!(mistakes.to_string().len() < 16_384);
        }
    }
}
