//! A driver's process and its descendants, watched for secrets in arguments and environments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// How long the last look may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A watch on a process and on all that come from it, also those that outlive their parent.
///
/// It looks without a pause, so that short-lived programs are caught, too, and at nobody else's
/// processes: to read those of a process that is stuck in the kernel would hang.
pub(crate) struct FamilyWatch {
    stop: Arc<AtomicBool>,
    seen: mpsc::Receiver<Sighting>,
}

/// What was seen of a family.
#[derive(Debug, Default)]
pub(crate) struct Sighting {
    /// The names of the programs that ran.
    pub(crate) programs: BTreeSet<String>,
    /// Arguments and environments in which a secret stood.
    pub(crate) leaks: BTreeSet<String>,
}

impl FamilyWatch {
    pub(crate) fn begin(pid: i32, secrets: &[&str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (done, seen) = mpsc::channel();
        let (ended, secrets) = (Arc::clone(&stop), secrets.iter().map(ToString::to_string));
        let secrets: Vec<String> = secrets.collect();
        std::thread::spawn(move || {
            let (mut family, mut sighting) = (BTreeSet::from([pid]), Sighting::default());
            while !ended.load(Ordering::Relaxed) {
                look(&mut family, &secrets, &mut sighting);
            }
            look(&mut family, &secrets, &mut sighting);
            drop(done.send(sighting));
        });
        Self { stop, seen }
    }

    /// Ends the watch.
    pub(crate) fn end(self) -> Sighting {
        self.stop.store(true, Ordering::Relaxed);
        self.seen.recv_timeout(PATIENCE).expect("the watch's end")
    }
}

fn look(family: &mut BTreeSet<i32>, secrets: &[String], sighting: &mut Sighting) {
    let processes = processes();
    loop {
        let children = processes
            .iter()
            .filter(|(_, one)| family.contains(&one.parent));
        let known = family.len();
        let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
        family.extend(children);
        if family.len() == known {
            break;
        }
    }
    // A number may be given to somebody else's process later.
    family.retain(|pid| processes.contains_key(pid));
    for pid in family.iter() {
        let process = &processes[pid];
        if process.state == 'D' {
            continue;
        }
        sighting.programs.insert(process.name.clone());
        for file in ["cmdline", "environ"] {
            let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            if secrets.iter().any(|secret| contains(&bytes, secret)) {
                let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
                sighting
                    .leaks
                    .insert(format!("{file} of {}: {text}", process.name));
            }
        }
    }
}

pub(crate) fn contains(bytes: &[u8], secret: &str) -> bool {
    let secret = secret.as_bytes();
    bytes.windows(secret.len()).any(|part| part == secret)
}

struct Process {
    name: String,
    state: char,
    parent: i32,
}

/// All processes; `stat` can be read of every one at any time.
fn processes() -> BTreeMap<i32, Process> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok());
    let read = |pid: i32| {
        // "7 (a name, maybe with spaces) S 1 …"
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, tail) = stat.rsplit_once(')')?;
        let mut fields = tail.split_whitespace();
        Some((
            pid,
            Process {
                name: head.split_once('(')?.1.to_owned(),
                state: fields.next()?.chars().next()?,
                parent: fields.next()?.parse().ok()?,
            },
        ))
    };
    pids.filter_map(read).collect()
}
