//! Volume handles: the known vectors, hostile text, and decode(encode(x)) == x.

use proptest::prelude::*;

use super::*;

const ROOK: &str = "0001-0009-rook-ceph-0000000000000002-50d53503-9da1-11ed-847e-bacf8f2f1297";
const MIGRATED: &str = "mig_mons-b7f67366bb43f32e07d8a261a7840da9_image-e0b45b52-7e09-47d3-8f1b-\
                        806995fa4412_706f6f6c5f7265706c6963615f706f6f6c";

fn composed(text: &str) -> ComposedHandle {
    match VolumeHandle::parse(text).unwrap() {
        VolumeHandle::Composed(handle) => handle,
        VolumeHandle::Migrated(handle) => panic!("{handle:?} is no composed handle"),
    }
}

fn part_of(text: &str) -> &'static str {
    VolumeHandle::parse(text).unwrap_err().part()
}

#[test]
fn a_handle_of_ceph_csi_decodes_and_encodes_to_itself() {
    let handle = composed(ROOK);
    assert_eq!(handle.cluster.as_str(), "rook-ceph");
    assert_eq!(handle.location, 2);
    assert_eq!(handle.uuid.as_str(), "50d53503-9da1-11ed-847e-bacf8f2f1297");
    assert_eq!(handle.encode(), ROOK);
    assert_eq!(ROOK.len(), 73);
}

#[test]
fn any_version_and_upper_case_are_read() {
    let vector = "ffff-0024-01616094-9d93-4178-bf45-c7eac19e8b15-000000000000ffff-\
                  00000000-1111-2222-bbbb-cacacacacaca";
    let handle = composed(vector);
    assert_eq!(
        handle.cluster.as_str(),
        "01616094-9d93-4178-bf45-c7eac19e8b15"
    );
    assert_eq!(handle.location, 0xffff);
    assert_eq!(handle.encode(), vector.replacen("ffff", "0001", 1));
    let upper = vector.replace("000000000000ffff", "000000000000FFFF");
    assert_eq!(composed(&upper), handle);
}

#[test]
fn a_cluster_id_may_have_one_to_64_bytes() {
    let with = |id: &str| {
        format!(
            "0001-{:04x}-{id}-0000000000000001-{}",
            id.len(),
            "50d53503-9da1-11ed-847e-bacf8f2f1297"
        )
    };
    assert_eq!(composed(&with(&"c".repeat(64))).encode().len(), 128);
    assert_eq!(part_of(&with("")), "cluster ID length");
    assert_eq!(part_of(&with(&"c".repeat(65))), "cluster ID");
    assert_eq!(composed(&with("a-b-c")).cluster.as_str(), "a-b-c");
    assert_eq!(composed(&with("ö")).cluster.as_str(), "ö");
}

#[test]
fn each_broken_part_is_named() {
    let uuid = "50d53503-9da1-11ed-847e-bacf8f2f1297";
    for (text, part) in [
        (String::new(), "version"),
        ("vol-1".to_owned(), "version"),
        ("+001-0001-c".to_owned(), "version"),
        (format!("0001_0001-c-0000000000000001-{uuid}"), "version"),
        (
            format!("0001-00g1-c-0000000000000001-{uuid}"),
            "cluster ID length",
        ),
        (format!("0001-ffff-c-0000000000000001-{uuid}"), "cluster ID"),
        (
            format!("0001-0002-ö\u{20ac}-0000000000000001-{uuid}"),
            "cluster ID",
        ),
        (format!("0001-0001-ö-0000000000000001-{uuid}"), "cluster ID"),
        (
            format!("0001-0001-c-00000000000000-1-{uuid}"),
            "pool number",
        ),
        (
            format!("0001-0001-c-ffffffffffffffff-{uuid}"),
            "pool number",
        ),
        (
            format!("0001-0001-c-8000000000000000-{uuid}"),
            "pool number",
        ),
        (
            format!("0001-0001-c-0000000000000001-{uuid}x"),
            "object UUID",
        ),
        (
            format!("0001-0001-c-0000000000000001-{}/", uuid.split_at(1).1),
            "object UUID",
        ),
        ("0001-0001-c-0000000000000001-".to_owned(), "object UUID"),
        ("mig_".to_owned(), "form"),
        ("mig_mons-a_image-b".to_owned(), "form"),
        ("mig_mons-a_image-b_70_70".to_owned(), "form"),
        ("mig_nons-a_image-b_70".to_owned(), "monitors"),
        ("mig_mons-_image-b_70".to_owned(), "monitors"),
        ("mig_mons-a_imagine-b_70".to_owned(), "image"),
        ("mig_mons-a_image-_70".to_owned(), "image"),
        ("mig_mons-a_image-b@c_70".to_owned(), "image"),
        ("mig_mons-a_image-b_7".to_owned(), "pool name"),
        ("mig_mons-a_image-b_7x".to_owned(), "pool name"),
        ("mig_mons-a_image-b_ff".to_owned(), "pool name"),
        ("mig_mons-a_image-b_".to_owned(), "pool name"),
        (format!("mig_{}", "x".repeat(1 << 20)), "length"),
    ] {
        assert_eq!(part_of(&text), part, "{}", shorten(&text));
    }
}

#[test]
fn a_megabyte_of_handle_makes_a_short_message() {
    let error = VolumeHandle::parse(&"0".repeat(1 << 20)).unwrap_err();
    assert!(error.to_string().len() < 300);
    assert_eq!(error.class(), Class::Invalid);
}

#[test]
fn a_migrated_handle_names_cluster_image_and_pool() {
    let parsed = VolumeHandle::parse(MIGRATED).unwrap();
    assert_eq!(parsed.encode(), MIGRATED);
    assert_eq!(
        parsed.cluster().as_str(),
        "b7f67366bb43f32e07d8a261a7840da9"
    );
    let VolumeHandle::Migrated(handle) = parsed else {
        panic!("not migrated")
    };
    assert_eq!(handle.pool().as_str(), "pool_replica_pool");
    assert_eq!(
        handle.image().as_str(),
        "kubernetes-dynamic-pvc-e0b45b52-7e09-47d3-8f1b-806995fa4412"
    );
}

proptest! {
    #[test]
    fn hostile_text_never_panics(text in any::<String>()) {
        if let Ok(handle) = VolumeHandle::parse(&text) {
            prop_assert_eq!(VolumeHandle::parse(&handle.encode()), Ok(handle));
        }
    }

    #[test]
    fn a_damaged_handle_never_panics(at in 0..73_usize, with in any::<char>(), cut in 0..80_usize) {
        let mut chars: Vec<char> = ROOK.chars().collect();
        chars[at] = with;
        chars.truncate(cut);
        let text: String = chars.into_iter().collect();
        if let Ok(handle) = VolumeHandle::parse(&text) {
            prop_assert_eq!(VolumeHandle::parse(&handle.encode()), Ok(handle));
        }
    }

    #[test]
    fn near_handles_never_panic(text in "(0001|ffff|mig_)[-_]?[0-9a-fA-F]{0,4}[-_][a-zö_-]{0,20}(image-)?[0-9a-f_-]{0,60}") {
        if let Ok(handle) = VolumeHandle::parse(&text) {
            prop_assert_eq!(VolumeHandle::parse(&handle.encode()), Ok(handle));
        }
    }

    #[test]
    fn decoding_undoes_encoding(
        cluster in "[ -~]{1,64}", location in 0..=i64::MAX, uuid in "[0-9a-zA-Z-]{36}",
    ) {
        let handle = VolumeHandle::Composed(ComposedHandle {
            cluster: ClusterId::new(cluster).unwrap(),
            location,
            uuid: ObjectUuid::parse(&uuid).unwrap(),
        });
        prop_assert_eq!(VolumeHandle::parse(&handle.encode()), Ok(handle));
    }
}
