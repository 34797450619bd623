//! One node: its kernel, its programs, and kubelet's directory. Made for a container of the node
//! plugin, where it sees what the plugin sees.

use std::path::{Path, PathBuf};

use cuttle_host::{AbsolutePath, Capability, Host, KernelRelease};

use crate::ceph_conf;
use crate::report::{Check, Report, Severity, Told};

/// What of a node is to be looked at.
#[derive(Debug, Clone)]
pub struct NodePlan {
    /// Kubelet's directory, by its real path.
    pub kubelet: PathBuf,
    /// Where plugins announce themselves to kubelet.
    pub registration: PathBuf,
    /// The configuration of Ceph's libraries.
    pub ceph_conf: PathBuf,
}

impl Default for NodePlan {
    fn default() -> Self {
        Self {
            kubelet: "/var/lib/kubelet".into(),
            registration: "/var/lib/kubelet/plugins_registry".into(),
            ceph_conf: "/etc/ceph/ceph.conf".into(),
        }
    }
}

/// Image features: bit, name, and the first kernel that has them.
const FEATURES: [(u64, &str, &str); 5] = [
    (1 << 2, "exclusive-lock", "4.9"),
    (1 << 3, "object-map", "5.3"),
    (1 << 4, "fast-diff", "5.3"),
    (1 << 5, "deep-flatten", "5.1"),
    (1 << 7, "data-pool", "4.11"),
];

/// What kernels lacked before a version: major, minor, and what.
const LACKED: [(u32, u32, &str); 4] = [
    (4, 17, "quotas of CephFS"),
    (5, 1, "images that were cloned (deep-flatten)"),
    (
        5,
        6,
        "xfs on an image beside an OSD of the same cluster, without a deadlock",
    ),
    (5, 11, "monitors that speak version 2 of the protocol alone"),
];

/// Programs, what they are for, and whether the node plugin works without.
const PROGRAMS: [(&str, &str, Severity); 7] = [
    ("mkfs.ext4", "new volumes with ext4", Severity::Error),
    ("mkfs.xfs", "new volumes with xfs", Severity::Warning),
    ("blkid", "telling what is on a device", Severity::Error),
    ("resize2fs", "growing ext4", Severity::Error),
    ("xfs_growfs", "growing xfs", Severity::Warning),
    (
        "fsck.ext4",
        "checking ext4 before it is mounted",
        Severity::Warning,
    ),
    ("modprobe", "loading the kernel's clients", Severity::Note),
];

/// Looks at this node.
///
/// # Blocking
/// Hardly; at most some seconds for a directory on a mount that does not answer.
pub fn node(plan: &NodePlan, host: &Host, report: &mut Report) {
    kernel(host, report);
    rbd(host, report);
    cephfs(host, report);
    fuse(host, report);
    programs(host, report);
    privilege(host, report);
    kubelet(host, &plan.kubelet, report);
    registration(host, &plan.registration, report);
    ceph_conf::look(host, &plan.ceph_conf, report);
}

fn kernel(host: &Host, report: &mut Report) {
    const ABOUT: &str = "kernel";
    let release = match host.kernel_release() {
        Ok(release) => release,
        Err(error) => return unknown(report, Check::Kernel, ABOUT, &error),
    };
    let lacked = lacked(&release);
    if lacked.is_empty() {
        return report.good(Check::Kernel, ABOUT, release.to_string());
    }
    let told = Told::new(
        release.to_string(),
        format!(
            "unless the distribution added it, this kernel lacks: {}",
            lacked.join("; ")
        ),
    )
    .remedy("keep the features of images small, or use a newer kernel");
    report.add(Severity::Note, Check::Kernel, ABOUT, told);
}

fn lacked(release: &KernelRelease) -> Vec<&'static str> {
    let missing = |&&(major, minor, _): &&(u32, u32, _)| !release.is_at_least(major, minor);
    LACKED
        .iter()
        .filter(missing)
        .map(|lacked| lacked.2)
        .collect()
}

fn rbd(host: &Host, report: &mut Report) {
    const ABOUT: &str = "module rbd";
    match host.has_module("rbd") {
        Ok(true) => {}
        Ok(false) => {
            let told = Told::new(
                "/sys/module/rbd is not there",
                "volumes with mounter: rbd, the default, cannot be staged on this node unless \
                 the module can be loaded (the node plugin tries)",
            )
            .remedy(
                "modprobe rbd on the host; if the kernel has no such module, another kernel, or \
                 mounter: fuse in the StorageClass",
            );
            return report.add(Severity::Warning, Check::KernelRbd, ABOUT, told);
        }
        Err(error) => return unknown(report, Check::KernelRbd, ABOUT, &error),
    }
    match host.rbd_supported_features() {
        Ok(Some(mask)) => {
            let missing = FEATURES.iter().filter(|feature| mask & feature.0 == 0);
            let missing: Vec<String> = missing
                .map(|(_, name, since)| format!("{name} (since {since})"))
                .collect();
            if missing.is_empty() {
                let evidence = format!("loaded, features {mask:#x}");
                return report.good(Check::KernelRbd, ABOUT, evidence);
            }
            let told = Told::new(
                format!(
                    "loaded, features {mask:#x}; it lacks {}",
                    missing.join(", ")
                ),
                "images with these features cannot be mapped on this node (ENXIO)",
            )
            .remedy("leave them out of imageFeatures in the StorageClass");
            report.add(Severity::Warning, Check::KernelRbd, ABOUT, told);
        }
        Ok(None) => {
            let told = Told::new(
                "loaded, and tells no features",
                "a kernel before 4.11: only the feature layering is safe",
            );
            report.add(Severity::Warning, Check::KernelRbd, ABOUT, told);
        }
        Err(error) => unknown(report, Check::KernelRbd, ABOUT, &error),
    }
}

fn cephfs(host: &Host, report: &mut Report) {
    const ABOUT: &str = "file system ceph";
    match host.knows_filesystem("ceph") {
        Ok(true) => report.good(Check::KernelCeph, ABOUT, "in /proc/filesystems"),
        Ok(false) => {
            let told = Told::new(
                "not in /proc/filesystems; its module may still be loaded by the first mount",
                "without the module CephFS needs ceph-fuse",
            )
            .remedy("modprobe ceph on the host");
            report.add(Severity::Note, Check::KernelCeph, ABOUT, told);
        }
        Err(error) => unknown(report, Check::KernelCeph, ABOUT, &error),
    }
}

fn fuse(host: &Host, report: &mut Report) {
    for device in ["/dev/fuse", "/dev/loop-control"] {
        match entry_exists(host, device) {
            Ok(true) => report.good(Check::Fuse, device, "it is there"),
            Ok(false) => {
                let told = Told::new("it is not there", "mounter: fuse cannot be used here")
                    .remedy("modprobe fuse loop on the host, and mount the host's /dev");
                report.add(Severity::Note, Check::Fuse, device, told);
            }
            Err(error) => unknown(report, Check::Fuse, device, &error),
        }
    }
}

fn programs(host: &Host, report: &mut Report) {
    let mut missing = 0;
    for (name, purpose, severity) in PROGRAMS {
        if host.has_program(name) {
            continue;
        }
        missing += 1;
        let told = Told::new(
            "not found in the usual directories",
            format!("it is needed for {purpose}"),
        )
        .remedy("use the image that the project's Dockerfile makes, or install it");
        report.add(severity, Check::Programs, name, told);
    }
    if missing == 0 {
        let evidence = format!("all {} are installed", PROGRAMS.len());
        report.good(Check::Programs, "programs", evidence);
    }
}

fn privilege(host: &Host, report: &mut Report) {
    let wanted = [
        (
            Capability::SysAdmin,
            Severity::Error,
            "nothing can be mounted",
        ),
        (
            Capability::SysResource,
            Severity::Warning,
            "a mounted ext4 cannot grow",
        ),
    ];
    for (capability, severity, meaning) in wanted {
        match host.has_capability(capability) {
            Ok(true) => report.good(Check::Privilege, capability.name(), "held"),
            Ok(false) => {
                let told = Told::new("not held", meaning)
                    .remedy("run it in the node plugin's container, which is privileged");
                report.add(severity, Check::Privilege, capability.name(), told);
            }
            Err(error) => unknown(report, Check::Privilege, capability.name(), &error),
        }
    }
}

/// In the node plugin's container only these two are kubelet's; what is above is the container's own.
const MOUNTED: [&str; 2] = ["plugins", "pods"];

fn kubelet(host: &Host, directory: &Path, report: &mut Report) {
    let parts = MOUNTED.map(|part| directory.join(part));
    let there = |part: &&PathBuf| !matches!(real_directory(host, part.as_path()), Ok(None));
    let parts: Vec<&PathBuf> = parts.iter().filter(there).collect();
    if parts.is_empty() {
        return shared_directory(host, directory, report);
    }
    for part in parts {
        shared_directory(host, part, report);
    }
}

fn shared_directory(host: &Host, directory: &Path, report: &mut Report) {
    let about = directory.display().to_string();
    let real = match real_directory(host, directory) {
        Ok(Some(real)) => real,
        Ok(None) => {
            let told = Told::new("it is not there", "kubelet's directory is elsewhere, or not mounted here")
                .remedy(
                    "give its real path with --kubelet-dir and in the node plugin's manifest \
                     (k0s: /var/lib/k0s/kubelet, microk8s: /var/snap/microk8s/common/var/lib/kubelet)",
                );
            return report.add(Severity::Error, Check::KubeletDirectory, about, told);
        }
        Err(error) => return unknown(report, Check::KubeletDirectory, about, &error),
    };
    let table = match host.mount_table() {
        Ok(table) => table,
        Err(error) => return unknown(report, Check::Propagation, &about, &error),
    };
    let Some(mount) = table.holding(real.as_path()) else {
        let told = Told::new("no mount holds it", "the mount table is not understood");
        return report.add(Severity::Unknown, Check::Propagation, about, told);
    };
    let at = mount.mount_point.display();
    if mount.is_read_only() {
        let told = Told::new(
            format!("it lies on {at}, which is read-only"),
            "volumes cannot be staged",
        )
        .remedy("mount kubelet's directory writable into the node plugin");
        report.add(
            Severity::Error,
            Check::KubeletDirectory,
            about.clone(),
            told,
        );
    } else {
        report.good(
            Check::KubeletDirectory,
            about.clone(),
            format!("it lies on {at}"),
        );
    }
    let shared = mount
        .propagation
        .iter()
        .any(|field| field.starts_with("shared:"));
    let evidence = if mount.propagation.is_empty() {
        format!("the mount {at} is private")
    } else {
        format!("the mount {at} is {}", mount.propagation.join(" "))
    };
    if shared {
        report.good(Check::Propagation, about, evidence);
    } else {
        let told = Told::new(
            evidence,
            "what the node plugin mounts below it is seen by nobody else: pods get empty \
             directories",
        )
        .remedy(
            "set mountPropagation: Bidirectional on the volume mount of kubelet's directory; on \
             the host: mount --make-rshared /",
        );
        report.add(Severity::Error, Check::Propagation, about, told);
    }
}

fn registration(host: &Host, directory: &Path, report: &mut Report) {
    let about = directory.display().to_string();
    match real_directory(host, directory) {
        Ok(Some(_)) => report.good(Check::Registration, about, "it is there"),
        Ok(None) => {
            let told = Told::new(
                "it is not there",
                "a driver with --registration-dir cannot make itself known to kubelet; where \
                 node-driver-registrar runs beside it, that does not matter",
            )
            .remedy(
                "mount kubelet's plugins_registry into the node plugin and name it with \
                 --registration-dir",
            );
            report.add(Severity::Warning, Check::Registration, about, told);
        }
        Err(error) => unknown(report, Check::Registration, about, &error),
    }
}

/// Where a directory really is; links are followed to the end. `None` when it is not there.
fn real_directory(
    host: &Host,
    path: impl Into<std::ffi::OsString>,
) -> Result<Option<AbsolutePath>, Box<dyn std::error::Error>> {
    // Only what is above the last name is resolved.
    let below = AbsolutePath::new(path)?.join("any")?;
    match host.real_path(&below) {
        Ok(real) => Ok(real.parent()),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(Box::new(error)),
    }
}

/// Whether something is there.
fn entry_exists(host: &Host, path: &str) -> Result<bool, Box<dyn std::error::Error>> {
    Ok(host.entry(&AbsolutePath::new(path)?)?.is_some())
}

fn unknown(
    report: &mut Report,
    check: Check,
    about: impl Into<String>,
    error: &dyn std::fmt::Display,
) {
    let told = Told::new(
        error.to_string(),
        "it is not known whether this is in order",
    );
    report.add(Severity::Unknown, check, about, told);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kernel_lacks_follows_from_its_release() {
        assert!(lacked(&KernelRelease::parse("6.12.0")).is_empty());
        assert_eq!(lacked(&KernelRelease::parse("5.10.0")).len(), 1);
        assert_eq!(
            lacked(&KernelRelease::parse("3.10.0-1160.el7")).len(),
            LACKED.len()
        );
    }
}
