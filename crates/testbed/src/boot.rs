//! Bringing a cluster up: keys, first start of each daemon, pools, and the wait for readiness.
//!
//! Everything that does not depend on each other happens at the same time; a cluster is ready
//! about three seconds after the first step.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use crate::daemon::{self, Life};
use crate::state::{self, State};
use crate::{Error, Network, Program, StartOptions, config, until};

/// Where Ceph's manager modules are installed.
const MODULES: &str = "/usr/share/ceph/mgr";

/// The modules that the drivers need; loading the other eight would double the start-up time.
const NEEDED: [&str; 2] = ["rbd_support", "volumes"];

/// Python modules that the manager finds before the installed ones; each says why it is there.
const PYTHON: [(&str, &str); 2] = [
    ("bcrypt.py", include_str!("python/bcrypt.py")),
    ("rbd.py", include_str!("python/rbd.py")),
];

/// The monitors' usual ports, for the protocol's second and first version.
const MONITOR_PORT: u16 = 3300;
const LEGACY_MONITOR_PORT: u16 = 6789;

/// How long each wait of the start may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The daemons of a cluster while it starts; they are killed when the start fails.
#[derive(Debug)]
pub(crate) struct Booted {
    pub(crate) state: State,
    pub(crate) children: Vec<(String, Child)>,
}

/// Builds and starts a cluster in `dir`, which must exist and be empty.
pub(crate) fn boot(dir: &Path, life: Life, options: &StartOptions) -> Result<Booted, Error> {
    let fsid = fresh_uuid()?;
    let (address, monitors) = match options.network {
        Network::Loopback => {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port(dir)?));
            (address, format!("v2:{address}"))
        }
        Network::Own(host) => {
            let (second, first) = (
                SocketAddr::from((host, MONITOR_PORT)),
                SocketAddr::from((host, LEGACY_MONITOR_PORT)),
            );
            (second, format!("[v2:{second},v1:{first}]"))
        }
    };
    lay_out(dir)?;
    let settings = config::Config {
        dir,
        fsid: &fsid,
        monitors: &monitors,
        osd_bytes: options.osd_bytes,
        network: options.network,
    };
    config::write(&settings)?;
    let keys = config::write_keyrings(dir)?;
    let conf = dir.join("ceph.conf");
    let state = State {
        fsid,
        monitors,
        admin_key: keys.admin,
        conf,
        pids: BTreeMap::new(),
        machine: state::machine()?,
    };
    let mut booted = Booted {
        state,
        children: Vec::new(),
    };
    match bring_up(dir, life, address, &mut booted) {
        Ok(()) => Ok(booted),
        Err(error) => {
            for (_, child) in &mut booted.children {
                drop(child.kill());
                drop(child.wait());
            }
            Err(error)
        }
    }
}

fn bring_up(dir: &Path, life: Life, monitor: SocketAddr, booted: &mut Booted) -> Result<(), Error> {
    make_monitor(dir, &booted.state)?;
    start(dir, life, booted, "mon.a", &["ceph-mon", "-i", "a"])?;
    start(dir, life, booted, "mgr.x", &["ceph-mgr", "-i", "x"])?;
    start(dir, life, booted, "mds.a", &["ceph-mds", "-i", "a"])?;
    let osd_uuid = fresh_uuid()?;
    ceph_daemon(
        dir,
        &["ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", &osd_uuid],
    )?;
    wait_monitor(dir, monitor, booted)?;
    ceph(dir, &["osd", "new", &osd_uuid, "0"])?;
    start(dir, life, booted, "osd.0", &["ceph-osd", "-i", "0"])?;
    for pool in ["rbd", "cephfs.meta", "cephfs.data"] {
        ceph(dir, &["osd", "pool", "create", pool, "8"])?;
    }
    ceph(dir, &["fs", "new", "cephfs", "cephfs.meta", "cephfs.data"])?;
    // The modules left out are reported as failed; that is intended, so it must not colour health.
    ceph(dir, &["health", "mute", "MGR_MODULE_ERROR", "--sticky"])?;
    Program::new("rbd")
        .arg("-c")
        .arg(&booted.state.conf)
        .args(["pool", "init", "rbd"])
        .ok()?;
    wait_ready(dir, booted)
}

fn lay_out(dir: &Path) -> Result<(), Error> {
    for part in [
        "run",
        "log",
        "crash",
        "mgr-modules",
        "mgr-python",
        "data/mon",
        "data/mgr",
        "data/osd",
        "data/mds",
    ] {
        let path = dir.join(part);
        std::fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
    }
    for (name, text) in PYTHON {
        let path = dir.join("mgr-python").join(name);
        std::fs::write(&path, text).map_err(Error::file("write", &path))?;
    }
    let modules = Path::new(MODULES);
    for entry in std::fs::read_dir(modules).map_err(Error::file("read", modules))? {
        let entry = entry.map_err(Error::file("read", modules))?;
        let name = entry.file_name();
        let file = entry.path();
        if name == "rbd_support" {
            link_impatient(&file, &dir.join("mgr-modules").join(&name))?;
            continue;
        }
        let needed = NEEDED.iter().any(|needed| name == *needed);
        if needed || file.extension().is_some_and(|extension| extension == "py") {
            let link = dir.join("mgr-modules").join(&name);
            std::os::unix::fs::symlink(&file, &link).map_err(Error::file("create", &link))?;
        }
    }
    Ok(())
}

/// The module with RBD's tasks, which tries a failed one again after a second instead of 30: an
/// image in the trash whose clones have just gone would else keep every test waiting.
fn link_impatient(module: &Path, copy: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(copy).map_err(Error::file("create", copy))?;
    for entry in std::fs::read_dir(module).map_err(Error::file("read", module))? {
        let entry = entry.map_err(Error::file("read", module))?;
        let (file, link) = (entry.path(), copy.join(entry.file_name()));
        if entry.file_name() == "task.py" {
            let text = std::fs::read_to_string(&file).map_err(Error::file("read", &file))?;
            let patient = "TASK_RETRY_INTERVAL = timedelta(seconds=30)";
            let text = text.replace(patient, "TASK_RETRY_INTERVAL = timedelta(seconds=1)");
            let text = text.replace("self.condition.wait(5)", "self.condition.wait(1)");
            std::fs::write(&link, text).map_err(Error::file("write", &link))?;
        } else if entry.file_name() != "__pycache__" {
            std::os::unix::fs::symlink(&file, &link).map_err(Error::file("create", &link))?;
        }
    }
    Ok(())
}

fn make_monitor(dir: &Path, state: &State) -> Result<(), Error> {
    let map = dir.join("monmap");
    Program::new("monmaptool")
        .args(["--create", "--fsid", &state.fsid, "--addv", "a"])
        .arg(format!("[{}]", state.monitors.trim_matches(['[', ']'])))
        .arg(&map)
        .ok()?;
    Program::new("ceph-mon")
        .arg("-c")
        .arg(&state.conf)
        .args(["-i", "a", "--mkfs", "--monmap"])
        .arg(&map)
        .arg("--keyring")
        .arg(dir.join("first.keyring"))
        .ok()
        .map(drop)
}

fn ceph_daemon(dir: &Path, words: &[&str]) -> Result<(), Error> {
    let (program, arguments) = words.split_first().unwrap_or((&"", &[]));
    Program::new(program)
        .arg("-c")
        .arg(dir.join("ceph.conf"))
        .args(arguments)
        .ok()
        .map(drop)
}

fn start(
    dir: &Path,
    life: Life,
    booted: &mut Booted,
    name: &str,
    words: &[&str],
) -> Result<(), Error> {
    let (program, arguments) = words.split_first().unwrap_or((&"", &[]));
    let mut command = daemon::command(life, Path::new(program));
    command
        .arg("-f")
        .arg("-c")
        .arg(&booted.state.conf)
        .args(arguments);
    // As systemd starts them: Debian 13's OSD looks for its classes in a relative `lib/…`.
    command.current_dir("/");
    // Lets the two modules import their siblings without loading those as modules.
    let python = dir.join("mgr-python");
    command.env("PYTHONPATH", format!("{}:{MODULES}", python.display()));
    let child = daemon::spawn(command, program, &log_of(dir, name))?;
    booted
        .state
        .pids
        .insert(name.to_owned(), i32::try_from(child.id()).unwrap_or(0));
    booted.children.push((name.to_owned(), child));
    Ok(())
}

/// Where a daemon's own output goes; Ceph's log files lie beside it.
pub(crate) fn log_of(dir: &Path, name: &str) -> std::path::PathBuf {
    dir.join("log").join(format!("{name}.out"))
}

fn ceph(dir: &Path, words: &[&str]) -> Result<Value, Error> {
    let output = Program::new("ceph")
        .arg("-c")
        .arg(dir.join("ceph.conf"))
        .args(["--connect-timeout", "30", "-f", "json"])
        .args(words)
        .ok()?;
    if output.stdout.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    output.json()
}

/// Waits until the monitor listens, so that its early death is told at once and with its reason.
fn wait_monitor(dir: &Path, address: SocketAddr, booted: &mut Booted) -> Result<(), Error> {
    until("the monitor listens", PATIENCE, || {
        if let Some(error) = dead(dir, booted) {
            return Ok(Err(error));
        }
        match std::net::TcpStream::connect(address) {
            Ok(_) => Ok(Ok(())),
            Err(refused) => Err(refused.to_string()),
        }
    })?
}

/// The first daemon that has ended, as an error.
fn dead(dir: &Path, booted: &mut Booted) -> Option<Error> {
    booted
        .children
        .iter_mut()
        .find_map(|(name, child)| match child.try_wait() {
            Ok(Some(status)) => Some(Error::Died {
                name: name.clone(),
                status: status.to_string(),
                log: daemon::tail(&log_of(dir, name)),
            }),
            Ok(None) | Err(_) => None,
        })
}

/// Waits for the manager's modules and the file system.
fn wait_ready(dir: &Path, booted: &mut Booted) -> Result<(), Error> {
    until("the cluster is ready", PATIENCE, || {
        if let Some(error) = dead(dir, booted) {
            return Ok(Err(error));
        }
        let status = ceph(dir, &["status"]).map_err(|error| error.to_string())?;
        let manager = status.pointer("/mgrmap/available").and_then(Value::as_bool);
        if manager != Some(true) {
            return Err("the manager is not available".to_owned());
        }
        let file_system = status
            .pointer("/fsmap/by_rank/0/status")
            .and_then(Value::as_str);
        if file_system != Some("up:active") {
            return Err(format!(
                "the file system is {}",
                file_system.unwrap_or("absent")
            ));
        }
        Ok(Ok(()))
    })??;
    until("the manager's modules answer", PATIENCE, || {
        for words in [
            &["rbd", "task", "list"][..],
            &["fs", "subvolume", "ls", "cephfs"],
        ] {
            ceph(dir, words).map_err(|error| {
                // Ceph's answer is a list of other commands; the reason is in the manager's words.
                let answer = error.to_string();
                let first = answer.lines().next().unwrap_or_default();
                format!("{first}\n{}", daemon::tail(&log_of(dir, "mgr.x")))
            })?;
        }
        Ok(())
    })
}

/// A port that nobody listens on now, below the range the kernel gives to outgoing connections.
fn free_port(dir: &Path) -> Result<u16, Error> {
    let first = fresh_uuid()?;
    let seed = first
        .get(..4)
        .and_then(|hex| u16::from_str_radix(hex, 16).ok())
        .unwrap_or(0);
    (0..200_u16)
        .map(|step| 20_000 + (seed.wrapping_add(step * 37)) % 12_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| Error::Directory {
            path: dir.to_owned(),
            reason: "no free port on 127.0.0.1 between 20000 and 32000".to_owned(),
        })
}

/// A random UUID, made by the kernel.
pub(crate) fn fresh_uuid() -> Result<String, Error> {
    let path = "/proc/sys/kernel/random/uuid";
    let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
    Ok(text.trim().to_owned())
}
