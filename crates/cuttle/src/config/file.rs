//! The file on disk: noticing that it changed, and keeping the last good version.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cuttle_model::{Class, ClusterTable, Code, Explain};

use super::{ConfigError, Finding, Reading};

/// A ConfigMap holds at most 1 MiB; what is larger is something else.
const MOST_BYTES: u64 = 8 << 20;

/// `config.json` on disk, and what of it is in use.
///
/// A mounted ConfigMap changes by a swap of symbolic links, an edited file by its times; both show
/// in the identity of the file the path leads to.
#[derive(Debug)]
pub struct ClusterFile {
    path: PathBuf,
    seen: Option<Identity>,
    in_use: ClusterTable,
    is_whole: Arc<AtomicBool>,
}

/// What tells two versions of a file apart; `None` stands for a file that cannot be looked at.
type Identity = Result<Version, io::ErrorKind>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    bytes: u64,
}

/// What a look at the file gave.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing changed since the last look.
    Unchanged,
    /// The file was read and is in use, but for entries with mistakes.
    Read {
        /// The clusters in use now.
        table: ClusterTable,
        /// What is wrong; entries with mistakes keep their last good settings, if there are any.
        mistakes: Vec<Finding>,
        /// What is odd.
        warnings: Vec<Finding>,
    },
    /// Nothing of the file can be used; what was in use stays in use.
    Unusable(Unusable),
}

/// Why nothing of the file can be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// It was read and is not in the right form.
    #[error("{path} is not in the form of a list of clusters")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: ConfigError,
    },
}

impl Explain for Unusable {
    fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code::new(1105),
            Self::Malformed { source, .. } => source.code(),
        }
    }

    fn class(&self) -> Class {
        Class::Invalid
    }

    fn remedy(&self) -> Option<std::borrow::Cow<'static, str>> {
        match self {
            Self::Unreadable { .. } => {
                Some("mount the ConfigMap ceph-csi-config there, or give --config".into())
            }
            Self::Malformed { source, .. } => source.remedy(),
        }
    }
}

impl ClusterFile {
    /// The file at this path, not looked at yet; no cluster is in use.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            seen: None,
            in_use: ClusterTable::default(),
            is_whole: Arc::default(),
        }
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the newest version is in use as a whole, as of the last [`refresh`].
    ///
    /// [`refresh`]: super::refresh
    #[must_use]
    pub fn is_whole(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_whole)
    }

    /// The clusters in use.
    #[must_use]
    pub fn in_use(&self) -> &ClusterTable {
        &self.in_use
    }

    /// Looks whether the file changed, and reads it if so.
    ///
    /// # Blocking
    /// For one look at a local file, and its reading when it changed.
    pub fn refresh(&mut self) -> Outcome {
        let now = identity(&self.path);
        if self.seen.as_ref() == Some(&now) {
            return Outcome::Unchanged;
        }
        // The identity is taken before the reading: a change in between is seen by the next look.
        self.seen = Some(now);
        match self.read() {
            Ok(reading) => {
                let Reading {
                    entries,
                    mistakes,
                    warnings,
                } = reading;
                let entries = Reading {
                    entries,
                    ..Reading::default()
                };
                self.in_use = entries.into_table(&self.in_use);
                Outcome::Read {
                    table: self.in_use.clone(),
                    mistakes,
                    warnings,
                }
            }
            Err(unusable) => Outcome::Unusable(unusable),
        }
    }

    fn read(&self) -> Result<Reading, Unusable> {
        let unreadable = |source| Unusable::Unreadable {
            path: self.path.clone(),
            source,
        };
        let mut bytes = Vec::new();
        let file = File::open(&self.path).map_err(unreadable)?;
        file.take(MOST_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        let malformed = |source| Unusable::Malformed {
            path: self.path.clone(),
            source,
        };
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MOST_BYTES) {
            return Err(malformed(ConfigError::Syntax(
                "it is larger than 8 MiB".to_owned(),
            )));
        }
        let text = String::from_utf8(bytes)
            .map_err(|error| malformed(ConfigError::Syntax(error.to_string())))?;
        Reading::parse(&text).map_err(malformed)
    }
}

fn identity(path: &Path) -> Identity {
    let metadata = std::fs::metadata(path).map_err(|error| error.kind())?;
    Ok(Version {
        device: metadata.dev(),
        inode: metadata.ino(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
        bytes: metadata.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = r#"[{"clusterID":"a","monitors":["1"]}]"#;

    fn table(outcome: Outcome) -> ClusterTable {
        match outcome {
            Outcome::Read {
                table, mistakes, ..
            } => {
                assert_eq!(mistakes, []);
                table
            }
            other @ (Outcome::Unchanged | Outcome::Unusable(_)) => panic!("{other:?}"),
        }
    }

    fn monitor(table: &ClusterTable) -> String {
        table
            .iter()
            .map(|cluster| cluster.monitors.joined())
            .collect()
    }

    /// Swaps the version a path leads to, as kubelet does for a ConfigMap.
    fn swap(directory: &Path, name: &str, text: &str) {
        let version = directory.join(name);
        std::fs::create_dir(&version).unwrap();
        std::fs::write(version.join("config.json"), text).unwrap();
        let link = directory.join("..data");
        let next = directory.join("..data_tmp");
        std::os::unix::fs::symlink(name, &next).unwrap();
        std::fs::rename(next, link).unwrap();
    }

    #[test]
    fn a_config_map_is_followed_through_its_links() {
        let directory = tempfile::tempdir().unwrap();
        swap(directory.path(), "v1", ONE);
        let path = directory.path().join("config.json");
        std::os::unix::fs::symlink("..data/config.json", &path).unwrap();
        let mut file = ClusterFile::new(&path);
        assert_eq!(monitor(&table(file.refresh())), "1");
        assert!(matches!(file.refresh(), Outcome::Unchanged));
        swap(directory.path(), "v2", &ONE.replace('1', "2"));
        assert_eq!(monitor(&table(file.refresh())), "2");
    }

    #[test]
    fn the_last_good_version_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let mut file = ClusterFile::new(&path);
        let missing = file.refresh();
        assert!(
            matches!(missing, Outcome::Unusable(Unusable::Unreadable { .. })),
            "{missing:?}"
        );
        assert!(matches!(file.refresh(), Outcome::Unchanged));
        std::fs::write(&path, ONE).unwrap();
        assert_eq!(monitor(&table(file.refresh())), "1");
        std::fs::write(&path, "[{").unwrap();
        let broken = file.refresh();
        assert!(
            matches!(broken, Outcome::Unusable(Unusable::Malformed { .. })),
            "{broken:?}"
        );
        assert_eq!(monitor(file.in_use()), "1");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(file.refresh(), Outcome::Unusable(_)));
        assert_eq!(monitor(file.in_use()), "1");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(
            file.refresh(),
            Outcome::Unusable(Unusable::Malformed { .. })
        ));
    }

    #[test]
    fn one_broken_entry_keeps_its_last_good_settings() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, ONE).unwrap();
        let mut file = ClusterFile::new(&path);
        assert_eq!(monitor(&table(file.refresh())), "1");
        let broken = r#"[{"clusterID":"a","monitors":7},{"clusterID":"b","monitors":["3"]},{"monitors":[]}]"#;
        std::fs::write(&path, broken).unwrap();
        let Outcome::Read {
            table, mistakes, ..
        } = file.refresh()
        else {
            panic!("not read")
        };
        assert_eq!(monitor(&table), "13");
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    }
}
