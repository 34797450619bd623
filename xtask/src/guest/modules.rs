//! The kernel's modules: the few that a guest needs, unpacked, with their dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cuttle_testbed::{Program, remove_tree};

use super::kernel::{BOOT_MODULES, NEEDED_MODULES, WELCOME_MODULES};
use crate::Failure;

/// How long indexing or unpacking may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The modules of one kernel, trimmed.
#[derive(Debug)]
pub(crate) struct Modules {
    /// The directory that belongs at `/lib/modules/<release>`.
    pub(crate) dir: PathBuf,
    /// The files that the initial RAM disk loads, in order.
    pub(crate) boot: Vec<PathBuf>,
}

/// Takes the modules out of an unpacked package and puts those that are needed below `to`.
pub(crate) fn trim(unpacked: &Path, to: &Path) -> Result<Modules, Failure> {
    let (release, all) = find(unpacked)?;
    let base = to.join("full");
    let tree = lay_out(&base, &release)?;
    rename(&all, &tree)?;
    depmod(&base, &release)?;
    let index = Index::read(&tree)?;

    let trimmed = to.join("tree");
    let dir = lay_out(&trimmed, &release)?;
    let mut wanted = BTreeSet::new();
    for name in BOOT_MODULES.iter().chain(&NEEDED_MODULES) {
        wanted.extend(
            index
                .with_dependencies(name)
                .ok_or_else(|| Failure::new(format!("kernel {release} has no module {name}")))?,
        );
    }
    for name in WELCOME_MODULES {
        wanted.extend(index.with_dependencies(name).unwrap_or_default());
    }
    for file in &wanted {
        unpack(&tree.join(file), &dir.join(plain(file)))?;
    }
    for list in [
        "modules.builtin",
        "modules.builtin.modinfo",
        "modules.order",
    ] {
        rename(&tree.join(list), &dir.join(list))?;
    }
    std::fs::create_dir_all(&dir).map_err(failed("make", &dir))?;
    depmod(&trimmed, &release)?;
    remove_tree(&base)?;

    let mut boot: Vec<PathBuf> = Vec::new();
    for name in BOOT_MODULES {
        for file in index.with_dependencies(name).unwrap_or_default() {
            let file = dir.join(plain(&file));
            if !boot.contains(&file) {
                boot.push(file);
            }
        }
    }
    Ok(Modules { dir, boot })
}

/// The kernel's release and its modules in a package: below `/usr` since Debian 13.
fn find(unpacked: &Path) -> Result<(String, PathBuf), Failure> {
    for place in ["usr/lib/modules", "lib/modules"] {
        let place = unpacked.join(place);
        let mut entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
        if let Some(entry) = entries.next() {
            return Ok((
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            ));
        }
    }
    Err(Failure::new(format!(
        "{} holds no modules",
        unpacked.display()
    )))
}

/// Makes the directory for a release where both old and new versions of depmod look for it.
fn lay_out(base: &Path, release: &str) -> Result<PathBuf, Failure> {
    let modules = base.join("usr/lib/modules");
    std::fs::create_dir_all(&modules).map_err(failed("make", &modules))?;
    std::os::unix::fs::symlink("usr/lib", base.join("lib")).map_err(failed("link", base))?;
    Ok(modules.join(release))
}

fn depmod(base: &Path, release: &str) -> Result<(), Failure> {
    Program::new("depmod")
        .arg("-b")
        .arg(base)
        .arg(release)
        .limit(PATIENCE)
        .ok()?;
    Ok(())
}

fn unpack(from: &Path, to: &Path) -> Result<(), Failure> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(failed("make", parent))?;
    }
    let program = match from.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some(_) | None => return rename(from, to),
    };
    let output = Program::new(program)
        .args(["--decompress", "--stdout"])
        .arg(from)
        .limit(PATIENCE)
        .ok()?;
    std::fs::write(to, output.stdout).map_err(failed("write", to))
}

fn rename(from: &Path, to: &Path) -> Result<(), Failure> {
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(failed("make", parent))?;
    }
    std::fs::rename(from, to).map_err(failed("move", from))
}

/// A module's file name without the packing.
fn plain(file: &str) -> &str {
    [".xz", ".zst"]
        .iter()
        .find_map(|packing| file.strip_suffix(packing))
        .unwrap_or(file)
}

/// What depmod found out.
#[derive(Debug, Default)]
struct Index {
    /// A module's file and those it needs, the deepest last.
    files: BTreeMap<String, (String, Vec<String>)>,
    built_in: BTreeSet<String>,
}

impl Index {
    fn read(tree: &Path) -> Result<Self, Failure> {
        let read = |name: &str| {
            let path = tree.join(name);
            std::fs::read_to_string(&path).map_err(failed("read", &path))
        };
        Ok(Self::parse(
            &read("modules.dep")?,
            &read("modules.builtin")?,
        ))
    }

    fn parse(dependencies: &str, built_in: &str) -> Self {
        let mut index = Self::default();
        for line in dependencies.lines() {
            if let Some((file, needed)) = line.split_once(':') {
                let needed = needed.split_whitespace().map(str::to_owned).collect();
                index.files.insert(name_of(file), (file.to_owned(), needed));
            }
        }
        index.built_in = built_in.lines().map(name_of).collect();
        index
    }

    /// The files to load for a module, in order; empty for one that is built in, `None` for one
    /// that the kernel does not have.
    fn with_dependencies(&self, name: &str) -> Option<Vec<String>> {
        let name = name.replace('-', "_");
        match self.files.get(&name) {
            Some((file, needed)) => {
                let needed = needed.iter().rev().cloned();
                Some(needed.chain([file.clone()]).collect())
            }
            None => self.built_in.contains(&name).then(Vec::new),
        }
    }
}

/// A module's name from its file's.
fn name_of(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    let name = name.split_once(".ko").map_or(name, |(name, _)| name);
    name.replace('-', "_")
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let text = format!("cannot {verb} {}", path.display());
    move |error| Failure::because(text, &error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first_and_what_is_built_in_needs_no_file() {
        let index = Index::parse(
            "kernel/fs/ceph/ceph.ko.xz: kernel/net/libceph.ko.xz kernel/lib/libcrc32c.ko.xz\n\
             kernel/drivers/char/virtio-rng.ko:\n",
            "kernel/drivers/virtio/virtio_pci.ko\n",
        );
        assert_eq!(
            index.with_dependencies("ceph").unwrap(),
            [
                "kernel/lib/libcrc32c.ko.xz",
                "kernel/net/libceph.ko.xz",
                "kernel/fs/ceph/ceph.ko.xz"
            ]
        );
        assert_eq!(
            index.with_dependencies("virtio_rng").unwrap(),
            ["kernel/drivers/char/virtio-rng.ko"]
        );
        assert_eq!(index.with_dependencies("virtio_pci").unwrap(), [""; 0]);
        assert_eq!(index.with_dependencies("none"), None);
        assert_eq!(plain("a/b.ko.xz"), "a/b.ko");
    }
}
