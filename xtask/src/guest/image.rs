//! What a guest boots: made once from Debian's package and kept below the build output.
//!
//! ```text
//! target/guest/<kernel>/vmlinux      the kernel, as an ELF file
//!                      initrd.img    busybox, the first script, the modules it loads
//!                      tree/         the modules that programs in the guest may load
//!                      image.json    where these are; written last
//! ```

use std::path::{Path, PathBuf};

use cuttle_testbed::remove_tree;
use serde::{Deserialize, Serialize};

use super::cpio::Archive;
use super::kernel::Kernel;
use super::{modules, packages, vmlinux};
use crate::{Failure, environment};

/// The shell and tools of the first root; statically linked.
pub(crate) const BUSYBOX: &str = "/bin/busybox";

const INIT: &str = include_str!("init.sh");

/// The form of what is cached; a change makes old caches void.
const FORM: u32 = 1;

/// A kernel made ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Image {
    form: u32,
    pub(crate) kernel: Kernel,
    pub(crate) vmlinux: PathBuf,
    pub(crate) initrd: PathBuf,
    /// The directory that belongs at `/lib/modules/<release>`.
    pub(crate) modules: PathBuf,
}

impl Image {
    /// The image of this kernel if it is there.
    pub(crate) fn find(kernel: Kernel) -> Option<Self> {
        let text = std::fs::read(dir_of(kernel).join("image.json")).ok()?;
        let image: Self = serde_json::from_slice(&text).ok()?;
        let is_whole = image.form == FORM && image.vmlinux.exists() && image.modules.exists();
        is_whole.then_some(image)
    }

    /// Makes the image anew, from what the mirror has now.
    pub(crate) fn make(kernel: Kernel, mirror: Option<&str>) -> Result<Self, Failure> {
        let dir = dir_of(kernel);
        remove_tree(&dir)?;
        std::fs::create_dir_all(&dir).map_err(failed("make", &dir))?;
        let unpacked = packages::fetch(kernel, mirror, &dir)?;

        let packed = find_kernel(&unpacked)?;
        let packed = std::fs::read(&packed).map_err(failed("read", &packed))?;
        let image = Self {
            form: FORM,
            kernel,
            vmlinux: dir.join("vmlinux"),
            initrd: dir.join("initrd.img"),
            modules: PathBuf::new(),
        };
        write(&image.vmlinux, &vmlinux::extract(&packed)?)?;
        let modules = modules::trim(&unpacked, &dir)?;
        write(&image.initrd, &initrd(&modules.boot)?)?;
        let image = Self {
            modules: modules.dir,
            ..image
        };
        remove_tree(&unpacked)?;
        let text = serde_json::to_vec_pretty(&image)
            .map_err(|error| Failure::because("cannot describe the image", &error))?;
        write(&dir.join("image.json"), &text)?;
        Ok(image)
    }
}

fn dir_of(kernel: Kernel) -> PathBuf {
    environment::target_dir().join("guest").join(kernel.name())
}

fn find_kernel(unpacked: &Path) -> Result<PathBuf, Failure> {
    let boot = unpacked.join("boot");
    std::fs::read_dir(&boot)
        .into_iter()
        .flatten()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"))
        .map(|entry| entry.path())
        .ok_or_else(|| Failure::new(format!("{} holds no kernel", boot.display())))
}

/// The first root: small enough not to be worth packing.
fn initrd(modules: &[PathBuf]) -> Result<Vec<u8>, Failure> {
    let read = |path: &Path| std::fs::read(path).map_err(failed("read", path));
    let mut archive = Archive::default();
    for name in [
        "bin", "dev", "proc", "sys", "lower", "over", "root", "modules",
    ] {
        archive.directory(name);
    }
    archive.console("dev/console");
    archive.file("bin/busybox", &read(Path::new(BUSYBOX))?);
    archive.file("init", INIT.as_bytes());
    for (place, file) in modules.iter().enumerate() {
        // The first script loads them in the order of their names.
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("modules/{place:02}-{name}"), &read(file)?);
    }
    Ok(archive.finish())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(failed("write", path))
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let text = format!("cannot {verb} {}", path.display());
    move |error| Failure::because(text, &error)
}
