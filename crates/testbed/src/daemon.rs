//! Long-lived children: Ceph's daemons and the driver under test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::program::command_of;
use crate::{Error, until};

/// Whether a child dies with the process that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// The kernel kills it when its starter ends, however that happens.
    Owned,
    /// It runs in its own session and outlives its starter.
    Detached,
}

/// A command whose child lives as `life` says.
///
/// `setpriv` and `setsid` (util-linux) replace themselves by the program, so that the child's
/// process id is the program's own. They stand in for a `pre_exec` hook, which is unsafe code.
pub(crate) fn command(life: Life, program: &Path) -> Command {
    let mut command = match life {
        Life::Owned => {
            let mut command = command_of("setpriv");
            command.args(["--pdeathsig", "KILL", "--"]);
            command
        }
        Life::Detached => command_of("setsid"),
    };
    command.arg(program);
    command
}

/// Starts a child with both output streams going to `log`.
///
/// The kernel sends the parent's death signal when the *thread* that forked ends, so that all
/// children are started by one thread which lives as long as the process.
pub(crate) fn spawn(mut command: Command, name: &str, log: &Path) -> Result<Child, Error> {
    let out = File::options()
        .create(true)
        .append(true)
        .open(log)
        .map_err(Error::file("open", log))?;
    let err = out.try_clone().map_err(Error::file("open", log))?;
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let (answer, child) = mpsc::channel();
    starter()
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer))
        .map_err(|lost| lost.to_string())
        .and_then(|()| child.recv().map_err(|lost| lost.to_string()))
        .map_err(std::io::Error::other)
        .and_then(std::convert::identity)
        .map_err(|source| Error::Start {
            program: name.to_owned(),
            source,
        })
}

type Order = (Command, mpsc::Sender<std::io::Result<Child>>);

/// The thread that starts children.
fn starter() -> &'static Mutex<mpsc::Sender<Order>> {
    static STARTER: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    STARTER.get_or_init(|| {
        let (orders, queue) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in queue {
                drop(answer.send(command.spawn()));
            }
        });
        Mutex::new(orders)
    })
}

/// The process id as rustix wants it, when it can be one.
pub(crate) fn pid(number: i32) -> Option<Pid> {
    Pid::from_raw(number)
}

/// Sends a signal; a process that is already gone is no error.
pub(crate) fn signal(name: &str, number: i32, signal: Signal) -> Result<(), Error> {
    let Some(pid) = pid(number) else {
        return Ok(());
    };
    match rustix::process::kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(Error::Signal {
            name: name.to_owned(),
            pid: number,
            source: errno.into(),
        }),
    }
}

/// The arguments of a running process, or `None` when it is gone or a zombie.
pub(crate) fn command_line(number: i32) -> Option<Vec<String>> {
    let bytes = std::fs::read(PathBuf::from(format!("/proc/{number}/cmdline"))).ok()?;
    if bytes.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Some(
        text.trim_end_matches('\0')
            .split('\0')
            .map(ToOwned::to_owned)
            .collect(),
    )
}

/// Waits until a process is gone; a zombie counts as gone.
pub(crate) fn wait_gone(name: &str, number: i32, limit: Duration) -> Result<(), Error> {
    until(
        format!("{name} (process {number}) ends"),
        limit,
        || match command_line(number) {
            None => Ok(()),
            Some(words) => Err(words.join(" ")),
        },
    )
}

/// How many threads of a process are not stopped by a signal; none when it is gone.
pub(crate) fn running_threads(number: i32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{number}/task"));
    let stopped = |stat: &str| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    tasks
        .into_iter()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .filter(|stat| !stopped(stat))
        .count()
}

/// The last part of a log, for error messages.
pub(crate) fn tail(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let skip = lines.len().saturating_sub(12);
    lines.into_iter().skip(skip).collect::<Vec<_>>().join("\n")
}
