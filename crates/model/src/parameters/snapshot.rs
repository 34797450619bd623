//! The parameters of a VolumeSnapshotClass, checked as a whole.

use std::collections::BTreeMap;

use super::keys::{SNAPSHOT_KEYS, check_keys};
use super::{named, required};
use crate::mistakes::{Mistakes, ParameterErrors, Place};
use crate::names::{ClusterId, ImagePrefix, PoolName};

/// The metadata keys the external-snapshotter's `--extra-create-metadata` adds.
const SNAPSHOT_NAME_KEY: &str = "csi.storage.k8s.io/volumesnapshot/name";
/// See [`SNAPSHOT_NAME_KEY`].
const SNAPSHOT_NAMESPACE_KEY: &str = "csi.storage.k8s.io/volumesnapshot/namespace";
/// See [`SNAPSHOT_NAME_KEY`].
const SNAPSHOT_CONTENT_KEY: &str = "csi.storage.k8s.io/volumesnapshotcontent/name";

/// A VolumeSnapshotClass's parameters after checking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotParameters {
    /// The cluster, by its entry in `config.json`.
    pub cluster: ClusterId,
    /// What the names of snapshots' images begin with.
    pub prefix: ImagePrefix,
    /// Who the snapshot is for.
    pub metadata: SnapshotMetadata,
}

/// Who a snapshot is for, as Kubernetes tells it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotMetadata {
    /// The name of the VolumeSnapshot.
    pub name: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// The name of the VolumeSnapshotContent.
    pub content: Option<String>,
}

impl SnapshotParameters {
    /// Checks the parameters of CreateSnapshot.
    ///
    /// # Errors
    /// All mistakes together, each with its field, the rule it breaks and what to write instead.
    pub fn parse(given: &BTreeMap<String, String>) -> Result<Self, ParameterErrors> {
        let mut mistakes = Mistakes::default();
        check_keys(given, &SNAPSHOT_KEYS, &mut mistakes);
        let cluster = required(
            given,
            "clusterID",
            "set it to a clusterID of config.json",
            ClusterId::new,
            &mut mistakes,
        );
        let prefix = named(
            given,
            "snapshotNamePrefix",
            "remove it, or set a prefix such as csi-snap-",
            ImagePrefix::new,
            &mut mistakes,
        );
        // A snapshot lies beside its volume; ceph-csi, too, only checks it.
        named(
            given,
            "pool",
            "remove it: a snapshot lies in the pool of its volume",
            PoolName::new,
            &mut mistakes,
        );
        match cluster {
            Some(cluster) if mistakes.is_empty() => Ok(Self {
                cluster,
                prefix: prefix.unwrap_or_else(ImagePrefix::of_snapshots),
                metadata: SnapshotMetadata::read(given),
            }),
            _ => Err(mistakes.into_errors(Place::SnapshotClass)),
        }
    }
}

impl SnapshotMetadata {
    /// The keys of all entries.
    pub const KEYS: [&'static str; 3] = [
        SNAPSHOT_NAME_KEY,
        SNAPSHOT_NAMESPACE_KEY,
        SNAPSHOT_CONTENT_KEY,
    ];

    fn read(given: &BTreeMap<String, String>) -> Self {
        let value = |key| given.get(key).filter(|text| !text.is_empty()).cloned();
        Self {
            name: value(SNAPSHOT_NAME_KEY),
            namespace: value(SNAPSHOT_NAMESPACE_KEY),
            content: value(SNAPSHOT_CONTENT_KEY),
        }
    }

    /// The metadata to set on the snapshot's image: key and value of each known fact.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        Self::KEYS
            .into_iter()
            .zip([&self.name, &self.namespace, &self.content])
            .filter_map(|(key, value)| value.as_deref().map(|value| (key, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[(&str, &str)]) -> Result<SnapshotParameters, ParameterErrors> {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        SnapshotParameters::parse(&given.iter().map(pair).collect())
    }

    #[test]
    fn a_class_as_ceph_csi_documents_it() {
        let parsed = parse(&[
            ("clusterID", "east"),
            ("csi.storage.k8s.io/snapshotter-secret-name", "s"),
            ("csi.storage.k8s.io/snapshotter-secret-namespace", "n"),
            (SNAPSHOT_NAME_KEY, "nightly"),
            (SNAPSHOT_NAMESPACE_KEY, "databases"),
            (SNAPSHOT_CONTENT_KEY, ""),
        ])
        .unwrap();
        assert_eq!(parsed.cluster.as_str(), "east");
        assert_eq!(parsed.prefix, ImagePrefix::of_snapshots());
        let entries: Vec<_> = parsed.metadata.entries().collect();
        assert_eq!(
            entries,
            [
                (SNAPSHOT_NAME_KEY, "nightly"),
                (SNAPSHOT_NAMESPACE_KEY, "databases")
            ]
        );
        let parsed = parse(&[
            ("clusterID", "east"),
            ("snapshotNamePrefix", "nightly-"),
            ("pool", "rbd"),
        ]);
        assert_eq!(
            parsed.unwrap().prefix,
            ImagePrefix::new("nightly-").unwrap()
        );
    }

    #[test]
    fn all_mistakes_are_told() {
        let text = parse(&[
            ("snapshotNamePrefix", ""),
            ("pool", ""),
            ("snapshotnameprefix", "x"),
        ])
        .unwrap_err()
        .to_string();
        for part in [
            "clusterID",
            "snapshotNamePrefix",
            "pool",
            "did you mean snapshotNamePrefix",
            "VolumeSnapshotClass",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
