//! The one place that reads the environment: where the workspace, its output and cargo are.

use std::path::{Path, PathBuf};

/// The directory of the workspace's `Cargo.toml`.
///
/// Looked for from the current directory upwards, so that a binary that was moved still works;
/// falls back to where it was built.
pub(crate) fn workspace_root() -> PathBuf {
    let current = std::env::current_dir().unwrap_or_default();
    current
        .ancestors()
        .find(|dir| dir.join("layers.toml").exists())
        .or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent())
        .map(Path::to_owned)
        .unwrap_or_default()
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    let root = workspace_root();
    let dir = variable("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    root.join(dir)
}

/// Cargo's own directory.
pub(crate) fn cargo_home() -> PathBuf {
    variable("CARGO_HOME").map_or_else(
        || PathBuf::from(variable("HOME").unwrap_or_default()).join(".cargo"),
        PathBuf::from,
    )
}

/// Where programs are looked for.
pub(crate) fn program_dirs() -> Vec<PathBuf> {
    std::env::split_paths(&variable("PATH").unwrap_or_default()).collect()
}

/// The shared test cluster that the caller has named.
pub(crate) fn shared_cluster() -> Option<PathBuf> {
    variable(cuttle_testbed::SHARED_CLUSTER).map(PathBuf::from)
}

/// Whether the caller wants no colours.
pub(crate) fn no_colour() -> bool {
    variable("NO_COLOR").is_some() || variable("TERM").is_some_and(|term| term == "dumb")
}

/// Whether this process may mount.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this process became root through sudo, so that its files are not the caller's.
pub(crate) fn is_through_sudo() -> bool {
    variable("SUDO_USER").is_some()
}

/// The path of this program.
pub(crate) fn own_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("cargo xtask"))
}

/// A directory for a cluster or a demo: below the build output when its name is short enough for
/// the sockets in it (108 bytes), else below the temporary directory.
pub(crate) fn working_dir(name: &str) -> PathBuf {
    let dir = target_dir().join(name);
    if dir.as_os_str().len() <= 60 {
        return dir;
    }
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("cuttle-{name}-{user}"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
