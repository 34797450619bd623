//! Taking processes out of the cgroups they were born in.
//!
//! A container's processes are killed with it by its cgroup, whatever their session. A process
//! that is to outlive the driver's container leaves that group: into a scope of systemd where
//! systemd runs, otherwise into a group of our own beside those of systemd and the container
//! runtime.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::systemd::{self, Refusal};
use crate::{AbsolutePath, Error, Host, Mount};

/// The group of our own, below the root of the unified hierarchy.
const GROUP: &str = "cuttle-fuse";

/// Where processes were taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apart {
    /// Into a scope of systemd.
    Scope(String),
    /// Into these groups.
    Groups(Vec<PathBuf>),
}

impl fmt::Display for Apart {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scope(name) => out.write_str(name),
            Self::Groups(groups) => {
                let mut separator = "";
                for group in groups {
                    write!(out, "{separator}{}", group.display())?;
                    separator = ", ";
                }
                Ok(())
            }
        }
    }
}

impl Host {
    /// Takes processes out of the cgroups of the container or service they were started in.
    ///
    /// `unit` names the scope (`cuttle-x.scope`). Without systemd they go into the group
    /// `cuttle-fuse` of the unified hierarchy and into the roots of the older ones; that needs the
    /// host's `/sys/fs/cgroup`.
    ///
    /// # Idempotency
    /// Processes that are there already stay there; a scope of the same name with other processes
    /// in it makes systemd refuse, and then the groups are used.
    ///
    /// # Blocking
    /// A few seconds at most.
    ///
    /// # Errors
    /// When neither is possible; the processes run on where they are.
    pub fn set_apart(&self, unit: &str, description: &str, pids: &[u32]) -> Result<Apart, Error> {
        let call = "host.scope";
        let scope: Result<Result<(), Refusal>, Error> = self.door.call(call, unit, || {
            Ok(systemd::start_scope(unit, description, pids))
        });
        let refusal = match scope? {
            Ok(()) => return Ok(Apart::Scope(unit.to_owned())),
            Err(refusal) => refusal,
        };
        self.leave_groups(pids).map_err(|error| Error::NotApart {
            // Both are told: either would do.
            why: format!("{refusal}; {error}"),
        })
    }

    fn leave_groups(&self, pids: &[u32]) -> Result<Apart, Error> {
        let call = "host.cgroup";
        let table = self.mount_table()?;
        let hierarchies: Vec<Hierarchy> = table.mounts().iter().filter_map(Hierarchy::of).collect();
        self.door.call(call, "/sys/fs/cgroup", || {
            let mut groups = Vec::new();
            for hierarchy in hierarchies {
                let group = hierarchy.group();
                if hierarchy == Hierarchy::Unified(hierarchy.root().to_owned())
                    && let Err(error) = std::fs::create_dir(&group)
                    && error.kind() != std::io::ErrorKind::AlreadyExists
                {
                    return Err(Error::io(call, group.display(), "mkdir", &error));
                }
                for pid in pids {
                    std::fs::write(group.join("cgroup.procs"), pid.to_string())
                        .map_err(|error| Error::io(call, group.display(), "write", &error))?;
                }
                groups.push(group);
            }
            if groups.is_empty() {
                let nothing = rustix::io::Errno::NOENT;
                return Err(Error::call(call, "a root of cgroups", "find", nothing));
            }
            groups.sort();
            groups.dedup();
            Ok(Apart::Groups(groups))
        })
    }
}

/// A hierarchy of cgroups whose true root is mounted at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hierarchy {
    Unified(PathBuf),
    Older(PathBuf),
}

impl Hierarchy {
    /// The hierarchy behind a mount; `None` when it shows a part of one, such as a container's.
    /// Only a root has no `cgroup.type` (unified), only a root has a `release_agent` (older).
    fn of(mount: &Mount) -> Option<Self> {
        let path = AbsolutePath::new(mount.mount_point.clone()).ok()?;
        let has = |name: &str| path.as_path().join(name).exists();
        if !has("cgroup.procs") {
            return None;
        }
        match mount.fs_type.as_str() {
            "cgroup2" if !has("cgroup.type") => Some(Self::Unified(path.as_path().to_owned())),
            "cgroup" if has("release_agent") => Some(Self::Older(path.as_path().to_owned())),
            _ => None,
        }
    }

    fn root(&self) -> &Path {
        match self {
            Self::Unified(root) | Self::Older(root) => root,
        }
    }

    /// The group that processes are taken to.
    fn group(&self) -> PathBuf {
        match self {
            Self::Unified(root) => root.join(GROUP),
            // A group of our own would need settings (as of CPUs) before anybody could enter it.
            Self::Older(root) => root.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{eventually, host};
    use crate::{DetachedProgram, Program};

    #[test]
    fn a_process_leaves_the_groups_it_was_born_in() {
        let host = host();
        let program = Program::new("sh").args(["-c", "echo ready; exec sleep 60"]);
        let started = host
            .spawn_detached("test.sleep", &DetachedProgram::new(program))
            .unwrap();
        let process = host.process_identity(started.pid).unwrap().unwrap();
        let unit = format!("cuttle-test-{}.scope", started.pid);
        let apart = host.set_apart(&unit, "a test", &[started.pid]);
        let groups = || {
            let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", started.pid));
            groups.unwrap_or_default()
        };
        let is_apart = |line: &str| line.ends_with(":/") || line.ends_with("/cuttle-fuse");
        match apart {
            // systemd moves it after its answer.
            Ok(Apart::Scope(_)) => eventually("it is in its scope", || groups().contains(&unit)),
            Ok(Apart::Groups(_)) => assert!(groups().lines().all(is_apart), "{}", groups()),
            // A machine where nobody may, such as an unprivileged container.
            Err(error) => assert!(matches!(error, Error::NotApart { .. }), "{error}"),
        }
        host.kill_process(process).unwrap();
    }
}
