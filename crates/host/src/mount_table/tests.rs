//! Tests of the mount table's reader.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use proptest::prelude::*;

use super::{DeviceNumber, MountTable};
use crate::fixture::{host, path};

const TABLE: &[u8] = b"\
25 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n\
40 25 7:3 / /mnt/a\\040b rw,noatime shared:5 master:2 propagate_from:1 - xfs /dev/loop3 rw,nouuid\n\
41 40 7:3 /sub /mnt/a\\040b ro - xfs /dev/loop3 rw\n\
42 25 0:40 / /mnt/empty rw - tmpfs  rw,size=4k\n\
43 25 0:41 /tab\\011and\\134 /mnt/a rw unbindable - fuse.x none ro,user_id=0\n";

fn table() -> MountTable {
    MountTable::parse(TABLE).unwrap()
}

#[test]
fn lines_are_read_field_by_field() {
    let table = table();
    assert_eq!(table.mounts().len(), 5);
    let xfs = &table.mounts()[1];
    assert_eq!((xfs.id, xfs.parent), (40, 25));
    assert_eq!(xfs.device, DeviceNumber { major: 7, minor: 3 });
    assert_eq!(xfs.mount_point, Path::new("/mnt/a b"));
    assert_eq!(
        xfs.propagation,
        ["shared:5", "master:2", "propagate_from:1"]
    );
    assert_eq!(
        (xfs.fs_type.as_str(), xfs.super_options.as_str()),
        ("xfs", "rw,nouuid")
    );
    let empty = &table.mounts()[3];
    assert_eq!(
        (empty.source.as_bytes(), empty.super_options.as_str()),
        (&b""[..], "rw,size=4k")
    );
    assert_eq!(table.mounts()[4].root, Path::new("/tab\tand\\"));
    assert!(table.mounts()[4].is_read_only() && table.mounts()[2].is_read_only());
    assert!(!xfs.is_read_only());
}

#[test]
fn the_topmost_of_a_stack_is_seen() {
    let table = table();
    assert_eq!(table.at("/mnt/a b").unwrap().id, 41);
    assert_eq!(table.count_at("/mnt/a b"), 2);
    assert!(table.is_mount_point("/mnt/a") && !table.is_mount_point("/mnt"));
    // The order of lines need not be the order of the stack.
    let text = b"2 1 7:1 / /x rw - ext4 b rw\n1 9 7:0 / /x rw - ext4 a rw\n";
    assert_eq!(MountTable::parse(text).unwrap().at("/x").unwrap().id, 2);
}

#[test]
fn a_name_that_begins_alike_is_not_below() {
    let table = table();
    let below = |path| {
        table
            .below(Path::new(path))
            .map(|mount| mount.id)
            .collect::<Vec<_>>()
    };
    assert_eq!(below("/mnt/a"), [0_u32; 0]);
    assert_eq!(below("/mnt"), [40, 41, 42, 43]);
    let of_device = table.of_device(DeviceNumber { major: 7, minor: 3 });
    assert_eq!(
        of_device.map(|mount| mount.id).collect::<Vec<_>>(),
        [40, 41]
    );
}

#[test]
fn nothing_is_concluded_from_a_line_that_is_not_understood() {
    let bad: [&[u8]; 7] = [
        b"x 1 7:0 / /x rw - ext4 a rw",
        b"1 x 7:0 / /x rw - ext4 a rw",
        b"1 1 7 / /x rw - ext4 a rw",
        b"1 1 7:+1 / /x rw - ext4 a rw",
        b"1 1 7:0 / /x rw shared:1",
        b"1 1 7:0 / /x rw - ext4",
        b"1 1 7:0 / /x rw - ext4 a",
    ];
    for line in bad {
        let text = [TABLE, line].concat();
        let error = MountTable::parse(&text).unwrap_err();
        assert_eq!(error.line, 6, "{}", String::from_utf8_lossy(line));
    }
}

#[test]
fn huge_lines_are_read() {
    let long = "d/".repeat(1_000_000);
    let text = format!("1 1 7:0 / /{long} rw - ext4 a rw\n");
    let table = MountTable::parse(text.as_bytes()).unwrap();
    assert_eq!(
        table.mounts()[0].mount_point.as_os_str().len(),
        long.len() + 1
    );
}

#[test]
fn this_machine_has_a_root_and_proc() {
    let host = host();
    assert!(host.is_mount_point(&path("/")).unwrap());
    assert_eq!(
        host.mount_at(&path("/proc")).unwrap().unwrap().fs_type,
        "proc"
    );
    assert!(!host.is_mount_point(&path("/proc/self")).unwrap());
    assert!(!host.is_mount_point(&path("/no/such/directory")).unwrap());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(text in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _outcome = MountTable::parse(&text);
    }

    #[test]
    fn nearly_right_lines_do_not_either(
        fields in proptest::collection::vec("[0-9:/\\\\ a-]{0,12}", 0..16)
    ) {
        let _outcome = MountTable::parse(fields.join(" ").as_bytes());
    }

    #[test]
    fn any_path_is_read_back(name in proptest::collection::vec(1_u8.., 1..300)) {
        let mut line = b"1 1 7:0 / /".to_vec();
        for byte in &name {
            match byte {
                b' ' | b'\t' | b'\n' | b'\\' | b'#' => {
                    line.extend_from_slice(format!("\\{byte:03o}").as_bytes());
                }
                _ => line.push(*byte),
            }
        }
        line.extend_from_slice(b" rw - ext4 a rw\n");
        let table = MountTable::parse(&line).unwrap();
        let expected = [b"/", name.as_slice()].concat();
        prop_assert_eq!(table.mounts()[0].mount_point.as_os_str().as_bytes(), expected);
    }
}
