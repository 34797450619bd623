//! What the checks found.

use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Looked at and in order.
    Good,
    /// In order, and worth knowing.
    Note,
    /// Works, and will hurt.
    Warning,
    /// The question could not be asked.
    Unknown,
    /// Something will fail.
    Error,
}

impl Severity {
    /// The word for it in tables and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

macro_rules! checks {
    ($($name:ident $id:literal $about:literal;)*) => {
        /// One thing that is looked at. Its id never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Check {
            $(#[doc = $about] $name,)*
        }

        impl Check {
            /// All of them, in the order in which they are made.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its stable id.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id),* }
            }

            /// What it looks at.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$name => $about),* }
            }
        }
    };
}

checks! {
    Config "config" "config.json can be read and has the cluster";
    MonitorReach "monitor-reach" "each configured monitor answers, and in which version of the protocol";
    Login "login" "the user can log in with its key";
    MonitorList "monitor-list" "the configured monitors are the cluster's";
    DaemonReach "daemon-reach" "manager, OSDs and metadata servers take connections from here";
    Health "health" "the cluster says nothing about itself that stops volumes";
    Versions "versions" "the cluster's daemons are of one supported release";
    Libraries "libraries" "the installed Ceph libraries have all functions that are used";
    ManagerActive "manager-active" "a manager is at work";
    ModuleRbd "module-rbd-support" "the manager's module rbd_support answers";
    ModuleVolumes "module-volumes" "the manager's module volumes answers";
    Pool "pool" "the pool exists";
    PoolApplication "pool-application" "the pool is made for RBD";
    PoolQuota "pool-quota" "the pool has room: its quota and the space that is left";
    DataPool "data-pool" "the pool for data exists and can be overwritten in part";
    Namespace "rados-namespace" "the configured RADOS namespace exists";
    FileSystem "file-system" "the file system exists and has an active metadata server";
    SubvolumeGroup "subvolume-group" "the configured group of subvolumes exists";
    UserPower "user-power" "the user is not the administrator";
    CapsMonitor "caps-mon" "the user may ask the monitors, and fence with them";
    CapsOsd "caps-osd" "the user may read, write and call classes where it has to";
    CapsManager "caps-mgr" "the user may ask the manager for what is needed";
    Pair "known-bad-pair" "no combination of versions and settings is known to fail";
    Kernel "kernel" "the kernel's release, and what it lacks";
    KernelRbd "kernel-rbd" "the kernel has an RBD client, and which image features it knows";
    KernelCeph "kernel-ceph" "the kernel has a CephFS client";
    Fuse "fuse" "FUSE and loop devices, for mounter: fuse";
    Programs "programs" "the programs that nodes need are installed";
    Privilege "privilege" "the process may mount";
    KubeletDirectory "kubelet-dir" "kubelet's directory is there and writable";
    Propagation "mount-propagation" "mounts below kubelet's directory are seen by kubelet";
    Registration "registration-dir" "kubelet's directory for the registration of plugins is there";
    CephConf "ceph-conf" "no setting in ceph.conf floods output or stops logins";
    Class "class-parameters" "the class's parameters are known and go together";
    ClassCluster "class-cluster" "the class's cluster is in config.json";
    ClassSecret "class-secrets" "the class names all Secrets that are needed, and they have the keys";
    ClassOptions "class-options" "what the class says outside its parameters works";
}

/// What one check found about one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check.
    pub check: Check,
    /// The thing that was looked at, such as `pool replicapool`.
    pub about: String,
    /// How much it matters.
    pub severity: Severity,
    /// What was seen.
    pub evidence: String,
    /// What follows from it; empty when all is well.
    pub meaning: String,
    /// What to do, as far as possible a command.
    pub remedy: Option<String>,
}

/// All findings, in the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The worst of all findings; good when there are none.
    #[must_use]
    pub fn worst(&self) -> Severity {
        let severities = self.findings.iter().map(|finding| finding.severity);
        severities.max().unwrap_or(Severity::Good)
    }

    /// Adds something that is in order.
    pub fn good(&mut self, check: Check, about: impl Into<String>, evidence: impl Into<String>) {
        self.findings.push(Finding {
            check,
            about: about.into(),
            severity: Severity::Good,
            evidence: evidence.into(),
            meaning: String::new(),
            remedy: None,
        });
    }

    /// Adds a finding with what follows from it.
    pub fn add(&mut self, severity: Severity, check: Check, about: impl Into<String>, told: Told) {
        self.findings.push(Finding {
            check,
            about: about.into(),
            severity,
            evidence: told.evidence,
            meaning: told.meaning,
            remedy: told.remedy,
        });
    }
}

/// Evidence, meaning and remedy of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    evidence: String,
    meaning: String,
    remedy: Option<String>,
}

impl Told {
    /// What was seen, and what follows from it.
    pub fn new(evidence: impl Into<String>, meaning: impl Into<String>) -> Self {
        Self {
            evidence: evidence.into(),
            meaning: meaning.into(),
            remedy: None,
        }
    }

    /// With what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_words_and_differ() {
        let ids: BTreeSet<&str> = Check::ALL.iter().map(|check| check.id()).collect();
        assert_eq!(ids.len(), Check::ALL.len());
        for id in ids {
            let plain = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(id.chars().all(plain), "{id}");
        }
    }

    #[test]
    fn the_worst_counts_and_unknown_is_not_good() {
        let mut report = Report::default();
        assert_eq!(report.worst(), Severity::Good);
        report.good(Check::Pool, "pool a", "there");
        report.add(
            Severity::Warning,
            Check::Pool,
            "pool b",
            Told::new("x", "y"),
        );
        report.add(
            Severity::Unknown,
            Check::Pool,
            "pool c",
            Told::new("x", "y"),
        );
        assert_eq!(report.worst(), Severity::Unknown);
    }
}
