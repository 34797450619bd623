//! `cargo xtask guest`: a command in a virtual machine with a kernel that has rbd, ceph and nbd,
//! beside a cluster that it reaches.
//!
//! Most machines' kernels (containers', clouds', a build server's) have none of Ceph's clients. The
//! guest boots one of Debian's kernels on this machine's own files, read-only with a layer in
//! memory over them, so that everything that is installed or built here runs there as it is. It
//! needs QEMU but no virtualisation: an emulated processor boots in five seconds.
//!
//! ```text
//! fresh network namespace, gone with its last process
//!   mon, mgr, osd, mds on 10.99.0.1 ── bridge ── tap ── QEMU ── guest, 10.99.0.2
//! ```

mod cpio;
mod image;
mod kernel;
mod machine;
mod modules;
mod network;
mod packages;
mod session;
mod tests;
mod vmlinux;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use self::image::Image;
use self::kernel::Kernel;
use self::machine::{Accelerator, Command, Machine};
use self::session::{Plan, Run};
use crate::screen::{Form, Screen, seconds};
use crate::{Failure, environment};

pub(crate) use self::session::{remove_old_runs, run as session};
pub(crate) use self::tests::{TestOptions, run as test};

/// How a guest runs.
#[derive(Debug, Args)]
pub(crate) struct GuestOptions {
    #[command(flatten)]
    hardware: Hardware,
    /// The kernel.
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Kernel,
    /// How many seconds boot and command together may take; then the exit code is 124.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit: u64,
    /// A variable for the command, besides those that name the cluster.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    environment: Vec<(String, String)>,
    /// Start no cluster.
    #[arg(long)]
    no_cluster: bool,
    /// The command and its arguments. Its exit code and output become ours.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// What a guest is made of.
#[derive(Debug, Args)]
pub(crate) struct Hardware {
    /// The processor: an emulated one (tcg) or the machine's own (kvm).
    #[arg(long, value_enum, default_value = "tcg")]
    accelerator: Accelerator,
    /// How many processors.
    #[arg(long, default_value_t = 1)]
    processors: u32,
    /// How much memory, in MiB; what programs write to the root lies in it too.
    #[arg(long, value_name = "MIB", default_value_t = 2048)]
    memory: u32,
    /// Where to get kernels from [default: the mirror that this machine's apt uses].
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Fetch the kernels' newest packages although others are there.
    #[arg(long)]
    refresh: bool,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err("the name may hold letters, digits and '_'".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs a command in a guest.
pub(crate) fn run(options: &GuestOptions) -> Result<ExitCode, Failure> {
    // The command's output stands alone on standard output.
    let mut screen = Screen::new(Form::Json);
    check_programs()?;
    let machine = options.hardware.machine(options.kernel, &mut screen)?;
    let plan = Plan {
        outside: network::namespace()?,
        dir: session::run_dir(),
        cluster: (!options.no_cluster).then(cluster_dir),
        runs: vec![Run {
            title: None,
            machine,
            command: Command {
                words: options.command.clone(),
                environment: options.environment.clone(),
                directory: std::env::current_dir().unwrap_or_default(),
                limit: Duration::from_secs(options.limit),
            },
        }],
    };
    plan.carry_out()
}

/// Where the guests' cluster is.
pub(crate) fn cluster_dir() -> std::path::PathBuf {
    environment::working_dir("guest-cluster")
}

impl Hardware {
    /// A machine with this kernel, which is fetched if it is not there.
    fn machine(&self, kernel: Kernel, screen: &mut Screen) -> Result<Machine, Failure> {
        let image = match Image::find(kernel).filter(|_| !self.refresh) {
            Some(image) => image,
            None => {
                let start = Instant::now();
                screen.begin(&format!("fetching kernel {kernel}"));
                let image = Image::make(kernel, self.mirror.as_deref())?;
                let took = seconds(start.elapsed());
                screen.line(&format!("kernel {kernel} is ready ({took})"));
                image
            }
        };
        Ok(Machine {
            image,
            accelerator: self.accelerator,
            processors: self.processors,
            memory_mib: self.memory,
        })
    }
}

/// Fails when a program is missing, with how to get it.
fn check_programs() -> Result<(), Failure> {
    let mut missing: Vec<&str> = NEEDED
        .iter()
        .filter(|(name, _)| !is_installed(name))
        .map(|(_, package)| *package)
        .collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "a guest needs more than is installed; run `make setup-test`, or as root `apt-get install {}`",
        missing.join(" ")
    )))
}

/// What is needed, and Debian's packages that have it.
const NEEDED: [(&str, &str); 11] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    (image::BUSYBOX, "busybox-static"),
    ("depmod", "kmod"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("dpkg-deb", "dpkg"),
    ("apt-get", "apt"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("rbd-nbd", "rbd-nbd"),
];

fn is_installed(program: &str) -> bool {
    let usual = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let mut places = usual.iter().map(|dir| Path::new(dir).join(program));
    places.any(|path| path.exists())
}
