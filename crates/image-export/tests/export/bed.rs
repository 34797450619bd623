//! A RADOS namespace of one's own, images in it, exports of them and loop devices on those.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cuttle_image_export::{Answer, ExportRequest, LogSettings, Refusal, parse_ready_line};
use cuttle_model::{Credentials, ImageName, Monitors, PoolName, RadosNamespace, Secret, UserId};
use cuttle_testbed::{Cluster, Program, StartOptions, shared_cluster, until};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) const MIB: u64 = 1 << 20;

/// How long anything may take that takes a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A namespace of the shared cluster, emptied and removed on drop.
pub(crate) struct Bed {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self::on(shared_cluster())
    }

    /// A namespace of a cluster that is the test's own, so that it may be paused.
    pub(crate) fn own() -> Self {
        Self::on(Cluster::start(&StartOptions::default()).unwrap())
    }

    fn on(cluster: Cluster) -> Self {
        let namespace = format!("export-{}", uuid::Uuid::new_v4().simple());
        cluster.namespace("rbd", &namespace).unwrap();
        Self { cluster, namespace }
    }

    pub(crate) fn spec(&self, image: &str) -> String {
        format!("rbd/{}/{image}", self.namespace)
    }

    /// Makes an image with the features the driver gives by default.
    pub(crate) fn image(&self, image: &str, mib: u64) {
        self.image_with(image, mib, "layering");
    }

    /// Makes an image with these features, separated by commas.
    pub(crate) fn image_with(&self, image: &str, mib: u64, features: &str) {
        let size = format!("{mib}M");
        let words = ["create", "--size", &size, "--image-feature", features];
        let spec = self.spec(image);
        let made = self.cluster.program("rbd").args(words).arg(spec).ok();
        made.unwrap();
    }

    pub(crate) fn request(&self, image: &str, mountpoint: &Path) -> ExportRequest {
        ExportRequest {
            monitors: Monitors::new(vec![self.cluster.monitors()]).unwrap(),
            credentials: Credentials {
                user: UserId::new("admin").unwrap(),
                key: Secret::new(self.cluster.admin_key()),
            },
            pool: PoolName::new("rbd").unwrap(),
            namespace: RadosNamespace::new(&self.namespace).unwrap(),
            image: ImageName::new(image).unwrap(),
            read_only: false,
            exclusive: false,
            mountpoint: mountpoint.to_owned(),
            ceph_conf: None,
            start_within: PATIENCE,
            log: LogSettings::default(),
        }
    }

    /// Exports an image for reading and writing.
    pub(crate) fn export(&self, image: &str) -> Export {
        self.export_as(image, |_| {}).unwrap()
    }

    /// Exports an image, with faults at the doors of the export process.
    pub(crate) fn export_with(&self, image: &str, faults: &str) -> Export {
        self.export_faulty(image, |_| {}, faults).unwrap()
    }

    /// Exports an image with a changed request.
    pub(crate) fn export_as(
        &self,
        image: &str,
        change: impl FnOnce(&mut ExportRequest),
    ) -> Result<Export, Refusal> {
        self.export_faulty(image, change, "")
    }

    fn export_faulty(
        &self,
        image: &str,
        change: impl FnOnce(&mut ExportRequest),
        faults: &str,
    ) -> Result<Export, Refusal> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        File::create(&path).unwrap();
        let mut request = self.request(image, &path);
        request.log.file = Some(dir.path().join("log"));
        change(&mut request);
        Export::start(dir, &request, faults)
    }

    /// The image's whole content as Ceph's own program reads it.
    pub(crate) fn content(&self, image: &str) -> Vec<u8> {
        let spec = self.spec(image);
        let words = ["export", "--no-progress", &spec, "-"];
        self.cluster.program("rbd").args(words).ok().unwrap().stdout
    }

    /// How many objects hold the image's data.
    pub(crate) fn data_objects(&self) -> usize {
        let listed = self
            .cluster
            .rados(&["-p", "rbd", "-N", &self.namespace, "ls"])
            .unwrap();
        listed
            .lines()
            .filter(|name| name.starts_with("rbd_data."))
            .count()
    }

    /// The addresses of the clients that have the image open.
    pub(crate) fn watchers(&self, image: &str) -> Vec<String> {
        let words = ["status", "--format", "json", &self.spec(image)];
        let status = self
            .cluster
            .program("rbd")
            .args(words)
            .ok()
            .unwrap()
            .json()
            .unwrap();
        let watchers = status["watchers"].as_array().unwrap();
        watchers
            .iter()
            .map(|watcher| watcher["address"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) fn resize(&self, image: &str, mib: u64) {
        let words = [
            "resize",
            "--no-progress",
            "--size",
            &format!("{mib}M"),
            &self.spec(image),
        ];
        self.cluster.rbd(&words).unwrap();
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let listed = self
            .cluster
            .rbd(&["ls", &format!("rbd/{}", self.namespace)]);
        for image in listed.unwrap_or_default().lines() {
            let removed = until("the image is removed", PATIENCE, || {
                let words = ["rm", "--no-progress", &self.spec(image)];
                self.cluster.rbd(&words).map_err(|error| error.to_string())
            });
            if let Err(error) = removed {
                assert!(std::thread::panicking(), "{error}");
            }
        }
        let removed = self
            .cluster
            .rbd(&["namespace", "rm", &format!("rbd/{}", self.namespace)]);
        if let Err(error) = removed {
            assert!(std::thread::panicking(), "{error}");
        }
    }
}

/// A running export process; taken down by force on drop.
pub(crate) struct Export {
    child: Child,
    pub(crate) size: u64,
    pub(crate) locked: bool,
    pub(crate) path: PathBuf,
    dir: TempDir,
}

impl Export {
    fn start(dir: TempDir, request: &ExportRequest, faults: &str) -> Result<Self, Refusal> {
        let mut child = spawn();
        let mut line: serde_json::Value =
            serde_json::from_slice(&request.to_json_line().unwrap()).unwrap();
        line["inject_faults"] = faults.into();
        let line = format!("{line}\n");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
        let mut answer = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut answer)
            .unwrap();
        match parse_ready_line(&answer).unwrap() {
            Answer::Ready { size, locked, .. } => Ok(Self {
                child,
                size: size.bytes(),
                locked,
                path: request.mountpoint.clone(),
                dir,
            }),
            Answer::Refused(refusal) => {
                assert_eq!(child.wait().unwrap().code(), Some(1));
                assert!(!is_mount_point(&request.mountpoint));
                Err(refusal)
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the process has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    pub(crate) fn open(&self) -> File {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)
            .unwrap()
    }

    /// Kills the process at once, as a crash would, and clears its dead mount away.
    ///
    /// The cluster is told too, by an entry in the blocklist, which is the answer: the watch would
    /// otherwise keep the image from being removed until it times out.
    pub(crate) fn crash(mut self, bed: &Bed, image: &str) -> String {
        let address = bed.watchers(image).pop().unwrap();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        unmount(&self.path, UnmountFlags::DETACH).unwrap();
        bed.cluster
            .json(&["osd", "blocklist", "add", &address])
            .unwrap();
        address
    }

    /// Unmounts the file and answers the process's exit code.
    pub(crate) fn unmount(mut self) -> i32 {
        self.take_down()
    }

    fn take_down(&mut self) -> i32 {
        // A loop device lets go of the file a moment after it was detached.
        until("the file is unmounted", PATIENCE, || {
            unmount(&self.path, UnmountFlags::empty()).map_err(|error| error.to_string())
        })
        .unwrap();
        self.wait()
    }

    /// Waits for the process's end.
    pub(crate) fn wait(&mut self) -> i32 {
        until("the export process has ended", PATIENCE, || {
            match self.child.try_wait().unwrap() {
                Some(status) => Ok(status.code().unwrap()),
                None => Err("it runs".to_owned()),
            }
        })
        .unwrap()
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Nothing more can be done about either failing.
            let _killed = self.child.kill();
            let _ended = self.child.wait();
        }
        if is_mount_point(&self.path) {
            let _unmounted = unmount(&self.path, UnmountFlags::DETACH);
        }
    }
}

/// Starts the process, which then waits for its request.
#[expect(
    clippy::disallowed_methods,
    reason = "the test watches a process of its own crate, without the crates that start it"
)]
pub(crate) fn spawn() -> Child {
    Command::new(env!("CARGO_BIN_EXE_cuttle-image-export"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

pub(crate) fn is_mount_point(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let target = path.to_str().unwrap();
    table
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(target))
}

/// A loop device with direct I/O; detached on drop.
pub(crate) struct Loop {
    pub(crate) device: PathBuf,
}

impl Loop {
    pub(crate) fn on(export: &Export) -> Self {
        Self::attach(&export.path, &["--direct-io=on"])
    }

    pub(crate) fn attach(file: &Path, options: &[&str]) -> Self {
        // Others attach loop devices at the same time; `losetup` may lose the race for a free one.
        let output = until("a loop device is attached", PATIENCE, || {
            let words = ["--show", "--find"];
            let run = Program::new("losetup")
                .args(words)
                .args(options)
                .arg(file)
                .ok();
            run.map_err(|error| error.to_string())
        });
        let device = PathBuf::from(output.unwrap().text());
        assert!(
            std::fs::metadata(&device)
                .unwrap()
                .file_type()
                .is_block_device()
        );
        Self { device }
    }

    /// The size in bytes that the kernel has for the device.
    pub(crate) fn size(&self) -> u64 {
        let words = ["--getsize64".as_ref(), self.device.as_os_str()];
        run("blockdev", words).parse().unwrap()
    }

    pub(crate) fn detach(self) {
        drop(self);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let detached = Program::new("losetup")
            .arg("--detach")
            .arg(&self.device)
            .ok();
        if let Err(error) = detached {
            assert!(std::thread::panicking(), "{error}");
        }
    }
}

/// A mounted file system; unmounted on drop.
pub(crate) struct Mounted {
    pub(crate) dir: TempDir,
}

impl Mounted {
    pub(crate) fn at(device: &Path, options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let words = [
            "-o".as_ref(),
            options.as_ref(),
            device.as_os_str(),
            dir.path().as_os_str(),
        ];
        run("mount", words);
        Self { dir }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn unmount(self) {
        drop(self);
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = Program::new("umount").arg(self.dir.path()).ok() {
            assert!(std::thread::panicking(), "{error}");
        }
    }
}

/// Runs a program to a successful end; answers its output.
pub(crate) fn run<A: AsRef<std::ffi::OsStr>>(
    program: &str,
    words: impl IntoIterator<Item = A>,
) -> String {
    Program::new(program).args(words).ok().unwrap().text()
}

/// Bytes that look random and are the same for the same seed (xorshift).
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
