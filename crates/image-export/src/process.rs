//! How the export process sets itself up: its own session, kept alive under memory pressure,
//! holding on to nothing of its parent.

use std::fs::OpenOptions;
use std::io;

use rustix::process::{configure_io_flusher_behavior, setsid};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use tracing::{debug, info};

/// Leaves the parent's session, so that signals to its group or terminal pass this process by.
///
/// Fails without harm when the process already leads a group (the starter has seen to it).
pub(crate) fn own_session() {
    if let Err(error) = setsid() {
        debug!(%error, "already leading a process group, not starting a session");
    }
}

/// Tells the kernel that this process writes out other processes' dirty pages: its own memory
/// requests must then not wait for such writes, which would wait for it.
///
/// Must be called before the first thread starts; threads inherit it.
pub(crate) fn declare_io_flusher() {
    if let Err(error) = configure_io_flusher_behavior(true) {
        info!(
            %error,
            "could not become an I/O flusher (needs CAP_SYS_RESOURCE): \
             under extreme memory pressure writes may stall",
        );
    }
}

/// Asks the kernel to look elsewhere first when memory runs out: every file system on the image
/// fails with this process.
pub(crate) fn avoid_oom_killer() {
    let written = OpenOptions::new()
        .write(true)
        .open("/proc/self/oom_score_adj")
        .and_then(|mut file| io::Write::write_all(&mut file, b"-999"));
    if let Err(error) = written {
        info!(%error, "could not lower the score for the OOM killer (needs CAP_SYS_RESOURCE)");
    }
}

/// Lets go of the parent's pipes: standard input and output become `/dev/null`.
///
/// # Errors
/// When `/dev/null` cannot be opened.
pub(crate) fn let_go_of_pipes() -> io::Result<()> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    Ok(())
}
