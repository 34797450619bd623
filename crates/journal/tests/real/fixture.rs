//! The recorded layouts under `tests/fixtures`: one line per omap value, tab-separated.
//!
//! ```text
//! <pool: image or journal>  <object>  <key>  <value, byte for byte>
//! ```

use std::collections::BTreeMap;

/// The omap values of one pool: object, key, value.
pub(crate) type Omaps = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// A recorded layout.
pub(crate) struct Fixture {
    /// The objects in the pool of the image.
    pub(crate) image: Omaps,
    /// The objects in the pool of the directory, when that is another one.
    pub(crate) journal: Omaps,
}

/// Every recorded layout of a volume, by name.
pub(crate) const ALL: [(&str, &str); 6] = [
    ("plain", include_str!("../fixtures/plain.tsv")),
    (
        "prefixed-uncommitted",
        include_str!("../fixtures/prefixed-uncommitted.tsv"),
    ),
    (
        "other-instance",
        include_str!("../fixtures/other-instance.tsv"),
    ),
    ("topology", include_str!("../fixtures/topology.tsv")),
    (
        "nameless-image",
        include_str!("../fixtures/nameless-image.tsv"),
    ),
    ("encrypted", include_str!("../fixtures/encrypted.tsv")),
];

/// Every recorded layout of a CephFS volume, by name.
pub(crate) const CEPHFS: [(&str, &str); 5] = [
    ("plain", include_str!("../fixtures/cephfs-plain.tsv")),
    ("prefixed", include_str!("../fixtures/cephfs-prefixed.tsv")),
    (
        "encrypted",
        include_str!("../fixtures/cephfs-encrypted.tsv"),
    ),
    ("shallow", include_str!("../fixtures/cephfs-shallow.tsv")),
    ("nfs", include_str!("../fixtures/cephfs-nfs.tsv")),
];

/// The recorded layout of a snapshot.
pub(crate) fn snapshot() -> Fixture {
    parse(include_str!("../fixtures/snapshot.tsv"))
}

pub(crate) fn fixture(name: &str) -> Fixture {
    let (_, text) = ALL.iter().find(|(known, _)| *known == name).unwrap();
    parse(text)
}

fn parse(text: &str) -> Fixture {
    let mut fixture = Fixture {
        image: Omaps::new(),
        journal: Omaps::new(),
    };
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let [pool, object, key, value] = line.split('\t').collect::<Vec<_>>()[..] else {
            unreachable!("{line}");
        };
        let omaps = if pool == "journal" {
            &mut fixture.journal
        } else {
            &mut fixture.image
        };
        let object = omaps.entry(object.to_owned()).or_default();
        object.insert(key.to_owned(), value.as_bytes().to_vec());
    }
    fixture
}

impl Fixture {
    pub(crate) fn parse(text: &str) -> Self {
        parse(text)
    }

    /// The directory object, its one key, and the value.
    pub(crate) fn entry(&self) -> (&str, &str, &[u8]) {
        let directories = self.journal.iter().chain(&self.image);
        let (object, omap) = directories
            .into_iter()
            .find(|(object, _)| {
                object.starts_with("csi.volumes.") || object.starts_with("csi.snaps.")
            })
            .unwrap();
        let (key, value) = omap.first_key_value().unwrap();
        (object, key, value)
    }

    /// The record's object and its omap.
    pub(crate) fn record(&self) -> (&str, &BTreeMap<String, Vec<u8>>) {
        let mut objects = self.image.iter();
        let record = objects.find(|(object, _)| {
            object.starts_with("csi.volume.") || object.starts_with("csi.snap.")
        });
        record
            .map(|(object, omap)| (object.as_str(), omap))
            .unwrap()
    }
}
