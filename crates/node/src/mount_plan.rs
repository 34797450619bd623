//! The options volumes are mounted with, decided without touching anything.

use cuttle_host::{MountOptions, OptionRefused};

/// The options a filesystem is mounted with at staging: safe defaults, then the volume's flags.
///
/// * xfs gets `nouuid`: clones and restored snapshots carry their source's UUID.
/// * ext4 gets `errors=remount-ro`, unless a flag decides otherwise: the kernel's own default
///   (`continue`) goes on writing into a damaged filesystem.
/// * A read-only use stays read-only, whatever the flags say.
///
/// # Errors
/// A flag that asks for another operation than mounting.
pub(crate) fn staging_options(
    fs_type: &str,
    flags: &[String],
    read_only: bool,
) -> Result<MountOptions, OptionRefused> {
    let mut options = MountOptions::parse(flags)?;
    match fs_type {
        "xfs" => options.add("nouuid")?,
        "ext2" | "ext3" | "ext4" if !options.has("errors") => options.add("errors=remount-ro")?,
        _ => {}
    }
    Ok(if read_only {
        options.read_only()
    } else {
        options
    })
}

/// The options of the mount a container sees: of the volume's flags only those that are
/// attributes of a mount have an effect there.
///
/// # Errors
/// As [`staging_options`].
pub(crate) fn publishing_options(
    flags: &[String],
    read_only: bool,
) -> Result<MountOptions, OptionRefused> {
    let options = MountOptions::parse(flags)?;
    Ok(if read_only {
        options.read_only()
    } else {
        options
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(fs_type: &str, flags: &[&str], read_only: bool) -> MountOptions {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        staging_options(fs_type, &flags, read_only).unwrap()
    }

    fn written(flags: &[&str]) -> MountOptions {
        MountOptions::parse(flags).unwrap()
    }

    #[test]
    fn defaults_protect_the_data() {
        assert_eq!(options("ext4", &[], false), written(&["errors=remount-ro"]));
        assert_eq!(options("xfs", &[], false), written(&["nouuid"]));
        assert_eq!(options("btrfs", &[], false), written(&[]));
    }

    #[test]
    fn a_flag_outranks_the_default() {
        assert_eq!(
            options("ext4", &["errors=panic,discard", "noatime"], false),
            written(&["errors=panic", "discard", "noatime"])
        );
        assert_eq!(
            options("xfs", &["_netdev", "nouuid"], false),
            written(&["nouuid"])
        );
    }

    #[test]
    fn read_only_comes_from_either_side_and_is_not_taken_back() {
        assert!(options("ext4", &["ro"], false).is_read_only());
        assert!(options("ext4", &["rw"], true).is_read_only());
        assert!(!options("ext4", &["rw"], false).is_read_only());
    }

    #[test]
    fn a_flag_cannot_change_what_is_mounted() {
        staging_options("ext4", &["bind".to_owned()], false).unwrap_err();
        publishing_options(&["remount".to_owned()], false).unwrap_err();
    }
}
