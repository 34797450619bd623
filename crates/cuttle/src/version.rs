//! What `--version` prints.

use ceph::versions;

/// The version told to callers of GetPluginInfo.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Versions of the program, the Ceph libraries and the kernel, one a line.
#[must_use]
pub fn report() -> String {
    let system = rustix::system::uname();
    format!(
        "Cuttle version: {VERSION}\nCeph libraries: {}\nPlatform: {}/{}\nKernel: {}\n",
        versions(),
        std::env::consts::OS,
        std::env::consts::ARCH,
        system.release().to_string_lossy(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_the_ceph_libraries() {
        let report = report();
        assert!(report.contains("librbd 1."), "{report}");
        assert!(report.starts_with(&format!("Cuttle version: {VERSION}\n")));
    }
}
