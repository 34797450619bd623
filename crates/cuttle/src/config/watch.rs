//! Watches `config.json` and hands every new table of clusters on.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cuttle_model::{ClusterTable, Explain, chain};

use super::{ClusterFile, Finding, Outcome};

/// How often the file is looked at: as often as ceph-csi would notice, for the price of one system
/// call.
const PERIOD: Duration = Duration::from_secs(1);

/// The stack of the watching thread: reading a small file needs little.
const STACK: usize = 256 << 10;

/// A thread that watches the file until it is stopped.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    wanted: Mutex<bool>,
    told: Condvar,
}

impl Watch {
    /// Starts watching. `in_use` is called with the new table whenever the file changed in a way
    /// that can be used.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        mut file: ClusterFile,
        mut in_use: impl FnMut(ClusterTable) + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let stopped = Arc::clone(&stop);
        let watching = thread::Builder::new()
            .name("config-watch".to_owned())
            .stack_size(STACK);
        let thread = watching.spawn(move || {
            while !stopped.within(PERIOD) {
                if let Some(table) = refresh(&mut file) {
                    in_use(table);
                }
            }
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Ends the watching thread.
    ///
    /// # Blocking
    /// Until a look at the file that is under way has ended.
    pub fn stop(mut self) {
        *self
            .stop
            .wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.told.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watched the configuration had panicked");
        }
    }
}

impl Stop {
    /// Waits; true when told to stop.
    fn within(&self, period: Duration) -> bool {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .told
            .wait_timeout_while(wanted, period, |wanted| !*wanted);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Looks at the file, logs what was found, and answers the new table when there is one.
///
/// # Blocking
/// For reading a local file.
pub fn refresh(file: &mut ClusterFile) -> Option<ClusterTable> {
    match file.refresh() {
        Outcome::Unchanged => None,
        Outcome::Read {
            table,
            mistakes,
            warnings,
        } => {
            tell(file, &mistakes, &warnings);
            file.is_whole()
                .store(mistakes.is_empty(), Ordering::Release);
            tracing::info!(path = %file.path().display(), clusters = table.len(), "configuration read");
            Some(table)
        }
        Outcome::Unusable(error) => {
            file.is_whole().store(false, Ordering::Release);
            tracing::error!(
                code = %error.code(),
                error = chain(&error),
                remedy = error.remedy().as_deref(),
                clusters = file.in_use().len(),
                "configuration cannot be used; the last good one stays in use"
            );
            None
        }
    }
}

fn tell(file: &ClusterFile, mistakes: &[Finding], warnings: &[Finding]) {
    let path = file.path().display();
    for mistake in mistakes {
        tracing::error!(
            code = %Finding::MISTAKE, %path, place = mistake.path, rule = mistake.rule,
            "mistake in the configuration; the entry's last good version stays in use"
        );
    }
    for warning in warnings {
        tracing::warn!(%path, place = warning.path, rule = warning.rule, "odd configuration");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_changed_file_is_handed_on_and_the_thread_ends() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let (sender, tables) = mpsc::channel();
        let watch = Watch::start(ClusterFile::new(&path), move |table| {
            sender.send(table).unwrap();
        })
        .unwrap();
        std::fs::write(&path, r#"[{"clusterID":"a","monitors":["m"]}]"#).unwrap();
        // A look may come between the file's making and its filling.
        let full = || loop {
            let table = tables.recv_timeout(Duration::from_secs(30)).unwrap();
            if !table.is_empty() {
                return table;
            }
        };
        assert_eq!(full().len(), 1);
        watch.stop();
        assert!(tables.recv().is_err(), "the thread still runs");
    }
}
