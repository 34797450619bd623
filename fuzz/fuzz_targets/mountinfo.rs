//! The kernel's mount table: any bytes are accepted or refused, and what is accepted is findable.

#![no_main]

use cuttle_host::MountTable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(table) = MountTable::parse(bytes) else {
        return;
    };
    for mount in table.mounts() {
        assert!(table.is_mount_point(&mount.mount_point));
        assert!(table.count_at(&mount.mount_point) > 0);
    }
});
