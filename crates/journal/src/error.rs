//! What can go wrong with the journal.

use std::borrow::Cow;

use cuttle_model::{Class, CoName, Code, Explain, Left, ObjectUuid};

use crate::record::RecordError;

/// A journal operation that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Ceph did not carry out a read or write.
    #[error("could not {doing}")]
    Ceph {
        /// What was being done, such as `reserve the name "pvc-1"`.
        doing: String,
        /// Ceph's answer.
        #[source]
        source: ceph::Error,
    },
    /// A directory key has a value of neither form.
    #[error("key {key} of object {object} has a value that is no journal entry")]
    BrokenEntry {
        /// The directory object.
        object: String,
        /// The key.
        key: String,
    },
    /// A record has a value that cannot be understood.
    #[error("object {object} holds a damaged record")]
    BrokenRecord {
        /// The record's object.
        object: String,
        /// The value.
        #[source]
        source: RecordError,
    },
    /// The directory gives a name a record that says it belongs to another name.
    #[error(
        "the journal gives the name \"{name}\" the record {uuid}, which belongs to \"{recorded}\""
    )]
    ForeignRecord {
        /// The requested name.
        name: CoName,
        /// The record.
        uuid: ObjectUuid,
        /// The name in the record.
        recorded: CoName,
    },
    /// The record went away, changed hands or was committed by others while the volume was made.
    #[error("the record {uuid} was changed by others while its image was made")]
    RecordVanished {
        /// The record.
        uuid: ObjectUuid,
    },
}

impl JournalError {
    pub(crate) fn ceph(doing: impl Into<String>, source: ceph::Error) -> Self {
        Self::Ceph {
            doing: doing.into(),
            source,
        }
    }

    /// Ceph's answer, if that is what failed.
    #[must_use]
    pub fn as_ceph(&self) -> Option<&ceph::Error> {
        match self {
            Self::Ceph { source, .. } => Some(source),
            Self::BrokenEntry { .. }
            | Self::BrokenRecord { .. }
            | Self::ForeignRecord { .. }
            | Self::RecordVanished { .. } => None,
        }
    }
}

impl Explain for JournalError {
    fn code(&self) -> Code {
        Code::new(match self {
            Self::Ceph { .. } => 1301,
            Self::BrokenEntry { .. } => 1302,
            Self::BrokenRecord { .. } => 1303,
            Self::ForeignRecord { .. } => 1304,
            Self::RecordVanished { .. } => 1305,
        })
    }

    fn class(&self) -> Class {
        match self {
            Self::Ceph { source, .. } => class_of(source),
            Self::BrokenEntry { .. } | Self::BrokenRecord { .. } | Self::ForeignRecord { .. } => {
                Class::Unmet
            }
            Self::RecordVanished { .. } => Class::Busy,
        }
    }

    fn left(&self) -> Left {
        match self {
            Self::Ceph { source, .. } => source.left(),
            Self::RecordVanished { .. } => Left::MaybeRunning,
            Self::BrokenEntry { .. } | Self::BrokenRecord { .. } | Self::ForeignRecord { .. } => {
                Left::Nothing
            }
        }
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Ceph { source, .. } if source.is_unsupported() => Some(Cow::Borrowed(
                "the journal needs omap, which an erasure-coded pool does not have: name a \
                 replicated pool in `pool` and the erasure-coded one in `dataPool`",
            )),
            Self::Ceph { source, .. } => source.remedy(),
            Self::BrokenEntry { object, key } => Some(Cow::Owned(format!(
                "look at it with `rados -p POOL getomapval {object} {key}`; if no volume handle \
                 depends on it, remove the key with `rados -p POOL rmomapkey {object} {key}`"
            ))),
            Self::BrokenRecord { object, .. } => Some(Cow::Owned(format!(
                "look at it with `rados -p POOL listomapvals {object}` and correct the value"
            ))),
            Self::ForeignRecord { name, .. } => Some(Cow::Owned(format!(
                "two names share one record, which no driver writes: find out whose it is, then \
                 remove the key of \"{name}\" from the csi.volumes or csi.snaps object"
            ))),
            Self::RecordVanished { .. } => Some(Cow::Borrowed(
                "another process made or deleted the same at the same time; the repeated request \
                 settles it",
            )),
        }
    }
}

/// The class of a failure on an object of our own: that such an object is absent, present or
/// refuses a value says nothing about the caller's request.
pub(crate) fn class_of(source: &ceph::Error) -> Class {
    let class = source.class();
    if matches!(class, Class::Absent | Class::Exists | Class::Invalid) {
        Class::Bug
    } else {
        class
    }
}
