//! One run of a guest: QEMU, the command's output, its exit code, an end in time.
//!
//! ```text
//! <run>/command.sh   what the guest runs        <run>/status      its exit code, written last
//! <run>/settings.sh  addresses and paths        <run>/console     what the kernel says
//! <run>/start.sh     the guest's second script  <run>/*.sock      where QEMU sends the output
//! <run>/busybox                                 <run>/switches/   the guest's wishes
//! ```
//!
//! The guest's processor is an emulated one unless asked otherwise: virtual machines often offer a
//! KVM in which a guest does not get far.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::image::{BUSYBOX, Image};
use super::network;
use crate::{Failure, child};

const START: &str = include_str!("start.sh");

/// How often the guest's state and wishes are looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// The exit codes for a guest that did not give one, as timeout(1) and containers have them.
pub(crate) const LATE: i32 = 124;
pub(crate) const FELL_OVER: i32 = 125;

/// Which processor a guest gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
pub(crate) enum Accelerator {
    /// An emulated one: works everywhere.
    Tcg,
    /// The machine's own: fast, where the machine is not virtual itself.
    Kvm,
}

/// What a guest is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) image: Image,
    pub(crate) accelerator: Accelerator,
    pub(crate) processors: u32,
    pub(crate) memory_mib: u32,
}

/// A command for a guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Command {
    pub(crate) words: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) directory: PathBuf,
    /// How long boot and command together may take.
    pub(crate) limit: Duration,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The command's exit code, or one of those above.
    pub(crate) code: i32,
    /// What is to be said about it, unless all went well.
    pub(crate) remark: Option<String>,
}

impl Machine {
    /// Boots the guest, runs the command, passes its output on and waits for the end.
    ///
    /// `idle` is called again and again meanwhile, with the run's directory.
    pub(crate) fn run(
        &self,
        command: &Command,
        run: &Path,
        mut idle: impl FnMut(&Path),
    ) -> Result<Ended, Failure> {
        self.lay_out(command, run)?;
        let out = Outlet::open(&run.join("out.sock"))?;
        let err = Outlet::open(&run.join("err.sock"))?;
        let start = Instant::now();
        let mut qemu = self.start(run)?;
        let gone = Arc::new(AtomicBool::new(false));
        let streams = [
            out.forward(std::io::stdout(), &gone),
            err.forward(std::io::stderr(), &gone),
        ];
        let status = loop {
            match qemu.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) => {}
                Err(error) => return Err(Failure::because("cannot wait for QEMU", &error)),
            }
            if start.elapsed() >= command.limit {
                break None;
            }
            idle(run);
            std::thread::sleep(PAUSE);
        };
        if status.is_none() {
            qemu.kill()
                .and_then(|()| qemu.wait())
                .map_err(|error| Failure::because("cannot end QEMU", &error))?;
        }
        gone.store(true, Ordering::Release);
        for stream in streams {
            // QEMU has ended, so both streams have.
            drop(stream.join());
        }
        Ok(self.ended(command, run, status.is_none()))
    }

    fn ended(&self, command: &Command, run: &Path, late: bool) -> Ended {
        let status = std::fs::read_to_string(run.join("status")).unwrap_or_default();
        if let Ok(code) = status.trim().parse() {
            return Ended { code, remark: None };
        }
        let told = tail(&run.join("console"), 30);
        let qemu = tail(&run.join("qemu.log"), 5);
        let (code, what) = if late {
            let seconds = command.limit.as_secs();
            (
                LATE,
                format!("the guest did not end within {seconds} s and was killed"),
            )
        } else {
            (FELL_OVER, "the guest ended without an exit code".to_owned())
        };
        let kernel = self.image.kernel;
        let remark = format!("{what}; kernel {kernel} and QEMU said last:\n{told}{qemu}");
        Ended {
            code,
            remark: Some(remark),
        }
    }

    fn lay_out(&self, command: &Command, run: &Path) -> Result<(), Failure> {
        let write = |name: &str, text: &str| {
            let path = run.join(name);
            std::fs::write(&path, text).map_err(|error| {
                Failure::because(format!("cannot write {}", path.display()), &error)
            })
        };
        std::fs::create_dir_all(run.join("switches"))
            .map_err(|error| Failure::because(format!("cannot make {}", run.display()), &error))?;
        std::fs::copy(BUSYBOX, run.join("busybox"))
            .map_err(|error| Failure::because("cannot copy busybox", &error))?;
        write("start.sh", START)?;
        let settings = format!(
            "MODULES={}\nADDRESS={}\n",
            quoted(&self.image.modules.display().to_string()),
            network::GUEST
        );
        write("settings.sh", &settings)?;
        write("command.sh", &script(command))
    }

    fn start(&self, run: &Path) -> Result<Child, Failure> {
        let log = run.join("qemu.log");
        let log = std::fs::File::create(&log)
            .map_err(|error| Failure::because(format!("cannot make {}", log.display()), &error))?;
        // The guest ends with us, however that happens.
        let mut command = child::command("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
        command.args(self.arguments(run));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
            .spawn()
            .map_err(|error| Failure::because("cannot start QEMU", &error))
    }

    fn arguments(&self, run: &Path) -> Vec<String> {
        let run = run.display();
        let processor = match self.accelerator {
            Accelerator::Kvm => "-accel kvm".to_owned(),
            Accelerator::Tcg => EMULATED.to_owned(),
        };
        let (count, memory) = (self.processors, self.memory_mib);
        let plain = format!(
            "-nodefaults -no-user-config -display none -vga none -no-reboot \
             -M q35,usb=off,vmport=off,smbus=off,sata=off -cpu max,la57=off {processor} \
             -smp {count} -m {memory} -device virtio-serial-pci \
             -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng"
        );
        let mut words: Vec<String> = plain.split_whitespace().map(str::to_owned).collect();
        let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
        for name in ["out", "err"] {
            add(
                "-chardev",
                format!("socket,id={name},path={run}/{name}.sock"),
            );
            add(
                "-device",
                format!("virtserialport,chardev={name},name={name}"),
            );
        }
        add("-serial", format!("file:{run}/console"));
        add("-kernel", self.image.vmlinux.display().to_string());
        add("-initrd", self.image.initrd.display().to_string());
        add("-append", KERNEL_LINE.join(" "));
        // The host's files lie on several devices.
        let root = "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap";
        add("-fsdev", root.to_owned());
        add(
            "-device",
            "virtio-9p-pci,fsdev=host,mount_tag=host".to_owned(),
        );
        add(
            "-fsdev",
            format!("local,id=run,path={run},security_model=none"),
        );
        add(
            "-device",
            "virtio-9p-pci,fsdev=run,mount_tag=run".to_owned(),
        );
        let tap = network::TAP;
        add(
            "-netdev",
            format!("tap,id=net,ifname={tap},script=no,downscript=no"),
        );
        // An empty file name keeps the boot program of network cards out.
        add(
            "-device",
            "virtio-net-pci,netdev=net,mac=52:54:00:99:00:02,romfile=".to_owned(),
        );
        words
    }
}

/// Threads that emulate each processor, and room for what they have translated.
const EMULATED: &str = "-accel tcg,thread=multi,tb-size=256";

/// What is not needed for tests costs time on an emulated processor.
const KERNEL_LINE: [&str; 18] = [
    "console=ttyS0",
    "loglevel=4",
    "panic=-1",
    "oops=panic",
    "mitigations=off",
    "nokaslr",
    "rodata=off",
    "audit=0",
    "selinux=0",
    "apparmor=0",
    "nowatchdog",
    "no_timer_check",
    "tsc=reliable",
    "random.trust_cpu=on",
    "cryptomgr.notests",
    "8250.nr_uarts=1",
    "rcupdate.rcu_expedited=1",
    "net.ifnames=0",
];

/// A socket at which QEMU delivers one of the guest's streams.
struct Outlet(UnixListener);

impl Outlet {
    fn open(path: &Path) -> Result<Self, Failure> {
        let failed = || format!("cannot listen at {}", path.display());
        let listener =
            UnixListener::bind(path).map_err(|error| Failure::because(failed(), &error))?;
        listener
            .set_nonblocking(true)
            .map_err(|error| Failure::because(failed(), &error))?;
        Ok(Self(listener))
    }

    /// Passes what comes on, until QEMU ends or, if it never comes, until `gone`.
    fn forward(
        self,
        mut to: impl Write + Send + 'static,
        gone: &Arc<AtomicBool>,
    ) -> JoinHandle<()> {
        let gone = Arc::clone(gone);
        std::thread::spawn(move || {
            let mut from = loop {
                match self.0.accept() {
                    Ok((stream, _)) => break stream,
                    Err(_) if gone.load(Ordering::Acquire) => return,
                    Err(_) => std::thread::sleep(PAUSE),
                }
            };
            if from.set_nonblocking(false).is_err() {
                return;
            }
            let mut bytes = [0; 16 << 10];
            while let Ok(count) = from.read(&mut bytes) {
                let Some(part) = bytes.get(..count).filter(|part| !part.is_empty()) else {
                    break;
                };
                // A reader that has gone away must not stop the guest.
                drop(to.write_all(part).and_then(|()| to.flush()));
            }
        })
    }
}

/// The script that sets the command's environment up and becomes the command.
fn script(command: &Command) -> String {
    let mut text = String::new();
    for (name, value) in &command.environment {
        text.push_str(&format!("export {name}={}\n", quoted(value)));
    }
    let directory = quoted(&command.directory.display().to_string());
    text.push_str(&format!("cd {directory} || exit 126\nexec"));
    for word in &command.words {
        text.push(' ');
        text.push_str(&quoted(word));
    }
    text.push('\n');
    text
}

/// A word as the shell reads it literally.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The last lines of a file.
fn tail(path: &Path, count: usize) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let skip = lines.len().saturating_sub(count);
    lines
        .into_iter()
        .skip(skip)
        .map(|line| format!("  {line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_command_as_they_are() {
        let command = Command {
            words: ["printf", "%s", "it's $HOME; `x`"]
                .map(str::to_owned)
                .to_vec(),
            environment: vec![("A".to_owned(), "b c".to_owned())],
            directory: PathBuf::from("/tmp"),
            limit: Duration::from_secs(1),
        };
        let output = cuttle_testbed::Program::new("sh")
            .args(["-c", &script(&command)])
            .ok()
            .unwrap();
        assert_eq!(output.text(), "it's $HOME; `x`");
        assert!(script(&command).starts_with("export A='b c'\ncd '/tmp'"));
    }
}
