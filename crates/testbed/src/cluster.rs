//! A running cluster: starting, finding, asking and stopping it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::boot::{self, Booted};
use crate::daemon::{self, Life};
use crate::state::{self, State};
use crate::{Contents, Error, Program, SHARED_CLUSTER, remove_tree, until};

/// The longest directory name whose admin sockets still fit the kernel's 108 bytes.
const LONGEST_DIR: usize = 80;

/// How a cluster is to be started.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// Its directory, made when absent; `None` for a fresh one below the temporary directory.
    pub dir: Option<PathBuf>,
    /// Leave it running when the value is dropped and when the process ends.
    pub detached: bool,
    /// How many bytes the OSD may hold in memory.
    pub osd_bytes: u64,
    /// Where its daemons listen.
    pub network: Network,
}

/// Where a cluster's daemons listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// On 127.0.0.1 at free ports, with the second version of the protocol only.
    Loopback,
    /// On an address of a network namespace that belongs to the cluster alone: at the usual ports,
    /// with both versions of the protocol.
    Own(Ipv4Addr),
}

impl Default for StartOptions {
    /// A fresh directory, stopped on drop, room for 4 GiB.
    fn default() -> Self {
        Self {
            dir: None,
            detached: false,
            osd_bytes: 4 << 30,
            network: Network::Loopback,
        }
    }
}

/// A one-node Ceph cluster.
///
/// One that this process started is stopped and its directory removed on drop, unless it was
/// started detached; one that was found is left alone. Methods block until Ceph has answered.
#[derive(Debug)]
pub struct Cluster {
    dir: PathBuf,
    state: State,
    owned: Vec<(String, Child)>,
    temporary: bool,
}

/// The cluster that the environment variable `CUTTLE_TEST_CLUSTER` names.
///
/// # Panics
/// When there is none, saying how to get one.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads this variable"
)]
#[expect(clippy::panic, reason = "a test without its cluster must fail, loudly")]
pub fn shared_cluster() -> Cluster {
    let help = "run `make test`, or `cargo xtask cluster up` and set the variable as it says";
    let Ok(dir) = std::env::var(SHARED_CLUSTER) else {
        panic!("{SHARED_CLUSTER} is not set: {help}");
    };
    match Cluster::find(Path::new(&dir)) {
        Ok(cluster) => cluster,
        Err(error) => panic!("no cluster at {SHARED_CLUSTER}={dir}: {error}; {help}"),
    }
}

impl Cluster {
    /// Starts a cluster and waits until pools, manager modules and file system are ready.
    ///
    /// The pool `rbd` is initialised for images, the file system is called `cephfs`. A monitor
    /// that lost the race for its port is given another one, twice.
    ///
    /// # Errors
    /// [`Error::Directory`] when the directory is in use or its name too long, [`Error::Start`]
    /// when Ceph is not installed, [`Error::Died`] when a daemon does not stay up.
    pub fn start(options: &StartOptions) -> Result<Self, Error> {
        let (dir, temporary) = match &options.dir {
            Some(dir) => (absolute(dir)?, false),
            None => (fresh_dir()?, true),
        };
        check_dir(&dir)?;
        let life = if options.detached {
            Life::Detached
        } else {
            Life::Owned
        };
        let mut attempts = 3;
        loop {
            std::fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
            match boot::boot(&dir, life, options) {
                Ok(Booted { state, children }) => {
                    let owned = if options.detached {
                        Vec::new()
                    } else {
                        children
                    };
                    let cluster = Self {
                        dir,
                        state,
                        owned,
                        temporary,
                    };
                    cluster.state.write(&cluster.dir)?;
                    return Ok(cluster);
                }
                Err(Error::Died { name, status, log }) if attempts > 1 => {
                    attempts -= 1;
                    remove_tree(&dir)?;
                    drop((name, status, log));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Finds the running cluster in `dir`; on another machine than its own (a guest that sees the
    /// directory) it is taken for running.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::State`] when there is none, [`Error::Died`] when one of its
    /// daemons does not run.
    pub fn find(dir: &Path) -> Result<Self, Error> {
        let dir = absolute(dir)?;
        let state = State::read(&dir)?;
        let cluster = Self {
            dir,
            state,
            owned: Vec::new(),
            temporary: false,
        };
        if cluster.state.machine != state::machine()? {
            // Seen from a guest: the daemons are none of this machine's processes.
            return Ok(cluster);
        }
        for (name, pid) in &cluster.state.pids {
            if !cluster.is_ours(*pid) {
                return Err(Error::Died {
                    name: name.clone(),
                    status: "not running".to_owned(),
                    log: daemon::tail(&boot::log_of(&cluster.dir, name)),
                });
            }
        }
        Ok(cluster)
    }

    /// Stops the cluster in `dir`, wholly or half running, and removes the directory.
    ///
    /// Idempotent. Only processes that were started with this directory's configuration are
    /// killed, so that a process id that was used again is safe.
    ///
    /// # Errors
    /// [`Error::Directory`] when the directory holds something else, [`Error::Waited`] when a
    /// daemon does not end.
    pub fn remove(dir: &Path) -> Result<(), Error> {
        let dir = absolute(dir)?;
        if !dir.exists() {
            return Ok(());
        }
        if !dir.join("ceph.conf").exists() || !dir.join("data/mon").exists() {
            return Err(Error::Directory {
                path: dir,
                reason: "it holds no test cluster; remove it by hand if it is yours".to_owned(),
            });
        }
        let conf = dir.join("ceph.conf").display().to_string();
        for (pid, name) in daemons_with(&conf) {
            daemon::signal(&name, pid, Signal::KILL)?;
            daemon::wait_gone(&name, pid, Duration::from_secs(10))?;
        }
        remove_tree(&dir)
    }

    /// Stops an owned or found cluster now and removes its directory.
    ///
    /// # Errors
    /// As [`Cluster::remove`].
    pub fn stop(mut self) -> Result<(), Error> {
        self.kill_owned();
        self.temporary = false;
        Self::remove(&self.dir)
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of its `ceph.conf`, which also names the administrator's keyring.
    #[must_use]
    pub fn conf_path(&self) -> &Path {
        &self.state.conf
    }

    /// Its monitors, in the form that `mon_host` takes.
    #[must_use]
    pub fn monitors(&self) -> String {
        self.state.monitors.clone()
    }

    /// The key of `client.admin`.
    #[must_use]
    pub fn admin_key(&self) -> String {
        self.state.admin_key.clone()
    }

    /// The cluster's id.
    #[must_use]
    pub fn fsid(&self) -> &str {
        &self.state.fsid
    }

    /// Runs `ceph` with these words and gives its JSON answer, or null when it says nothing.
    ///
    /// # Errors
    /// When the command fails.
    pub fn json(&self, words: &[&str]) -> Result<Value, Error> {
        let output = self.program("ceph").args(["-f", "json"]).args(words).ok()?;
        if output.stdout.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        output.json()
    }

    /// One of Ceph's programs (`ceph`, `rbd`, `rados`), pointed at this cluster as administrator.
    #[must_use]
    pub fn program(&self, name: &str) -> Program {
        Program::new(name).arg("-c").arg(&self.state.conf)
    }

    /// Runs `rbd` with these words and gives its output.
    ///
    /// # Errors
    /// When the command fails.
    pub fn rbd(&self, words: &[&str]) -> Result<String, Error> {
        Ok(self.program("rbd").args(words).ok()?.text())
    }

    /// Runs `rados` with these words and gives its output.
    ///
    /// # Errors
    /// When the command fails.
    pub fn rados(&self, words: &[&str]) -> Result<String, Error> {
        Ok(self.program("rados").args(words).ok()?.text())
    }

    /// Makes a user (`name` without `client.`) with these capabilities and gives its key.
    ///
    /// Idempotent when the capabilities are the same.
    ///
    /// # Errors
    /// When the user exists with other capabilities.
    pub fn user(&self, name: &str, caps: &[(&str, &str)]) -> Result<String, Error> {
        let entity = format!("client.{name}");
        let mut words = vec!["auth", "get-or-create-key", &entity];
        words.extend(
            caps.iter()
                .flat_map(|(service, rights)| [*service, *rights]),
        );
        let answer = self.json(&words)?;
        let key = answer
            .get("key")
            .or_else(|| answer.pointer("/0/key"))
            .and_then(Value::as_str);
        Ok(key.unwrap_or_default().to_owned())
    }

    /// Makes a pool for images, unreplicated, and initialises it. Idempotent.
    ///
    /// # Errors
    /// When a command fails.
    pub fn pool(&self, name: &str) -> Result<(), Error> {
        self.bare_pool(name)?;
        self.rbd(&["pool", "init", name]).map(drop)
    }

    /// Makes a pool without initialising it for images. Idempotent.
    ///
    /// # Errors
    /// When the command fails.
    pub fn bare_pool(&self, name: &str) -> Result<(), Error> {
        self.json(&["osd", "pool", "create", name, "8"]).map(drop)
    }

    /// Removes a pool with everything in it. Idempotent.
    ///
    /// # Errors
    /// When the command fails.
    pub fn remove_pool(&self, name: &str) -> Result<(), Error> {
        self.json(&[
            "osd",
            "pool",
            "rm",
            name,
            name,
            "--yes-i-really-really-mean-it",
        ])
        .map(drop)
    }

    /// Makes a RADOS namespace for images. Idempotent.
    ///
    /// # Errors
    /// When the command fails.
    pub fn namespace(&self, pool: &str, namespace: &str) -> Result<(), Error> {
        let listed = self
            .program("rbd")
            .args(["namespace", "ls", "--format", "json", pool])
            .ok()?;
        let exists = listed.json()?.as_array().is_some_and(|entries| {
            entries
                .iter()
                .any(|entry| entry.get("name").and_then(Value::as_str) == Some(namespace))
        });
        if exists {
            return Ok(());
        }
        self.rbd(&["namespace", "create", &format!("{pool}/{namespace}")])
            .map(drop)
    }

    /// Stops the OSD's process in its tracks: every operation hangs until [`Cluster::resume_osd`].
    ///
    /// # Errors
    /// As [`Cluster::pause`].
    pub fn pause_osd(&self) -> Result<(), Error> {
        self.pause("osd.0")
    }

    /// Lets a paused OSD go on. Idempotent.
    ///
    /// # Errors
    /// [`Error::Signal`].
    pub fn resume_osd(&self) -> Result<(), Error> {
        self.resume("osd.0")
    }

    /// Stops a daemon (`mgr.x`, `mds.a`) in its tracks, until [`Cluster::resume`].
    ///
    /// # Errors
    /// [`Error::Signal`], and [`Error::Directory`] on a cluster that this process does not own:
    /// others may be using it.
    pub fn pause(&self, daemon: &str) -> Result<(), Error> {
        if self.owned.is_empty() {
            return Err(Error::Directory {
                path: self.dir.clone(),
                reason: "only the process that started a cluster may pause it".to_owned(),
            });
        }
        let pid = self.signal(daemon, Signal::STOP)?;
        // The signal is only sent; a thread on another processor may still finish its work.
        until("the daemon stands still", Duration::from_secs(10), || {
            let running = daemon::running_threads(pid);
            if running == 0 {
                Ok(())
            } else {
                Err(format!("{running} threads run"))
            }
        })
    }

    /// Lets a paused daemon go on. Idempotent.
    ///
    /// # Errors
    /// [`Error::Signal`].
    pub fn resume(&self, daemon: &str) -> Result<(), Error> {
        self.signal(daemon, Signal::CONT).map(drop)
    }

    /// What lies in one RADOS namespace (`""` is the default one) of a pool, as Ceph's programs see it.
    ///
    /// # Errors
    /// When a command fails.
    pub fn rbd_namespace_contents(&self, pool: &str, namespace: &str) -> Result<Contents, Error> {
        Contents::look(self, pool, namespace)
    }

    fn signal(&self, daemon: &str, signal: Signal) -> Result<i32, Error> {
        let pid = self.state.pids.get(daemon).copied().unwrap_or(0);
        daemon::signal(daemon, pid, signal)?;
        Ok(pid)
    }

    fn is_ours(&self, pid: i32) -> bool {
        let conf = self.state.conf.display().to_string();
        daemon::command_line(pid).is_some_and(|words| words.contains(&conf))
    }

    fn kill_owned(&mut self) {
        for (_, mut child) in self.owned.drain(..) {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.owned.is_empty() {
            return;
        }
        self.kill_owned();
        if self.temporary {
            drop(remove_tree(&self.dir));
        } else {
            // The directory stays for a look at the logs; its state must not claim a running cluster.
            drop(std::fs::remove_file(state::path_in(&self.dir)));
        }
    }
}

fn absolute(dir: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(dir).map_err(Error::file("resolve", dir))
}

/// A fresh directory with a short name: admin sockets lie in it.
fn fresh_dir() -> Result<PathBuf, Error> {
    tempfile::Builder::new()
        .prefix("cuttle-")
        .tempdir()
        .map(tempfile::TempDir::keep)
        .map_err(Error::file("create", std::env::temp_dir()))
}

/// Refuses directories that are too long, in use, or somebody else's.
fn check_dir(dir: &Path) -> Result<(), Error> {
    let refuse = |reason: String| {
        Err(Error::Directory {
            path: dir.to_owned(),
            reason,
        })
    };
    let length = dir.as_os_str().len();
    if length > LONGEST_DIR {
        return refuse(format!(
            "its name has {length} characters, Ceph's sockets allow {LONGEST_DIR}; choose a shorter one"
        ));
    }
    let conf = dir.join("ceph.conf");
    if conf.exists() {
        if daemons_with(&conf.display().to_string()).next().is_some() {
            return refuse("a cluster is running there; stop it first".to_owned());
        }
        return Cluster::remove(dir);
    }
    let used = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if used {
        return refuse("it is not empty".to_owned());
    }
    Ok(())
}

/// The Ceph daemons that were started with this configuration file: process id and name.
fn daemons_with(conf: &str) -> impl Iterator<Item = (i32, String)> {
    let conf = conf.to_owned();
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(move |pid| {
            let words = daemon::command_line(pid)?;
            let program = Path::new(words.first()?).file_name()?.to_str()?.to_owned();
            let is_daemon =
                ["ceph-mon", "ceph-mgr", "ceph-osd", "ceph-mds"].contains(&program.as_str());
            (is_daemon && words.contains(&conf)).then_some((pid, program))
        })
}
