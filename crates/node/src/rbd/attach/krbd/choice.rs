//! Which of several mappings of one image belongs to a staging directory. Pure.
//!
//! An image may be mapped more than once: for several readers, by hand, or by a stage that was cut
//! off. Only what is this staging's own is used and taken down.

use std::path::Path;

use cuttle_host::Mount;

use crate::rbd::stash::Stash;

/// The number of the mapping that a mount shows: its filesystem, or its bound node.
#[must_use]
pub(super) fn shown_by(mount: &Mount) -> Option<u32> {
    let is_dev = mount.fs_type == "devtmpfs" || mount.fs_type == "tmpfs";
    if is_dev {
        let name = mount.root.strip_prefix("/").ok()?;
        return number_of(&Path::new("/dev").join(name));
    }
    number_of(Path::new(&mount.source))
}

/// The number in `/dev/rbdN`.
#[must_use]
pub(super) fn number_of(device: &Path) -> Option<u32> {
    let name = device.strip_prefix("/dev").ok()?;
    name.to_str()?.strip_prefix("rbd")?.parse().ok()
}

/// Those of an image's mappings that may be of the staging directory with this record.
///
/// None, if the machine was started anew since it was written; those that came after it; or any, if
/// ceph-csi has written it, which notes nothing.
#[must_use]
pub(super) fn candidates(numbers: Vec<u32>, stash: &Stash) -> Vec<u32> {
    if stash.is_outlived {
        return Vec::new();
    }
    let mut numbers = numbers;
    numbers.retain(|number| stash.mapped == Some(*number) || !stash.strangers.contains(number));
    numbers
}

/// The mapping of this staging directory among the candidates, which are in order: the one its
/// mount point shows, or the one it has noted, or the first.
#[must_use]
pub(super) fn of_this_staging(
    numbers: &[u32],
    shown: Option<u32>,
    noted: Option<u32>,
) -> Option<u32> {
    let there = |number: &u32| numbers.contains(number);
    let known = shown.filter(there).or_else(|| noted.filter(there));
    known.or_else(|| numbers.first().copied())
}

/// The mappings to take down among the candidates: the noted one alone. Without a note all of
/// them, or none if only what is known to be one's own may go.
#[must_use]
pub(super) fn to_unmap(numbers: &[u32], noted: Option<u32>, own_only: bool) -> Vec<u32> {
    let is_meant = |number: &u32| match noted {
        Some(noted) => *number == noted,
        None => !own_only,
    };
    numbers.iter().copied().filter(is_meant).collect()
}

/// Unmap options without `force`, which would fail the writes of whoever uses the device.
#[must_use]
pub(super) fn without_force(options: &str) -> String {
    let kept: Vec<&str> = options
        .split(',')
        .filter(|option| option.trim() != "force")
        .collect();
    kept.join(",")
}

#[cfg(test)]
mod tests {
    use cuttle_host::MountTable;

    use super::*;

    #[test]
    fn a_mount_shows_its_mapping() {
        let shown = |line: &str| {
            let table = MountTable::parse(line.as_bytes()).unwrap();
            shown_by(&table.mounts()[0])
        };
        assert_eq!(shown("30 1 252:0 / /s rw - ext4 /dev/rbd10 rw"), Some(10));
        assert_eq!(
            shown("31 1 0:5 /rbd2 /s rw - devtmpfs devtmpfs rw"),
            Some(2)
        );
        assert_eq!(shown("32 1 7:3 / /s rw - ext4 /dev/loop3 rw"), None);
        assert_eq!(shown("33 1 252:0 / /s rw - ext4 /dev/rbd1p1 rw"), None);
    }

    #[test]
    fn what_others_have_mapped_is_no_candidate() {
        use cuttle_model::Mounter;

        use crate::rbd::image_spec::for_test;

        let mut stash = Stash::new(for_test("p", "", "i", None), Mounter::Krbd, String::new());
        assert_eq!(candidates(vec![2, 9], &stash), [2, 9]);
        stash.strangers = vec![2, 3];
        assert_eq!(candidates(vec![2, 9], &stash), [9]);
        // The number was given to this staging after the stranger had let it go.
        stash.mapped = Some(2);
        assert_eq!(candidates(vec![2, 9], &stash), [2, 9]);
        stash.outlive();
        assert_eq!(candidates(vec![2, 9], &stash), [0; 0]);
    }

    #[test]
    fn what_is_shown_outranks_what_is_noted_outranks_the_first() {
        assert_eq!(of_this_staging(&[2, 9, 10], Some(10), Some(9)), Some(10));
        assert_eq!(of_this_staging(&[2, 9, 10], None, Some(9)), Some(9));
        assert_eq!(of_this_staging(&[2, 9, 10], Some(3), Some(4)), Some(2));
        assert_eq!(of_this_staging(&[], Some(3), Some(4)), None);
    }

    #[test]
    fn only_the_noted_mapping_goes() {
        assert_eq!(to_unmap(&[2, 9, 10], Some(9), false), [9]);
        assert_eq!(to_unmap(&[2, 9, 10], Some(9), true), [9]);
        assert_eq!(to_unmap(&[2, 10], Some(9), false), [0; 0]);
        assert_eq!(to_unmap(&[2, 10], None, false), [2, 10]);
        assert_eq!(to_unmap(&[2, 10], None, true), [0; 0]);
    }

    #[test]
    fn force_is_left_out() {
        assert_eq!(without_force("force"), "");
        assert_eq!(without_force("a, force,b"), "a,b");
        assert_eq!(without_force("enforce"), "enforce");
    }
}
