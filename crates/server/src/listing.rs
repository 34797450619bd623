//! Credentials for calls to which CSI passes no secrets.
//!
//! ListVolumes, GetCapacity and ControllerGetVolume carry none, so the configuration names a
//! directory with the files `userID` and `userKey` for each cluster that is to answer them
//! (`rbd.listing` in `config.json`). The files are read for every call: a mounted Secret changes
//! under the process.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use cuttle_model::{
    Class, ClusterId, ClusterSettings, ClusterTable, Code, Credentials, Explain, Secret, UserId,
};
use cuttle_volumes::rbd::ListSource;

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListingError {
    /// No cluster has any.
    #[error("config.json names credentials for listing for none of the clusters")]
    NowhereConfigured,
    /// This cluster has none.
    #[error("config.json names no credentials for listing for cluster \"{cluster}\"")]
    NotConfigured {
        /// The cluster.
        cluster: ClusterId,
    },
    /// A file cannot be read.
    #[error("could not read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// A file has no usable content. It is not shown.
    #[error("{path} does not hold what its name says")]
    Unusable {
        /// The file.
        path: PathBuf,
    },
}

impl Explain for ListingError {
    fn code(&self) -> Code {
        match self {
            Self::NowhereConfigured => Code::new(1040),
            Self::NotConfigured { .. } => Code::new(1041),
            Self::Unreadable { .. } => Code::new(1042),
            Self::Unusable { .. } => Code::new(1043),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::NowhereConfigured => Class::Unsupported,
            Self::NotConfigured { .. } | Self::Unreadable { .. } | Self::Unusable { .. } => {
                Class::Unmet
            }
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        Some(Cow::Borrowed(match self {
            Self::NowhereConfigured | Self::NotConfigured { .. } => {
                "set rbd.listing (or cephFS.listing) of the cluster in config.json"
            }
            Self::Unreadable { .. } | Self::Unusable { .. } => {
                "mount a Secret with userID (without \"client.\") and userKey there"
            }
        }))
    }
}

/// Whether any cluster's volumes can be listed.
pub(crate) fn is_offered(table: &ClusterTable) -> bool {
    table.iter().any(|cluster| cluster.rbd.listing.is_some())
}

/// The same for CephFS.
pub(crate) fn is_cephfs_offered(table: &ClusterTable) -> bool {
    table.iter().any(|cluster| cluster.cephfs.listing.is_some())
}

/// The credentials for listing a cluster. Reads two files.
///
/// # Errors
/// When none are configured, or the files are missing or unusable.
pub(crate) fn credentials(cluster: &ClusterSettings) -> Result<Credentials, ListingError> {
    match &cluster.rbd.listing {
        Some(listing) => read_credentials(&listing.credentials_directory),
        None => Err(ListingError::NotConfigured {
            cluster: cluster.id.clone(),
        }),
    }
}

/// The same for CephFS.
///
/// # Errors
/// As [`credentials`].
pub(crate) fn cephfs_credentials(cluster: &ClusterSettings) -> Result<Credentials, ListingError> {
    match &cluster.cephfs.listing {
        Some(listing) => read_credentials(&listing.credentials_directory),
        None => Err(ListingError::NotConfigured {
            cluster: cluster.id.clone(),
        }),
    }
}

fn read_credentials(directory: &Path) -> Result<Credentials, ListingError> {
    let read = |name: &str| {
        let path = directory.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok((path, Secret::new(text))),
            Err(source) => Err(ListingError::Unreadable { path, source }),
        }
    };
    let (path, user) = read("userID")?;
    // The text is not told: someone may have swapped the two files.
    let Ok(user) = UserId::new(user.expose().trim()) else {
        return Err(ListingError::Unusable { path });
    };
    let (path, key) = read("userKey")?;
    let key = Secret::new(key.expose().trim().to_owned());
    if key.is_empty() {
        return Err(ListingError::Unusable { path });
    }
    Ok(Credentials { user, key })
}

/// Everything of CephFS that can be listed.
///
/// # Errors
/// As [`sources`].
pub(crate) fn cephfs_sources(
    table: &ClusterTable,
) -> Result<Vec<cuttle_volumes::cephfs::ListSource>, ListingError> {
    let mut sources = Vec::new();
    for cluster in table.iter() {
        if let Some(listing) = &cluster.cephfs.listing {
            sources.push(cuttle_volumes::cephfs::ListSource {
                cluster: cluster.id.clone(),
                file_systems: listing.file_systems.clone(),
                credentials: read_credentials(&listing.credentials_directory)?,
            });
        }
    }
    if sources.is_empty() {
        return Err(ListingError::NowhereConfigured);
    }
    Ok(sources)
}

/// Everything that can be listed.
///
/// # Errors
/// When no cluster is configured for it, or one that is has no usable credentials.
pub(crate) fn sources(table: &ClusterTable) -> Result<Vec<ListSource>, ListingError> {
    let mut sources = Vec::new();
    for cluster in table.iter() {
        if let Some(listing) = &cluster.rbd.listing {
            sources.push(ListSource {
                cluster: cluster.id.clone(),
                pools: listing.pools.clone(),
                credentials: credentials(cluster)?,
            });
        }
    }
    if sources.is_empty() {
        return Err(ListingError::NowhereConfigured);
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use cuttle_model::{ListingSettings, Monitors, PoolName};

    use super::*;

    fn cluster(directory: PathBuf) -> ClusterSettings {
        let monitors = Monitors::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let mut cluster = ClusterSettings::new(ClusterId::new("c").unwrap(), monitors);
        cluster.rbd.listing = Some(ListingSettings {
            credentials_directory: directory,
            pools: vec![PoolName::new("rbd").unwrap()],
        });
        cluster
    }

    #[test]
    fn files_are_read_anew_and_trimmed() {
        let directory = tempfile::tempdir().unwrap();
        let cluster = cluster(directory.path().to_owned());
        let missing = credentials(&cluster).unwrap_err();
        assert!(chain_of(&missing).contains("userID"), "{missing}");
        std::fs::write(directory.path().join("userID"), "lister\n").unwrap();
        std::fs::write(directory.path().join("userKey"), "QUJD\n").unwrap();
        let found = credentials(&cluster).unwrap();
        assert_eq!(
            (found.user.as_str(), found.key.expose()),
            ("lister", "QUJD")
        );
        let table = ClusterTable::new([cluster]);
        assert_eq!(sources(&table).unwrap().len(), 1);
        assert!(is_offered(&table));
    }

    #[test]
    fn what_is_wrong_is_named_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("userID"), "client.MARKER").unwrap();
        let error = credentials(&cluster(directory.path().to_owned())).unwrap_err();
        assert!(!chain_of(&error).contains("MARKER"));
        assert!(chain_of(&error).contains("userID"));
    }

    #[test]
    fn without_configuration_listing_is_unsupported() {
        let error = sources(&ClusterTable::default()).unwrap_err();
        assert_eq!(error.class(), Class::Unsupported);
        assert!(!is_offered(&ClusterTable::default()));
    }

    fn chain_of(error: &ListingError) -> String {
        cuttle_model::chain(error)
    }
}
