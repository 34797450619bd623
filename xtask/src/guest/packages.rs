//! Debian's kernel packages, fetched by apt without touching the machine's own package lists.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cuttle_testbed::{Output, Program, remove_tree};

use super::kernel::Kernel;
use crate::Failure;

/// The keys by which Debian's package lists are checked.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How long a download may take on a slow line.
const PATIENCE: Duration = Duration::from_secs(900);

/// Fetches a kernel's package into `dir` and unpacks it; answers where it is unpacked.
pub(crate) fn fetch(kernel: Kernel, mirror: Option<&str>, dir: &Path) -> Result<PathBuf, Failure> {
    let mirror = match mirror {
        Some(mirror) => mirror.to_owned(),
        None => own_mirror()?,
    };
    if !Path::new(KEYRING).exists() {
        return Err(Failure::new(format!(
            "{KEYRING} is missing: install the package debian-archive-keyring (`make setup-test`)"
        )));
    }
    let apt = Apt::lay_out(kernel, &mirror, dir)?;
    apt.run("apt-get", &["update", "-q"])?;
    // The package of this name is empty and depends on the newest kernel.
    let depends = apt.run(
        "apt-cache",
        &["depends", "--important", "linux-image-amd64"],
    )?;
    let package = image_package(&depends.text()).ok_or_else(|| {
        Failure::new(format!(
            "{} names no kernel for {}: {}",
            mirror,
            kernel.suite(),
            depends.text()
        ))
    })?;
    apt.run("apt-get", &["download", "-q", &package])?;
    let archive = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| {
            Failure::new(format!(
                "apt-get has put no {package} into {}",
                dir.display()
            ))
        })?;
    let unpacked = dir.join("unpacked");
    Program::new("dpkg-deb")
        .arg("--extract")
        .args([&archive, &unpacked])
        .limit(PATIENCE)
        .ok()?;
    std::fs::remove_file(&archive)
        .map_err(|error| Failure::because("cannot remove the package", &error))?;
    remove_tree(&apt.dir)?;
    Ok(unpacked)
}

/// apt with lists and settings of its own.
struct Apt {
    dir: PathBuf,
    work: PathBuf,
}

impl Apt {
    fn lay_out(kernel: Kernel, mirror: &str, work: &Path) -> Result<Self, Failure> {
        let dir = work.join("apt");
        let suite = kernel.suite();
        let make = |path: &Path| {
            std::fs::create_dir_all(path).map_err(|error| {
                Failure::because(format!("cannot make {}", path.display()), &error)
            })
        };
        for part in ["lists/partial", "cache/archives/partial", "parts"] {
            make(&dir.join(part))?;
        }
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(|error| {
                Failure::because(format!("cannot write {}", path.display()), &error)
            })
        };
        write("status", "")?;
        write(
            "sources.list",
            &format!("deb [arch=amd64 signed-by={KEYRING}] {mirror} {suite} main\n"),
        )?;
        let at = dir.display();
        write(
            "apt.conf",
            &format!(
                "Dir::Etc::parts \"{at}/parts\";\n\
                 Dir::Etc::sourcelist \"{at}/sources.list\";\n\
                 Dir::Etc::sourceparts \"{at}/parts\";\n\
                 Dir::State \"{at}\";\n\
                 Dir::State::lists \"{at}/lists\";\n\
                 Dir::State::status \"{at}/status\";\n\
                 Dir::Cache \"{at}/cache\";\n\
                 APT::Architecture \"amd64\";\n\
                 APT::Sandbox::User \"\";\n\
                 Acquire::Languages \"none\";\n\
                 Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled \"false\";\n\
                 Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
                 Acquire::Retries \"3\";\n"
            ),
        )?;
        Ok(Self {
            dir,
            work: work.to_owned(),
        })
    }

    fn run(&self, program: &str, words: &[&str]) -> Result<Output, Failure> {
        // apt-get downloads into the current directory, and has no option for another one.
        let command = Program::new("env")
            .arg(format!("--chdir={}", self.work.display()))
            .arg(format!(
                "APT_CONFIG={}",
                self.dir.join("apt.conf").display()
            ))
            .arg(program)
            .args(words)
            .limit(PATIENCE);
        Ok(command.ok()?)
    }
}

/// Where this machine gets Debian's packages from.
fn own_mirror() -> Result<String, Failure> {
    let targets = Program::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
            "Origin: Debian",
            "Label: Debian",
            "Component: main",
        ])
        .ok()?;
    let text = targets.text();
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_owned)
        .ok_or_else(|| {
            Failure::new(
                "this machine's apt knows no mirror of Debian: run `apt-get update` as root, or \
                 name one with --mirror URL",
            )
        })
}

/// The package of a kernel among the dependencies of the empty package.
fn image_package(depends: &str) -> Option<String> {
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends:"))
        .map(str::trim)
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_is_what_the_empty_package_depends_on() {
        let text = "linux-image-amd64\n  Depends: linux-image-6.1.0-50-amd64\n";
        assert_eq!(
            image_package(text).as_deref(),
            Some("linux-image-6.1.0-50-amd64")
        );
        assert_eq!(image_package("linux-image-amd64\n"), None);
    }
}
