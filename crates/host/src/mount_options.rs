//! Mount options as people write them, sorted into what the kernel calls attributes of a mount
//! and parameters of a file system.

use std::ffi::CString;

use rustix::mount::{MountAttrFlags, MountFlags};

use crate::paths::c_string;
use crate::syscalls::{ATTR_ATIME, MountAttr};

/// The longest value fsconfig(2) takes, without its NUL.
const LONGEST_VALUE: usize = 255;

/// Options for a mount.
///
/// Each flag may itself be a comma-separated list, as in a StorageClass. Later options win over
/// earlier ones. Options meant for mount(8) or an init system (`_netdev`, `nofail`, `x-…`) are
/// dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// Bits of `MOUNT_ATTR_*` to set, without those of access times.
    set: u64,
    /// Bits of `MOUNT_ATTR_*` to clear.
    clear: u64,
    /// How access times are kept, if said: a value within `MOUNT_ATTR__ATIME`.
    atime: Option<u64>,
    /// Parameters of the file system, in order; no value for a plain flag.
    parameters: Vec<(String, Option<String>)>,
    read_only: bool,
}

/// Why a mount option was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mount option {option:?} {rule}")]
pub struct OptionRefused {
    /// The option, shortened.
    pub option: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

/// Options that change what is mounted rather than how; a caller must not smuggle them in.
const OPERATIONS: [&str; 14] = [
    "bind",
    "rbind",
    "move",
    "remount",
    "shared",
    "rshared",
    "private",
    "rprivate",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
    "loop",
    "source",
];

/// Options for mount(8), fstab readers and init systems, without meaning to the kernel.
const FOR_OTHERS: [&str; 14] = [
    "defaults", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner",
    "group", "nogroup", "nofail", "_netdev", "silent",
];

impl MountOptions {
    /// Options in the form people write them.
    ///
    /// # Errors
    /// [`OptionRefused`] for an option that asks for another operation (`bind`, `remount`,
    /// `shared` …) or holds a NUL or newline.
    pub fn parse<S: AsRef<str>>(flags: impl IntoIterator<Item = S>) -> Result<Self, OptionRefused> {
        let mut options = Self::default();
        for flag in flags {
            for option in split_list(flag.as_ref()) {
                options.add(option)?;
            }
        }
        Ok(options)
    }

    /// Adds one option, which wins over earlier ones.
    ///
    /// # Errors
    /// As [`MountOptions::parse`].
    pub fn add(&mut self, option: &str) -> Result<(), OptionRefused> {
        let option = option.trim();
        let refused = |rule| {
            let option = option.chars().take(100).collect();
            Err(OptionRefused { option, rule })
        };
        if option.contains(['\0', '\n']) {
            return refused("contains a NUL byte or a newline");
        }
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(unquote(value))),
            None => (option, None),
        };
        if OPERATIONS.contains(&key) {
            return refused("asks for another operation than mounting the volume");
        }
        let for_others = key.is_empty()
            || FOR_OTHERS.contains(&key)
            || key == "comment"
            || key.starts_with("x-")
            || key.starts_with("X-");
        if for_others || (value.is_none() && self.add_attribute(key)) {
            return Ok(());
        }
        self.parameters.retain(|(known, _)| known != key);
        self.parameters
            .push((key.to_owned(), value.map(str::to_owned)));
        Ok(())
    }

    /// Takes an option that is an attribute of the mount; false when it is none.
    fn add_attribute(&mut self, key: &str) -> bool {
        match key {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "nosuid" => self.flag(NOSUID, true),
            "suid" => self.flag(NOSUID, false),
            "nodev" => self.flag(NODEV, true),
            "dev" => self.flag(NODEV, false),
            "noexec" => self.flag(NOEXEC, true),
            "exec" => self.flag(NOEXEC, false),
            "nodiratime" => self.flag(NODIRATIME, true),
            "diratime" => self.flag(NODIRATIME, false),
            "nosymfollow" => self.flag(NOSYMFOLLOW, true),
            "symfollow" => self.flag(NOSYMFOLLOW, false),
            "noatime" => self.atime = Some(NOATIME),
            "strictatime" => self.atime = Some(STRICTATIME),
            "relatime" | "atime" | "norelatime" | "nostrictatime" => self.atime = Some(0),
            _ => return false,
        }
        true
    }

    fn flag(&mut self, bit: u64, on: bool) {
        if on {
            self.set |= bit;
            self.clear &= !bit;
        } else {
            self.clear |= bit;
            self.set &= !bit;
        }
    }

    /// Makes the mount read-only, whatever was said before.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Whether the mount is to be read-only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether a parameter of the file system is given, with or without a value.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.parameters.iter().any(|(known, _)| known == key)
    }

    /// The attributes for fsmount(2) of a new mount.
    pub(crate) fn for_fsmount(&self) -> MountAttrFlags {
        let bits = self.set | self.atime.unwrap_or(0) | if self.read_only { RDONLY } else { 0 };
        MountAttrFlags::from_bits_retain(u32::try_from(bits).unwrap_or(0))
    }

    /// The attributes for mount_setattr(2) of a copied mount; `None` when nothing changes.
    pub(crate) fn for_setattr(&self) -> Option<MountAttr> {
        let mut attributes = MountAttr {
            set: self.set | if self.read_only { RDONLY } else { 0 },
            clear: self.clear,
            ..MountAttr::default()
        };
        if let Some(atime) = self.atime {
            attributes.clear |= ATTR_ATIME;
            attributes.set |= atime;
        }
        (attributes.set != 0 || attributes.clear != 0).then_some(attributes)
    }

    /// The parameters for fsconfig(2); `None` when a value is too long for it.
    ///
    /// `ro` is an attribute of the mount and a parameter of the file system at once: a device that
    /// cannot be written needs the latter.
    pub(crate) fn for_fsconfig(&self) -> Option<Vec<(CString, Option<CString>)>> {
        let mut parameters = Vec::new();
        for (key, value) in &self.parameters {
            if value
                .as_ref()
                .is_some_and(|value| value.len() > LONGEST_VALUE)
            {
                return None;
            }
            let value = value.as_ref().map(|value| c_string(value.as_bytes()));
            parameters.push((c_string(key.as_bytes()), value));
        }
        if self.read_only {
            parameters.push((c_string(b"ro"), None));
        }
        Some(parameters)
    }

    /// The flags of mount(2) that are attributes of a mount.
    pub(crate) fn for_mount(&self) -> MountFlags {
        let mut flags = MountFlags::empty();
        for (bit, flag) in [
            (NOSUID, MountFlags::NOSUID),
            (NODEV, MountFlags::NODEV),
            (NOEXEC, MountFlags::NOEXEC),
            (NODIRATIME, MountFlags::NODIRATIME),
            (NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
        ] {
            flags.set(flag, self.set & bit != 0);
        }
        flags.set(MountFlags::RDONLY, self.read_only);
        flags.set(MountFlags::NOATIME, self.atime == Some(NOATIME));
        flags.set(MountFlags::STRICTATIME, self.atime == Some(STRICTATIME));
        flags.set(MountFlags::RELATIME, self.atime == Some(0));
        for (key, flag) in SUPERBLOCK_FLAGS {
            flags.set(flag, self.has(key));
        }
        flags
    }

    /// The data of mount(2): the parameters of the file system in one text.
    pub(crate) fn for_mount_data(&self) -> CString {
        let mut data = String::new();
        for (key, value) in &self.parameters {
            if SUPERBLOCK_FLAGS.iter().any(|(flag, _)| flag == key) || key == "async" {
                continue;
            }
            if !data.is_empty() {
                data.push(',');
            }
            data.push_str(key);
            match value {
                Some(value) if value.contains(',') => data.push_str(&format!("=\"{value}\"")),
                Some(value) => data.push_str(&format!("={value}")),
                None => {}
            }
        }
        c_string(data.as_bytes())
    }
}

/// Parameters that mount(2) takes as flags and fsconfig(2) as parameters of any file system.
const SUPERBLOCK_FLAGS: [(&str, MountFlags); 4] = [
    ("sync", MountFlags::SYNCHRONOUS),
    ("dirsync", MountFlags::DIRSYNC),
    ("lazytime", MountFlags::LAZYTIME),
    ("mand", MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
];

/// Splits at commas outside double quotes.
fn split_list(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    list.split(move |character| {
        if character == '"' {
            quoted = !quoted;
        }
        character == ',' && !quoted
    })
}

fn unquote(value: &str) -> &str {
    let inner = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    inner.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> MountOptions {
        MountOptions::parse(flags).unwrap()
    }

    fn data(options: &MountOptions) -> String {
        options.for_mount_data().into_string().unwrap()
    }

    #[test]
    fn attributes_and_parameters_are_told_apart() {
        let options = parse(&[
            "noatime,discard",
            "errors=remount-ro",
            "nosuid",
            "_netdev,defaults",
        ]);
        assert_eq!(options.for_fsmount().bits(), 0x10 | 0x2);
        assert_eq!(data(&options), "discard,errors=remount-ro");
        assert!(options.has("discard") && options.has("errors") && !options.has("noatime"));
        assert!(!options.is_read_only());
        let flags = options.for_mount();
        assert_eq!(flags, MountFlags::NOATIME | MountFlags::NOSUID);
    }

    #[test]
    fn read_only_reaches_mount_and_file_system() {
        let options = parse(&["rw", "nouuid", "ro"]);
        assert!(options.is_read_only());
        assert_eq!(options.for_fsmount(), MountAttrFlags::MOUNT_ATTR_RDONLY);
        let parameters = options.for_fsconfig().unwrap();
        assert_eq!(
            parameters,
            [(c"nouuid".to_owned(), None), (c"ro".to_owned(), None)]
        );
        assert!(!parse(&["ro,rw"]).is_read_only());
        assert!(parse(&["rw"]).read_only().is_read_only());
    }

    #[test]
    fn the_last_word_counts() {
        let options = parse(&[
            "noexec,exec,nosuid",
            "commit=5,commit=9",
            "noatime,relatime",
        ]);
        assert_eq!(data(&options), "commit=9");
        let attributes = options.for_setattr().unwrap();
        assert_eq!(
            (attributes.set, attributes.clear),
            (NOSUID, NOEXEC | ATTR_ATIME)
        );
    }

    #[test]
    fn nothing_asked_for_is_nothing_to_set() {
        assert!(
            parse(&["", "defaults,_netdev,x-systemd.automount,nofail", "discard"])
                .for_setattr()
                .is_none()
        );
    }

    #[test]
    fn quoted_values_keep_their_commas() {
        let options = parse(&["context=\"system_u:object_r:container_file_t:s0:c1,c2\",noatime"]);
        let parameters = options.for_fsconfig().unwrap();
        assert_eq!(
            parameters[0].1.as_deref(),
            Some(c"system_u:object_r:container_file_t:s0:c1,c2")
        );
        assert_eq!(
            data(&options),
            "context=\"system_u:object_r:container_file_t:s0:c1,c2\""
        );
        assert_eq!(options.for_mount(), MountFlags::NOATIME);
    }

    #[test]
    fn values_too_long_for_fsconfig_are_left_to_mount() {
        let long = format!("x={}", "y".repeat(256));
        assert!(parse(&[&long]).for_fsconfig().is_none());
        assert_eq!(data(&parse(&[&long])), long);
    }

    #[test]
    fn other_operations_are_refused() {
        for option in [
            "bind",
            "remount",
            "rshared",
            "noatime,move",
            "source=/dev/sda",
            "a\nb",
        ] {
            let refused = MountOptions::parse([option]).unwrap_err();
            assert!(option.contains(&refused.option), "{option:?}: {refused}");
        }
    }
}
