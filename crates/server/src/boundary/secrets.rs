//! Credentials from a request's secrets. No message shows a value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cuttle_model::{Credentials, Secret, UserId};

use super::mistakes::{Check, Mistake};

/// Where secrets come from, for the remedy.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SecretsOf {
    /// CreateVolume, DeleteVolume and others that the provisioner asks for.
    Provisioner,
    /// ControllerExpandVolume.
    Resizer,
    /// CreateSnapshot and DeleteSnapshot.
    Snapshotter,
    /// NodeStageVolume.
    NodeStage,
}

impl SecretsOf {
    /// The parameter of the StorageClass or VolumeSnapshotClass that names the Secret.
    fn parameter(self) -> &'static str {
        match self {
            Self::Provisioner => "csi.storage.k8s.io/provisioner-secret-name",
            Self::Resizer => "csi.storage.k8s.io/controller-expand-secret-name",
            Self::Snapshotter => "csi.storage.k8s.io/snapshotter-secret-name",
            Self::NodeStage => "csi.storage.k8s.io/node-stage-secret-name",
        }
    }
}

/// The user and key of a request: `userID` and `userKey`, or those of the migrated in-tree plugin,
/// `key` and perhaps `adminId`.
pub(crate) fn credentials(
    check: &mut Check,
    secrets: &BTreeMap<String, String>,
    of: SecretsOf,
) -> Option<Credentials> {
    let value = |name: &str| secrets.get(name).map(|text| text.trim_end());
    if let Some(key) = value("key").filter(|key| !key.is_empty()) {
        let user = user(
            check,
            "secrets.adminId",
            value("adminId").unwrap_or("admin"),
        );
        let key = key_text(check, "secrets.key", key);
        return user.zip(key).map(|(user, key)| Credentials { user, key });
    }
    named(check, secrets, of, ("userID", "userKey"))
}

/// The administrator's user and key, with which CephFS volumes are made: `adminID` and `adminKey`.
pub(crate) fn admin_credentials(
    check: &mut Check,
    secrets: &BTreeMap<String, String>,
    of: SecretsOf,
) -> Option<Credentials> {
    named(check, secrets, of, ("adminID", "adminKey"))
}

/// The user and key that mount a CephFS volume. As with ceph-csi, volumes made by CreateVolume are
/// mounted as the administrator, all others as the user; where a Secret has no administrator, its
/// user has to do.
pub(crate) fn mounting_credentials(
    check: &mut Check,
    secrets: &BTreeMap<String, String>,
    is_provisioned: bool,
) -> Option<Credentials> {
    let has = |name: &str| {
        secrets
            .get(name)
            .is_some_and(|text| !text.trim().is_empty())
    };
    let names = if is_provisioned && (has("adminID") || !has("userID")) {
        ("adminID", "adminKey")
    } else {
        ("userID", "userKey")
    };
    named(check, secrets, SecretsOf::NodeStage, names)
}

/// User and key under these names.
fn named(
    check: &mut Check,
    secrets: &BTreeMap<String, String>,
    of: SecretsOf,
    names: (&'static str, &'static str),
) -> Option<Credentials> {
    let value = |name: &str| secrets.get(name).map(|text| text.trim_end());
    let user = match value(names.0) {
        Some(text) => user(check, format!("secrets.{}", names.0), text),
        None => missing(check, names.0, of, names),
    };
    let key = match value(names.1) {
        Some(text) => key_text(check, format!("secrets.{}", names.1), text),
        None => missing(check, names.1, of, names),
    };
    user.zip(key).map(|(user, key)| Credentials { user, key })
}

fn missing<T>(
    check: &mut Check,
    field: &'static str,
    of: SecretsOf,
    (user, key): (&str, &str),
) -> Option<T> {
    let parameter = of.parameter();
    check.add(Mistake::invalid(
        format!("secrets.{field}"),
        "is missing",
        format!("name a Secret with {user} and {key} in the StorageClass ({parameter})"),
    ));
    None
}

fn user(check: &mut Check, field: impl Into<Cow<'static, str>>, text: &str) -> Option<UserId> {
    if looks_like_a_key(text) {
        // Names are shown in errors and logs; this one must not be.
        check.add(Mistake::invalid(
            field,
            "is a Ceph key, not a user's name",
            "set it to the Ceph user's name without \"client.\"",
        ));
        return None;
    }
    match UserId::new(text) {
        Ok(user) => Some(user),
        Err(error) => {
            // The error itself shows the text, and a key put into the wrong field is still a key.
            check.add(Mistake::invalid(
                field,
                error.rule(),
                "set it to the Ceph user's name without \"client.\"",
            ));
            None
        }
    }
}

/// Whether it has the form of a key: base64 of 28 bytes or more, padded.
fn looks_like_a_key(text: &str) -> bool {
    text.len() >= 32 && text.ends_with('=') && text.bytes().all(is_base64)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

fn key_text(check: &mut Check, field: impl Into<Cow<'static, str>>, text: &str) -> Option<Secret> {
    let rule = if text.is_empty() {
        "must not be empty"
    } else if text.len() > 1024 || !text.bytes().all(is_base64) {
        "is not the base64 text of a Ceph key"
    } else {
        return Some(Secret::new(text.to_owned()));
    };
    check.add(Mistake::invalid(
        field,
        rule,
        "set it to what `ceph auth get-key client.<user>` prints",
    ));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Option<Credentials>, String> {
        let secrets = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let mut check = Check::default();
        let found = credentials(&mut check, &secrets, SecretsOf::Provisioner);
        check.finish().map_err(|m| m.to_string()).map(|()| found)
    }

    #[test]
    fn cephfs_volumes_are_made_by_the_administrator() {
        let secrets = [
            ("adminID", "csi"),
            ("adminKey", "AQB+/==\n"),
            ("userID", "x"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let mut check = Check::default();
        let found = admin_credentials(&mut check, &secrets, SecretsOf::Provisioner).unwrap();
        assert_eq!(
            (found.user.as_str(), found.key.expose()),
            ("csi", "AQB+/==")
        );
        let mut check = Check::default();
        let none = BTreeMap::new();
        assert!(admin_credentials(&mut check, &none, SecretsOf::Resizer).is_none());
        let text = check.finish().unwrap_err().to_string();
        assert!(text.contains("secrets.adminID: is missing"), "{text}");
        assert!(text.contains("secrets.adminKey: is missing"), "{text}");
    }

    #[test]
    fn user_and_key_are_taken_and_trimmed() {
        let found = of(&[("userID", "csi"), ("userKey", "AQB+/==\n")])
            .unwrap()
            .unwrap();
        assert_eq!(found.user.as_str(), "csi");
        assert_eq!(found.key.expose(), "AQB+/==");
    }

    #[test]
    fn migrated_secrets_default_to_admin() {
        let found = of(&[("key", "AQB=")]).unwrap().unwrap();
        assert_eq!(found.user.as_str(), "admin");
        let found = of(&[("key", "AQB="), ("adminId", "old")]).unwrap().unwrap();
        assert_eq!(found.user.as_str(), "old");
    }

    #[test]
    fn both_missing_fields_are_named() {
        let text = of(&[]).unwrap_err();
        assert!(text.contains("secrets.userID: is missing"), "{text}");
        assert!(text.contains("secrets.userKey: is missing"), "{text}");
        assert!(text.contains("provisioner-secret-name"), "{text}");
    }

    #[test]
    fn no_message_shows_a_value() {
        for pairs in [
            &[("userID", "client.MARKER"), ("userKey", "MARKER \u{1}")][..],
            &[("userID", "MARKER\n\nx"), ("userKey", "-MARKER-")],
            &[("key", "MARKER!"), ("adminId", "client.MARKER")],
            // A key in the wrong field.
            &[
                ("userID", "AQCMARKERmisplacedKEYmarkerMARKERplaced=="),
                ("userKey", "AQB="),
            ],
        ] {
            let text = of(pairs).unwrap_err();
            assert!(!text.contains("MARKER"), "{text}");
        }
    }
}
