//! Names that come from outside: clusters, pools, images, users, drivers, nodes. Those of CephFS
//! have a file of their own.
//!
//! Each is its own type, so that a pool can never be passed where an image is meant, and each is
//! checked by its constructor against the rule of the system that will use it.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Class, Code, Explain};
use crate::ids::ObjectUuid;

/// A name that breaks the rule of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} \"{shown}\" {rule}")]
pub struct NameError {
    kind: &'static str,
    shown: String,
    rule: Cow<'static, str>,
}

impl NameError {
    fn new(kind: &'static str, given: &str, rule: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            shown: shorten(given),
            rule: rule.into(),
        }
    }

    /// What kind of name it is, such as "pool name".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The broken rule, such as "must not be empty".
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

impl Explain for NameError {
    fn code(&self) -> Code {
        Code::new(1001)
    }
    fn class(&self) -> Class {
        Class::Invalid
    }
    fn remedy(&self) -> Option<Cow<'static, str>> {
        Some(Cow::Owned(format!("correct the {}", self.kind)))
    }
}

/// Outside text cut to what a message can carry: at most 64 characters, control characters escaped.
#[must_use]
pub fn shorten(given: &str) -> String {
    const MOST: usize = 64;
    let mut shown: String = given
        .chars()
        .take(MOST)
        .flat_map(char::escape_debug)
        .collect();
    if given.chars().nth(MOST).is_some() {
        shown.push_str("… (");
        shown.push_str(&given.len().to_string());
        shown.push_str(" bytes)");
    }
    shown
}

type Rule = Result<(), Cow<'static, str>>;

fn not_empty(text: &str) -> Rule {
    if text.is_empty() {
        Err("must not be empty".into())
    } else {
        Ok(())
    }
}

fn at_most(text: &str, bytes: usize) -> Rule {
    if text.len() > bytes {
        Err(format!("must be at most {bytes} bytes long, is {}", text.len()).into())
    } else {
        Ok(())
    }
}

fn no_control(text: &str) -> Rule {
    if text.chars().any(char::is_control) {
        Err("must not contain control characters".into())
    } else {
        Ok(())
    }
}

fn without(text: &str, banned: &[char]) -> Rule {
    match text.chars().find(|c| banned.contains(c)) {
        Some(c) => Err(format!("must not contain '{c}'").into()),
        None => Ok(()),
    }
}

fn cluster_rule(text: &str) -> Rule {
    not_empty(text)?;
    // A volume handle has room for 64 bytes of it.
    at_most(text, 64)?;
    no_control(text)
}

fn pool_rule(text: &str) -> Rule {
    not_empty(text)?;
    at_most(text, 1024)?;
    no_control(text)?;
    without(text, &['/'])
}

fn namespace_rule(text: &str) -> Rule {
    at_most(text, 1024)?;
    no_control(text)?;
    without(text, &['/'])
}

fn image_rule(text: &str) -> Rule {
    not_empty(text)?;
    // `rbd_id.<name>` is an object name; OSDs take 2048 bytes by default.
    at_most(text, 1024)?;
    no_control(text)?;
    without(text, &['/', '@'])
}

fn prefix_rule(text: &str) -> Rule {
    image_rule(text)?;
    at_most(text, 200)
}

fn co_name_rule(text: &str) -> Rule {
    not_empty(text)?;
    at_most(text, 128)?;
    // CSI would let tab, line feed and carriage return pass; no orchestrator uses them, and in a
    // log or a list of names they could pass for something else.
    no_control(text)
}

fn plain_rule(text: &str) -> Rule {
    not_empty(text)?;
    at_most(text, 256)?;
    no_control(text)
}

fn user_rule(text: &str) -> Rule {
    plain_rule(text)?;
    if text.starts_with("client.") {
        return Err("must be given without the \"client.\" prefix".into());
    }
    Ok(())
}

fn driver_rule(text: &str) -> Rule {
    not_empty(text)?;
    at_most(text, 63)?;
    let label = |part: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        edge(part.chars().next())
            && edge(part.chars().next_back())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if text.split('.').all(label) {
        Ok(())
    } else {
        Err(
            "must be a DNS subdomain: letters, digits and '-' in parts joined by '.', \
             each part beginning and ending with a letter or digit"
                .into(),
        )
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $rule:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(String);

        impl $type {
            /// Checks the text against the rule of this kind of name.
            ///
            /// # Errors
            /// When the rule is broken; the error says which.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                match $rule(&text) {
                    Ok(()) => Ok(Self(text)),
                    Err(rule) => Err(NameError::new($kind, &text, rule)),
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The `clusterID` of an entry of `config.json`; part of every volume handle. 1 to 64 bytes.
    ClusterId, "cluster ID", cluster_rule
);
name!(
    /// The name of a RADOS pool.
    PoolName, "pool name", pool_rule
);
name!(
    /// A RADOS namespace inside a pool; empty means the default namespace.
    #[derive(Default)]
    RadosNamespace, "RADOS namespace", namespace_rule
);
name!(
    /// The name of an RBD image.
    ImageName, "image name", image_rule
);
name!(
    /// What the names of images begin with (`volumeNamePrefix`). 1 to 200 bytes.
    ImagePrefix, "image name prefix", prefix_rule
);
name!(
    /// librbd's internal id of an image, the suffix of its `rbd_header.` object.
    ImageId, "image id", image_rule
);
name!(
    /// The name the container orchestrator gave a volume, such as `pvc-<uid>`. 1 to 128 bytes.
    CoName, "volume name", co_name_rule
);
name!(
    /// The suffix of the journal's directory objects (`--instanceid`).
    InstanceId, "instance ID", plain_rule
);
name!(
    /// A Ceph user, without the `client.` prefix.
    UserId, "user ID", user_rule
);
name!(
    /// The CSI name of a driver, such as `rbd.csi.ceph.com`.
    DriverName, "driver name", driver_rule
);
name!(
    /// The name of the node this process runs on. At most 256 bytes, the limit of CSI.
    NodeId, "node ID", plain_rule
);

mod cephfs;
mod share;

pub use cephfs::{FsName, FsPath, SubvolumeGroup, SubvolumeName, SubvolumePrefix};
pub use share::{ShareGroup, ShareName, ShareRoot};

impl ImageId {
    /// The id given to the image that is made for a UUID: its last fourteen hexadecimal digits,
    /// which are all random in a UUID of version 4. Whoever knows the UUID finds the image's header
    /// with it.
    #[must_use]
    pub fn of(uuid: &ObjectUuid) -> Self {
        let text = uuid.as_str().chars().filter(char::is_ascii_alphanumeric);
        let digits: String = text.collect();
        let surplus = digits.len().saturating_sub(Self::OF_UUID);
        let last = digits.get(surplus..).unwrap_or_default();
        Self(format!("{last:0>width$}", width = Self::OF_UUID))
    }

    /// So long that the prefix of the image's objects fits librbd's field for it.
    const OF_UUID: usize = 14;
}

impl RadosNamespace {
    /// Whether this is the default namespace.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }

    /// The namespace of CephFS journals where none is configured: `csi`.
    pub(crate) fn cephfs_default() -> Self {
        Self(crate::cluster::CephFsSettings::DEFAULT_NAME.to_owned())
    }
}

impl ImagePrefix {
    /// The prefix of snapshots' images where a class gives none.
    #[must_use]
    pub fn of_snapshots() -> Self {
        Self("csi-snap-".to_owned())
    }

    /// The name of the image with this UUID.
    #[must_use]
    pub fn image_name(&self, uuid: &ObjectUuid) -> ImageName {
        ImageName(format!("{}{uuid}", self.0))
    }
}

impl Default for ImagePrefix {
    /// The prefix of volumes' images where a class gives none.
    fn default() -> Self {
        Self("csi-vol-".to_owned())
    }
}

impl CoName {
    /// Takes a name as the journal holds it. Records may hold longer names than requests may
    /// carry, and their volumes must stay deletable, so only emptiness is refused.
    ///
    /// # Errors
    /// When the text is empty.
    pub fn from_record(text: impl Into<String>) -> Result<Self, NameError> {
        let text = text.into();
        match not_empty(&text) {
            Ok(()) => Ok(Self(text)),
            Err(rule) => Err(NameError::new("volume name", &text, rule)),
        }
    }
}

impl Default for InstanceId {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule_of<T: fmt::Debug>(result: Result<T, NameError>) -> String {
        result.unwrap_err().rule().to_owned()
    }

    #[test]
    fn an_image_id_is_made_of_the_end_of_its_uuid() {
        let id = |uuid: &str| ImageId::of(&ObjectUuid::parse(uuid).unwrap());
        let made = id("50d53503-9da1-41ed-847e-bacf8f2f1297");
        assert_eq!(made.as_str(), "7ebacf8f2f1297");
        let odd = id("-----------------------------------x");
        assert_eq!(odd.as_str(), "0000000000000x");
        assert_eq!(ImageId::new(odd.as_str()), Ok(odd));
    }

    #[test]
    fn empty_names_are_refused_where_they_mean_nothing() {
        assert_eq!(rule_of(ClusterId::new("")), "must not be empty");
        assert_eq!(rule_of(PoolName::new("")), "must not be empty");
        assert_eq!(rule_of(CoName::new("")), "must not be empty");
        assert_eq!(rule_of(CoName::from_record("")), "must not be empty");
        assert!(RadosNamespace::new("").unwrap().is_default());
        assert_eq!(RadosNamespace::default().as_str(), "");
    }

    #[test]
    fn lengths_follow_the_system_that_uses_the_name() {
        ClusterId::new("c".repeat(64)).unwrap();
        assert_eq!(
            rule_of(ClusterId::new("c".repeat(65))),
            "must be at most 64 bytes long, is 65"
        );
        CoName::new("v".repeat(128)).unwrap();
        CoName::new("v".repeat(129)).unwrap_err();
        CoName::from_record("v".repeat(129)).unwrap();
        DriverName::new("d".repeat(64)).unwrap_err();
    }

    #[test]
    fn a_megabyte_of_name_makes_a_short_message() {
        let message = CoName::new("n".repeat(1 << 20)).unwrap_err().to_string();
        assert!(message.len() < 300, "{}", message.len());
        assert!(message.contains("1048576 bytes"), "{message}");
    }

    #[test]
    fn separators_and_control_characters_are_refused() {
        PoolName::new("a/b").unwrap_err();
        PoolName::new(".rgw.root").unwrap();
        ImageName::new("a@b").unwrap_err();
        RadosNamespace::new("a/b").unwrap_err();
        CoName::new("a\0b").unwrap_err();
        CoName::new("a\u{85}b").unwrap_err();
        CoName::new("größe 1").unwrap();
        CoName::new("a\nb").unwrap_err();
        NodeId::new("node\n").unwrap_err();
    }

    #[test]
    fn a_user_is_named_without_its_type() {
        assert!(
            UserId::new("client.admin")
                .unwrap_err()
                .to_string()
                .contains("client.")
        );
        assert_eq!(UserId::new("admin").unwrap().to_string(), "admin");
    }

    #[test]
    fn driver_names_are_subdomains() {
        for good in [
            "rbd.csi.ceph.com",
            "RBD.CSI.ceph.com",
            "a",
            "openshift-storage.rbd.x",
        ] {
            assert!(DriverName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "a.", "a..b", "-a", "a-", "a_b", "a/b", "a b", "ä"] {
            assert!(DriverName::new(bad).is_err(), "{bad}");
        }
    }
}
