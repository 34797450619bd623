//! What can stand between an operation and its cluster or pool.

use std::borrow::Cow;

use ceph::Io;
use cuttle_journal::{JournalError, LocateError};
use cuttle_model::{
    Class, ClusterId, ClusterSettings, Code, Credentials, Explain, FsName, Fsid, Left, PoolName,
    RadosNamespace, UserId,
};

use crate::identity::NotTheSame;

/// Where a request names its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedBy {
    /// In the parameters of a StorageClass.
    Parameter,
    /// In the handle of an existing volume.
    Handle,
}

/// Why a cluster, pool or namespace cannot be worked in.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// `config.json` has no such cluster.
    #[error("cluster \"{cluster}\" is not configured")]
    UnknownCluster {
        /// The clusterID.
        cluster: ClusterId,
        /// Those that are configured.
        known: Vec<ClusterId>,
        /// Who asked for it.
        named_by: NamedBy,
    },
    /// The cluster behind the clusterID is not the one that is meant.
    #[error(
        "config.json leads cluster \"{cluster}\" to the Ceph cluster with fsid {found}, but {because}"
    )]
    OtherCluster {
        /// The clusterID.
        cluster: ClusterId,
        /// The fsid of the cluster that answers.
        found: Fsid,
        /// Why it is not the right one.
        because: NotTheSame,
    },
    /// No connection could be made.
    #[error("could not connect to cluster \"{cluster}\" as client.{user}")]
    Connect {
        /// The cluster.
        cluster: ClusterId,
        /// The Ceph user.
        user: UserId,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The cluster has no such pool, by its newest map.
    #[error("cluster \"{cluster}\" has no pool \"{pool}\"")]
    PoolMissing {
        /// The cluster.
        cluster: ClusterId,
        /// The pool.
        pool: PoolName,
    },
    /// The cluster has no such file system, by its newest map.
    #[error("cluster \"{cluster}\" has no file system \"{fs}\"")]
    FsMissing {
        /// The cluster.
        cluster: ClusterId,
        /// The file system.
        fs: FsName,
    },
    /// The pool was never made for RBD.
    #[error("pool \"{pool}\" is not initialised for RBD")]
    NotInitialised {
        /// The pool.
        pool: String,
    },
    /// The RADOS namespace was never made for RBD.
    #[error("RBD knows no namespace \"{namespace}\" in pool \"{pool}\"")]
    NamespaceMissing {
        /// The pool.
        pool: String,
        /// The namespace.
        namespace: RadosNamespace,
    },
    /// Ceph did not carry out a call.
    #[error("could not {doing}")]
    Ceph {
        /// What was being done.
        doing: String,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// The user may not do what is needed.
    #[error("client.{user} may not {doing}")]
    Denied {
        /// The Ceph user.
        user: UserId,
        /// What was being done.
        doing: Box<str>,
        /// The command that would allow it.
        command: Box<str>,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
}

impl Explain for ReachError {
    fn code(&self) -> Code {
        Code::new(match self {
            Self::UnknownCluster { .. } => 1401,
            Self::Connect { .. } => 1402,
            Self::PoolMissing { .. } => 1403,
            Self::NotInitialised { .. } => 1404,
            Self::NamespaceMissing { .. } => 1405,
            Self::Ceph { .. } => 1406,
            Self::Denied { .. } => 1407,
            Self::OtherCluster { .. } => 1408,
            Self::FsMissing { .. } => 1480,
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::UnknownCluster {
                named_by: NamedBy::Parameter,
                ..
            }
            | Self::PoolMissing { .. }
            | Self::FsMissing { .. } => Class::Invalid,
            Self::UnknownCluster {
                named_by: NamedBy::Handle,
                ..
            }
            | Self::OtherCluster { .. }
            | Self::NotInitialised { .. }
            | Self::NamespaceMissing { .. } => Class::Unmet,
            Self::Connect { source, .. } if is_bad_key(source) => Class::Unauthenticated,
            Self::Connect { source, .. } | Self::Ceph { source, .. } => class_of(source),
            Self::Denied { .. } => Class::Denied,
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Ceph { source, .. } => source.left(),
            Self::UnknownCluster { .. }
            | Self::OtherCluster { .. }
            | Self::Connect { .. }
            | Self::PoolMissing { .. }
            | Self::FsMissing { .. }
            | Self::NotInitialised { .. }
            | Self::NamespaceMissing { .. }
            | Self::Denied { .. } => Left::Nothing,
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        let text = match self {
            Self::UnknownCluster { known, .. } => {
                let known: Vec<&str> = known.iter().map(ClusterId::as_str).collect();
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                format!("add an entry with this clusterID to config.json; it has: {known}")
            }
            Self::Connect { user, source, .. } if is_bad_key(source) => format!(
                "correct user and key in the Secret: `ceph auth get-key client.{user}` \
                 prints the key"
            ),
            Self::OtherCluster { found, because, .. } => because.remedy(*found),
            Self::PoolMissing { pool, .. } => format!(
                "correct the parameter, or make the pool: `ceph osd pool create {pool}` and \
                 `rbd pool init {pool}`"
            ),
            Self::FsMissing { .. } => {
                "correct fsName in the StorageClass; `ceph fs ls` lists the file systems, and the \
                 user's capabilities must not hide it"
                    .to_owned()
            }
            Self::NotInitialised { pool } => format!("run `rbd pool init {pool}`"),
            Self::NamespaceMissing { pool, namespace } => format!(
                "run `rbd namespace create {pool}/{namespace}`, or correct rbd.radosNamespace of \
                 the cluster in config.json"
            ),
            Self::Denied { command, .. } => format!(
                "run `{command}`, which replaces the user's present capabilities (see them with \
                 `ceph auth get`)"
            ),
            Self::Connect { source, .. } | Self::Ceph { source, .. } => return source.remedy(),
        };
        Some(Cow::Owned(text))
    }
}

impl ReachError {
    /// Ceph's answer, if that is what failed.
    #[must_use]
    pub fn as_ceph(&self) -> Option<&ceph::Error> {
        match self {
            Self::Connect { source, .. }
            | Self::Ceph { source, .. }
            | Self::Denied { source, .. } => Some(source),
            Self::UnknownCluster { .. }
            | Self::OtherCluster { .. }
            | Self::PoolMissing { .. }
            | Self::FsMissing { .. }
            | Self::NotInitialised { .. }
            | Self::NamespaceMissing { .. } => None,
        }
    }

    /// A call that failed while `doing`; what would allow it, when it was refused.
    pub(crate) fn refused(
        credentials: &Credentials,
        io: &Io,
        data_pool: Option<&PoolName>,
        doing: &str,
        source: ceph::Error,
    ) -> Self {
        let (pool, namespace) = (io.pool_name(), io.namespace());
        Self::denied_in(credentials, pool, namespace, data_pool, doing, source)
    }

    fn denied_in(
        credentials: &Credentials,
        pool: &str,
        namespace: &RadosNamespace,
        data_pool: Option<&PoolName>,
        doing: &str,
        source: ceph::Error,
    ) -> Self {
        if source.is_denied() {
            Self::Denied {
                user: credentials.user.clone(),
                doing: format!("{doing} in pool {pool}").into(),
                command: caps_command(credentials, pool, namespace, data_pool).into(),
                source,
            }
        } else {
            let doing = doing.to_owned();
            Self::Ceph { doing, source }
        }
    }

    /// The error of a journal operation, when it is one of permissions; otherwise gives it back.
    pub(crate) fn journal(
        credentials: &Credentials,
        io: &Io,
        data_pool: Option<&PoolName>,
        error: JournalError,
    ) -> Result<Self, JournalError> {
        let denied = error.as_ceph().is_some_and(ceph::Error::is_denied);
        if denied && let JournalError::Ceph { doing, source } = error {
            Ok(Self::refused(credentials, io, data_pool, &doing, source))
        } else {
            Err(error)
        }
    }

    /// The error of looking up a volume, when it is one of permissions; otherwise gives it back.
    pub(crate) fn located(
        credentials: &Credentials,
        settings: &ClusterSettings,
        error: LocateError,
    ) -> Result<Self, LocateError> {
        let Some(source) = error.as_ceph().filter(|source| source.is_denied()) else {
            return Err(error);
        };
        let namespace = &settings.rbd.namespace;
        // The pool's name is not known where it could not be opened.
        let doing = "look up the volume";
        Ok(Self::denied_in(
            credentials,
            "POOL",
            namespace,
            None,
            doing,
            source.clone(),
        ))
    }
}

/// The class of a failure on an object the request does not name: that it is absent, present or
/// refuses a value says nothing about the request.
pub(crate) fn class_of(source: &ceph::Error) -> Class {
    let class = source.class();
    if matches!(class, Class::Absent | Class::Exists | Class::Invalid) {
        Class::Bug
    } else {
        class
    }
}

/// Whether a failed connection means that user or key are wrong: EACCES and EPERM, or EINVAL for a
/// key that is no key at all.
fn is_bad_key(source: &ceph::Error) -> bool {
    source.is_denied() || source.class() == Class::Invalid
}

/// The command that gives a user what volumes in these pools need.
pub(crate) fn caps_command(
    credentials: &Credentials,
    pool: &str,
    namespace: &RadosNamespace,
    data_pool: Option<&PoolName>,
) -> String {
    let user = &credentials.user;
    let scope = if namespace.is_default() {
        String::new()
    } else {
        format!(" namespace={namespace}")
    };
    let data = data_pool.map_or_else(String::new, |data| format!(", profile rbd pool={data}"));
    format!(
        "ceph auth caps client.{user} mon 'profile rbd' mgr 'profile rbd pool={pool}{scope}' \
         osd 'profile rbd pool={pool}{scope}{data}'"
    )
}

#[cfg(test)]
mod tests {
    use cuttle_model::Secret;

    use super::*;

    #[test]
    fn the_command_names_every_pool_and_the_namespace() {
        let credentials = Credentials {
            user: UserId::new("csi").unwrap(),
            key: Secret::new("AQ==".to_owned()),
        };
        let command = |namespace: &str, data: Option<&str>| {
            let data = data.map(|data| PoolName::new(data).unwrap());
            let namespace = RadosNamespace::new(namespace).unwrap();
            caps_command(&credentials, "p", &namespace, data.as_ref())
        };
        assert_eq!(
            command("", None),
            "ceph auth caps client.csi mon 'profile rbd' mgr 'profile rbd pool=p' \
             osd 'profile rbd pool=p'"
        );
        assert!(
            command("n", Some("d"))
                .ends_with("osd 'profile rbd pool=p namespace=n, profile rbd pool=d'")
        );
    }
}
