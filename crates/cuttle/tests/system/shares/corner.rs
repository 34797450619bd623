//! A root of shares of a test's own, the program that works on it, and ceph-fuse to look at it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cuttle_testbed::{Cluster, Output, Program, remove_tree, shared_cluster, until};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);

/// A root of its own, and the administrator's mount of the file system.
pub(crate) struct Corner {
    pub(crate) cluster: Cluster,
    pub(crate) root: String,
    pub(crate) dir: PathBuf,
    pub(crate) admin: Mounted,
    old_tool: PathBuf,
}

/// A directory of the file system, mounted by ceph-fuse.
pub(crate) struct Mounted {
    pub(crate) at: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a test that fails may leave files open.
        drop(Program::new("umount").arg("-l").arg(&self.at).run());
    }
}

impl Corner {
    pub(crate) fn new() -> Self {
        let cluster = shared_cluster();
        let dir = tempfile::Builder::new()
            .prefix("shares-")
            .tempdir()
            .unwrap()
            .keep();
        let name = dir.file_name().unwrap().to_str().unwrap();
        let root = format!("/{name}/a_b-c");
        let old_tool = dir.join("cephfs_provisioner");
        symlink(env!("CARGO_BIN_EXE_cuttle"), &old_tool).unwrap();
        let key = cluster.admin_key();
        let admin = mount(&cluster, &dir, "admin", &key, "/").unwrap();
        Self {
            cluster,
            root,
            dir,
            admin,
            old_tool,
        }
    }

    /// A name of the test's own, since users are the whole cluster's.
    pub(crate) fn name(&self, name: &str) -> String {
        let own = self.dir.file_name().unwrap().to_str().unwrap();
        format!("{name}-{own}")
    }

    fn program(&self, program: &Path) -> Program {
        Program::new(program)
            .env("CEPH_MON", self.cluster.monitors())
            .env("CEPH_AUTH_ID", "admin")
            .env("CEPH_AUTH_KEY", self.cluster.admin_key())
            .env("CEPH_VOLUME_ROOT", &self.root)
            .limit(PATIENCE)
    }

    /// The program under the old tool's name.
    pub(crate) fn old_tool(&self, words: &[&str]) -> Program {
        self.program(&self.old_tool).args(words)
    }

    /// `cuttle share`.
    pub(crate) fn share(&self, words: &[&str]) -> Program {
        self.program(Path::new(env!("CARGO_BIN_EXE_cuttle")))
            .arg("share")
            .args(words)
    }

    /// `cuttle share list --all-groups`.
    pub(crate) fn list(&self) -> Vec<Value> {
        let output = succeeded(self.share(&["list", "--all-groups"]));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Where a path of the file system is in the administrator's mount.
    pub(crate) fn seen(&self, path: &str) -> PathBuf {
        self.admin.at.join(path.trim_start_matches('/'))
    }

    /// What is below the root, but for the directories that stay.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        self.leftovers_in(&self.root)
    }

    /// The same of another root.
    pub(crate) fn leftovers_in(&self, root: &str) -> Vec<String> {
        let root = self.seen(root);
        let names = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).map(|entries| {
                let names = entries.map(|entry| entry.unwrap().file_name());
                names.map(|name| name.into_string().unwrap()).collect()
            });
            entries.unwrap_or_default()
        };
        let mut found = Vec::new();
        for name in names(&root) {
            let inner = root.join(&name);
            if inner.is_dir() {
                found.extend(names(&inner).iter().map(|inner| format!("{name}/{inner}")));
            } else {
                found.push(name);
            }
        }
        found
    }

    /// What the cluster says of a user; `None` when there is none.
    pub(crate) fn user(&self, user: &str) -> Option<Value> {
        let dump = self.cluster.json(&["auth", "ls"]).unwrap();
        let name = format!("client.{user}");
        let mut users = dump["auth_dump"].as_array().unwrap().iter();
        users.find(|entry| entry["entity"] == *name).cloned()
    }

    /// The names of all users.
    pub(crate) fn users(&self) -> Vec<String> {
        let dump = self.cluster.json(&["auth", "ls"]).unwrap();
        let users = dump["auth_dump"].as_array().unwrap().iter();
        users
            .map(|entry| entry["entity"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Mounts a directory as a user.
    pub(crate) fn mount(&self, user: &str, key: &str, path: &str) -> Result<Mounted, String> {
        mount(&self.cluster, &self.dir, user, key, path)
    }

    /// Runs `rados` in the data pool as a user.
    pub(crate) fn rados(&self, user: &str, key: &str, words: &[&str]) -> Output {
        let keyring = keyring(&self.dir, user, key);
        Program::new("rados")
            .arg("-c")
            .arg(self.cluster.conf_path())
            .args(["-n", &format!("client.{user}"), "-k"])
            .arg(keyring)
            .args(["-p", "cephfs.data"])
            .args(words)
            .run()
            .unwrap()
    }

    /// Ends the sessions of clients whose process is dead: until then others would wait for what
    /// those held, for up to a minute.
    pub(crate) fn evict_the_dead(&self) {
        let sessions = self.cluster.json(&["tell", "mds.0", "session", "ls"]);
        for session in sessions.unwrap().as_array().unwrap() {
            let pid = session["client_metadata"]["pid"].as_str().unwrap_or("");
            if !pid.is_empty() && !Path::new("/proc").join(pid).exists() {
                let id = format!("id={}", session["id"]);
                drop(
                    self.cluster
                        .json(&["tell", "mds.0", "session", "evict", &id]),
                );
            }
        }
    }

    /// Waits until no object is left in a namespace of the data pool; the MDS removes them late.
    pub(crate) fn wait_for_no_objects(&self, namespace: &str) {
        until("the data's objects are gone", PATIENCE, || {
            let words = ["-p", "cephfs.data", "-N", namespace, "ls"];
            let found = self.cluster.rados(&words).unwrap();
            if found.is_empty() { Ok(()) } else { Err(found) }
        })
        .unwrap();
    }
}

impl Drop for Corner {
    fn drop(&mut self) {
        // The mount lies in the directory, which is removed only if nothing is mounted there.
        drop(Program::new("umount").arg("-l").arg(&self.admin.at).run());
        drop(remove_tree(&self.dir));
    }
}

/// Runs a program that must succeed and say nothing beside its output.
pub(crate) fn succeeded(program: Program) -> Output {
    let output = program.ok().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told, "", "{}", output.command);
    output
}

/// Runs a program that must fail, and gives what it says.
pub(crate) fn failed(program: Program) -> String {
    let output = program.run().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn keyring(dir: &Path, user: &str, key: &str) -> PathBuf {
    let path = dir.join(format!("{user}.keyring"));
    fs::write(&path, format!("[client.{user}]\nkey = {key}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// The administrator's mount of a directory; mount point and keyring are made below `dir`.
pub(crate) fn mount_as_admin(cluster: &Cluster, dir: &Path, path: &str) -> Result<Mounted, String> {
    mount(cluster, dir, "admin", &cluster.admin_key(), path)
}

fn mount(
    cluster: &Cluster,
    dir: &Path,
    user: &str,
    key: &str,
    path: &str,
) -> Result<Mounted, String> {
    let at = tempfile::Builder::new()
        .prefix("mnt-")
        .tempdir_in(dir)
        .unwrap()
        .keep();
    let output = Program::new("ceph-fuse")
        .arg("-c")
        .arg(cluster.conf_path())
        .args(["-n", &format!("client.{user}"), "-k"])
        .arg(keyring(dir, user, key))
        .args(["-r", path])
        .arg(&at)
        .run()
        .unwrap();
    if output.status.success() {
        Ok(Mounted { at })
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
