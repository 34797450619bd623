//! Sizes: rounding, limits, display.

use proptest::prelude::*;

use super::*;

fn mib(count: u64) -> ByteSize {
    ByteSize::from_mib(count).unwrap()
}

fn gib(count: u64) -> ByteSize {
    ByteSize::from_gib(count).unwrap()
}

#[test]
fn sizes_print_in_the_largest_exact_unit() {
    for (bytes, text) in [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1025, "1025 bytes"),
        (2048, "2 KiB"),
        (3 << 20, "3 MiB"),
        (1 << 30, "1 GiB"),
        (3 << 29, "1536 MiB"),
        (5 << 40, "5 TiB"),
    ] {
        assert_eq!(ByteSize::from_bytes(bytes).to_string(), text);
    }
}

#[test]
fn rounding_is_to_mib_below_one_gib_and_to_gib_from_there() {
    for (required, rounded) in [
        (1, mib(1)),
        (1 << 20, mib(1)),
        ((1 << 20) + 1, mib(2)),
        ((1 << 30) - 1, gib(1)),
        (1 << 30, gib(1)),
        ((1 << 30) + 1, gib(2)),
        (5 << 30, gib(5)),
    ] {
        assert_eq!(
            round_for_image(Some(ByteSize::from_bytes(required)), None),
            Ok(rounded)
        );
    }
}

#[test]
fn subvolumes_round_as_ceph_csi_does() {
    for (required, rounded) in [
        (1000, mib(4)),
        (1 << 20, mib(4)),
        (1_677_722, mib(4)),
        (101_000_000, mib(100)),
        (500_000_000, mib(480)),
        (1023 << 20, mib(1024)),
        (1 << 30, gib(1)),
        (1_585_446_912, gib(2)),
        (1555 << 20, gib(2)),
        (5 << 30, gib(5)),
    ] {
        let required = ByteSize::from_bytes(required);
        assert_eq!(round_for_subvolume(Some(required), None), Ok(rounded));
    }
    assert_eq!(round_for_subvolume(None, Some(mib(11))), Ok(mib(8)));
    assert_eq!(round_for_subvolume(None, None), Ok(gib(1)));
    let error = round_for_subvolume(Some(mib(1)), Some(mib(3))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "capacity_range.limit_bytes (3 MiB) is too small: 1 MiB rounds up to 4 MiB"
    );
}

#[test]
fn without_a_requirement_an_image_has_one_gib_or_what_the_limit_allows() {
    assert_eq!(round_for_image(None, None), Ok(gib(1)));
    assert_eq!(round_for_image(None, Some(gib(3))), Ok(gib(1)));
    let odd = mib(10).checked_add(ByteSize::from_bytes(5)).unwrap();
    assert_eq!(round_for_image(None, Some(odd)), Ok(mib(10)));
    let error = round_for_image(None, Some(ByteSize::from_bytes(5))).unwrap_err();
    assert_eq!(error.class(), Class::OutOfRange);
}

#[test]
fn a_limit_that_rounding_would_pass_is_out_of_range() {
    let required = gib(1).checked_add(ByteSize::from_bytes(1)).unwrap();
    let error = round_for_image(Some(required), Some(mib(1500))).unwrap_err();
    assert_eq!(error.class(), Class::OutOfRange);
    assert!(error.to_string().contains("2 GiB"), "{error}");
    assert_eq!(round_for_image(Some(required), Some(gib(2))), Ok(gib(2)));
}

#[test]
fn zero_negative_and_empty_ranges_are_invalid() {
    assert_eq!(
        round_for_image(Some(ByteSize::ZERO), None),
        Err(SizeError::Zero)
    );
    assert_eq!(CapacityRange::from_wire(0, 0), Err(SizeError::Zero));
    for (required, limit) in [(-1, 0), (0, -1), (5, 4), (i64::MIN, i64::MIN)] {
        let error = CapacityRange::from_wire(required, limit).unwrap_err();
        assert_eq!(error.class(), Class::Invalid, "{required} {limit}");
    }
    assert_eq!(
        round_for_image(Some(gib(2)), Some(gib(1)))
            .unwrap_err()
            .class(),
        Class::Invalid
    );
}

#[test]
fn sizes_beyond_the_largest_image_are_out_of_range() {
    let range = CapacityRange::from_wire(i64::MAX, 0).unwrap();
    let error = round_for_image(range.required, range.limit).unwrap_err();
    assert_eq!(error.class(), Class::OutOfRange);
    let most = ByteSize::LARGEST_IMAGE;
    assert_eq!(round_for_image(Some(most), None), Ok(most));
    round_for_image(Some(ByteSize::from_bytes(u64::MAX)), None).unwrap_err();
}

proptest! {
    #[test]
    fn a_rounded_size_lies_in_its_range_and_fits_the_wire(
        required in any::<i64>(), limit in any::<i64>(),
    ) {
        if let Ok(range) = CapacityRange::from_wire(required, limit)
            && let Ok(size) = round_for_image(range.required, range.limit)
        {
            prop_assert!(range.required.is_none_or(|r| size >= r));
            prop_assert!(range.limit.is_none_or(|l| size <= l));
            prop_assert!(size.bytes().is_multiple_of(1 << 20));
            prop_assert_eq!(u64::try_from(size.wire_bytes()).unwrap(), size.bytes());
        }
        if let Ok(range) = CapacityRange::from_wire(required, limit)
            && let Ok(size) = round_for_subvolume(range.required, range.limit)
        {
            prop_assert!(range.required.is_none_or(|r| size >= r));
            prop_assert!(range.limit.is_none_or(|l| size <= l));
            prop_assert!(size.bytes().is_multiple_of(4 << 20));
            prop_assert_eq!(round_for_subvolume(Some(size), None), Ok(size));
        }
    }
}
