//! Loop devices: a block device over a file.
//!
//! Devices are found by the file behind them, in `/sys/block/loop*/loop`, never remembered: sysfs
//! tells the whole path (the driver's own name field ends after 63 bytes).

use std::ffi::CString;
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::block_device::{not_a_device, open_device, push_words, words_of};
use crate::children::Failure;
use crate::loop_ioctl::{
    DIRECT_IO, LOOP_CLR_FD, LOOP_CONFIGURE, LOOP_SET_CAPACITY, LOOP_SET_DIRECT_IO, LOOP_SET_FD,
    LOOP_SET_STATUS64, LoopConfig, LoopStatus, READ_ONLY,
};
use crate::mount_table::DeviceNumber;
use crate::syscalls::{ioctl_number, ioctl_plain, ioctl_set, loop_get_free};
use crate::{AbsolutePath, Error, Host};

/// How often a free device is asked for when others take it first.
const ATTEMPTS: usize = 64;

/// How long the kernel may take to let a device go that nobody uses.
const LETTING_GO: Duration = Duration::from_secs(5);

/// What the kernel appends to the path of a file that was unlinked.
const DELETED: &[u8] = b" (deleted)";

/// A file to be shown as a block device.
#[derive(Debug, Clone, Copy)]
pub struct AttachLoop<'a> {
    /// The file. Its directory may be reached through links.
    pub file: &'a AbsolutePath,
    /// Whether the page cache of the file is bypassed. The kernel turns it off in silence where
    /// the file cannot do it; see [`LoopDevice::direct_io`].
    pub direct_io: bool,
    /// Whether the device refuses writes.
    pub read_only: bool,
}

/// A loop device with a file behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopDevice {
    /// The device's path, `/dev/loopN`.
    pub path: AbsolutePath,
    /// Its number.
    pub number: DeviceNumber,
    /// The file behind it, as the kernel tells it.
    pub backing_file: PathBuf,
    /// Whether that file has been unlinked.
    pub deleted: bool,
    /// Whether the device refuses writes.
    pub read_only: bool,
    /// Whether the file's page cache is bypassed.
    pub direct_io: bool,
    /// Whether the device lets the file go by itself when its last user is gone. Such a device
    /// must not be handed to anybody: its number may serve another file at any moment.
    pub autoclear: bool,
}

/// How a detach ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detached {
    /// The device let the file go.
    Now,
    /// The device had no file, or another one, before.
    Before,
}

impl Host {
    /// Attaches a file to a free loop device.
    ///
    /// # Idempotency
    /// None: look with [`Host::find_loops`] first. A crash leaves at most one device, which that
    /// call finds.
    ///
    /// # Errors
    /// The errno of the step that failed (ENOENT, EBUSY when devices are taken faster than they
    /// are found), or [`Error::Hung`] when the file's mount is dead.
    pub fn attach_loop(&self, wanted: &AttachLoop<'_>) -> Result<LoopDevice, Error> {
        let (call, name) = ("host.loop_attach", wanted.file.to_c());
        let mut flags = 0;
        if wanted.direct_io {
            flags |= DIRECT_IO;
        }
        if wanted.read_only {
            flags |= READ_ONLY;
        }
        let answer = self.aside(call, wanted.file, self.limits.device, |reply| {
            let number = attach(&name, flags)?;
            push_words(reply, &[u64::from(number)]);
            Ok(())
        })?;
        let [number] = words_of(call, wanted.file, &answer)?;
        let found = self.loop_device_number(number)?;
        found.ok_or_else(|| Error::call(call, wanted.file, "LOOP_CONFIGURE", Errno::NXIO))
    }

    /// Every loop device with this file behind it. The file's directory may be reached through
    /// links; the file itself is not touched.
    ///
    /// # Errors
    /// As [`Host::loops`] and [`Host::real_path`].
    pub fn find_loops(&self, file: &AbsolutePath) -> Result<Vec<LoopDevice>, Error> {
        let real = match self.real_path(file) {
            Ok(real) => real,
            Err(error) if error.is_absent() => file.clone(),
            Err(error) => return Err(error),
        };
        let mut loops = self.loops()?;
        loops.retain(|device| device.backing_file == real.as_path());
        Ok(loops)
    }

    /// Every loop device that has a file behind it, by number.
    ///
    /// # Errors
    /// The errno of reading sysfs.
    pub fn loops(&self) -> Result<Vec<LoopDevice>, Error> {
        let call = "host.loops";
        self.door.call(call, "/sys/block", || {
            let failed = |error: std::io::Error| Error::io(call, "/sys/block", "getdents", &error);
            let mut numbers = Vec::new();
            for entry in std::fs::read_dir("/sys/block").map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                let digits = name.as_bytes().strip_prefix(b"loop").map(<[u8]>::to_vec);
                let number = digits.and_then(|digits| String::from_utf8(digits).ok()?.parse().ok());
                numbers.extend::<Option<u64>>(number);
            }
            numbers.sort_unstable();
            let mut loops = Vec::new();
            for number in numbers {
                loops.extend(read_loop(call, number)?);
            }
            Ok(loops)
        })
    }

    /// The loop device at this path, if it has a file behind it.
    ///
    /// # Errors
    /// As [`Host::loops`].
    pub fn loop_device(&self, device: &AbsolutePath) -> Result<Option<LoopDevice>, Error> {
        match loop_number(device) {
            Some(number) => self.loop_device_number(number),
            None => Ok(None),
        }
    }

    fn loop_device_number(&self, number: u64) -> Result<Option<LoopDevice>, Error> {
        let call = "host.loop_device";
        self.door.call(call, format_args!("/dev/loop{number}"), || {
            read_loop(call, number)
        })
    }

    /// Makes a loop device take over the size its file has now.
    ///
    /// The file is looked at first, because a file of a network or FUSE mount may have grown
    /// without this kernel knowing.
    ///
    /// # Errors
    /// The errno, or [`Error::Hung`].
    pub fn refresh_loop_size(&self, device: &LoopDevice) -> Result<(), Error> {
        let backing = AbsolutePath::new(device.backing_file.clone())?.to_c();
        let name = device.path.to_c();
        let answer = self.aside(
            "host.loop_refresh",
            &device.path,
            self.limits.device,
            |_| {
                // A file that cannot be seen under its name any more does not stop the refresh.
                let _size = rustix::fs::stat(backing.as_c_str());
                let device = open_device(&name, OFlags::RDONLY)?;
                ioctl_plain::<LOOP_SET_CAPACITY>(&device).map_err(Failure::at("LOOP_SET_CAPACITY"))
            },
        );
        answer
            .map(|_empty| ())
            .map_err(|error| not_a_device(&device.path, error))
    }

    /// Makes a loop device let its file go, unless somebody uses it.
    ///
    /// `device` must come from a look at the present state: when another file stands behind the
    /// device by now, it is left alone ([`Detached::Before`]).
    ///
    /// # Guarantees
    /// A device that is in use keeps its file: the kernel is never left to let it go later, when
    /// its number could serve another file under the eyes of whoever has seen it attached.
    ///
    /// # Blocking
    /// A user that only looks (udev, blkid) is waited for, a few seconds at most.
    ///
    /// # Idempotency
    /// A device without a file is a success.
    ///
    /// # Errors
    /// [`Error::LoopBusy`] when the device is mounted, claimed, or some process has it open; it is
    /// then attached as before. Or [`Error::Hung`].
    pub fn detach_loop(&self, device: &LoopDevice) -> Result<Detached, Error> {
        let same = |now: &LoopDevice| now.backing_file == device.backing_file;
        let Some(_now) = self.loop_device(&device.path)?.filter(same) else {
            return Ok(Detached::Before);
        };
        let table = self.mount_table()?;
        let mounted: Vec<String> = table
            .of_device(device.number)
            .map(|mount| format!("mounted on {}", mount.mount_point.display()))
            .collect();
        if !mounted.is_empty() {
            let (device, by) = (device.path.to_string(), mounted.join(", "));
            return Err(Error::LoopBusy { device, by });
        }
        let deadline = Instant::now() + Self::within(self.limits.device.min(LETTING_GO));
        loop {
            let is_let_go = self.let_go(device)?;
            // Recent kernels let it go when the request's own descriptor is closed.
            if self.loop_device(&device.path)?.filter(same).is_none() {
                return Ok(Detached::Now);
            }
            if Instant::now() >= deadline {
                let mut holders = holders_of(device);
                let others = self.holders_of_device(device.number)?;
                holders.extend(others.iter().map(ToString::to_string));
                let by = match (holders.is_empty(), is_let_go) {
                    (false, _) => holders.join(", "),
                    (true, false) => "by a process that cannot be seen from here".to_owned(),
                    (true, true) => "the kernel has not let its file go yet".to_owned(),
                };
                let device = device.path.to_string();
                return Err(Error::LoopBusy { device, by });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the kernel to let the file go; false when the device is in use and keeps it.
    ///
    /// The kernel's answer to the request is the same whether the device is in use or not: if it
    /// is, the request only notes that the file goes with the last user. So the note is taken
    /// back at once, by the same descriptor, which keeps it from taking effect in between; that
    /// fails where the file is gone.
    fn let_go(&self, device: &LoopDevice) -> Result<bool, Error> {
        let name = device.path.to_c();
        let answer = self.aside(
            "host.loop_detach",
            &device.path,
            self.limits.device,
            |reply| {
                // Exclusive: not a device that is mounted in another namespace or stacked upon.
                let is_let_go = match open_device(&name, OFlags::RDONLY | OFlags::EXCL) {
                    Err(failure) if failure.errno() == Errno::BUSY => false,
                    Err(failure) => return Err(failure),
                    Ok(device) => match ioctl_plain::<LOOP_CLR_FD>(&device) {
                        Err(Errno::NXIO) => true,
                        Err(Errno::BUSY) => false,
                        Err(errno) => return Err(Failure::at("LOOP_CLR_FD")(errno)),
                        Ok(()) => {
                            match ioctl_set::<LOOP_SET_STATUS64, _>(&device, LoopStatus::new(0)) {
                                Ok(()) => false,
                                Err(Errno::NXIO) => true,
                                Err(errno) => return Err(Failure::at("LOOP_SET_STATUS64")(errno)),
                            }
                        }
                    },
                };
                push_words(reply, &[u64::from(is_let_go)]);
                Ok(())
            },
        );
        let answer = answer.map_err(|error| not_a_device(&device.path, error))?;
        let [is_let_go] = words_of("host.loop_detach", &device.path, &answer)?;
        Ok(is_let_go != 0)
    }
}

/// The devices stacked on a loop device, such as a LUKS mapping.
fn holders_of(device: &LoopDevice) -> Vec<String> {
    let Some(name) = device.path.file_name() else {
        return Vec::new();
    };
    let holders = Path::new("/sys/block").join(name).join("holders");
    let entries = std::fs::read_dir(holders).into_iter().flatten().flatten();
    entries
        .map(|entry| format!("held by {}", entry.file_name().display()))
        .collect()
}

/// The number in `/dev/loopN`.
fn loop_number(device: &AbsolutePath) -> Option<u64> {
    let name = device.file_name()?.to_str()?;
    name.strip_prefix("loop")?.parse().ok()
}

/// Reads a device's state from sysfs; `None` when it has no file. A device may lose its file
/// between two reads, so an absent attribute means the same.
fn read_loop(call: &'static str, number: u64) -> Result<Option<LoopDevice>, Error> {
    let directory = PathBuf::from(format!("/sys/block/loop{number}"));
    let read = |name: &str| -> Result<Option<Vec<u8>>, Error> {
        let path = directory.join(name);
        match std::fs::read(&path) {
            Ok(mut text) => {
                if text.last() == Some(&b'\n') {
                    text.pop();
                }
                Ok(Some(text))
            }
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(Error::io(call, path.display(), "read", &error)),
        }
    };
    let flag = |name: &str| Ok::<_, Error>(read(name)?.as_deref() == Some(b"1"));
    let (Some(backing), Some(number_text)) = (read("loop/backing_file")?, read("dev")?) else {
        return Ok(None);
    };
    let Some(device_number) = parse_device_number(&number_text) else {
        return Err(Error::Unreadable {
            path: directory.join("dev").display().to_string(),
            found: String::from_utf8_lossy(&number_text).into_owned(),
            expected: "major:minor",
        });
    };
    let deleted = backing.ends_with(DELETED);
    let backing = backing.strip_suffix(DELETED).unwrap_or(&backing).to_vec();
    Ok(Some(LoopDevice {
        path: AbsolutePath::new(format!("/dev/loop{number}"))?,
        number: device_number,
        backing_file: PathBuf::from(OsString::from_vec(backing)),
        deleted,
        read_only: flag("ro")?,
        direct_io: flag("loop/dio")?,
        autoclear: flag("loop/autoclear")?,
    }))
}

/// What reading an attribute of a device without a file answers.
fn is_gone(error: &std::io::Error) -> bool {
    let gone = [libc::ENOENT, libc::ENXIO, libc::ENODEV];
    error
        .raw_os_error()
        .is_some_and(|number| gone.contains(&number))
}

fn parse_device_number(text: &[u8]) -> Option<DeviceNumber> {
    let (major, minor) = std::str::from_utf8(text).ok()?.trim().split_once(':')?;
    Some(DeviceNumber {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

/// Attaches a file; answers the number of the device. Runs in a forked child.
fn attach(file: &CString, flags: u32) -> Result<u32, Failure> {
    let access = if flags & READ_ONLY == 0 {
        OFlags::RDWR
    } else {
        OFlags::RDONLY
    };
    let file = rustix::fs::open(file.as_c_str(), access | OFlags::CLOEXEC, Mode::empty())
        .map_err(Failure::at("open"))?;
    let control = rustix::fs::open(
        c"/dev/loop-control",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(Failure::at("open"))?;
    let mut last = Errno::BUSY;
    for _ in 0..ATTEMPTS {
        let number = loop_get_free(std::os::fd::AsFd::as_fd(&control))
            .map_err(Failure::at("LOOP_CTL_GET_FREE"))?;
        let mut name = DeviceName::default();
        let device = rustix::fs::open(name.of(number), access | OFlags::CLOEXEC, Mode::empty())
            .map_err(Failure::at("open"))?;
        match configure(&device, &file, flags) {
            Ok(()) => return Ok(number),
            // Another process took the device in between.
            Err(failure) if failure.errno() == Errno::BUSY => last = failure.errno(),
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::at("LOOP_CONFIGURE")(last))
}

fn configure(device: &OwnedFd, file: &OwnedFd, flags: u32) -> Result<(), Failure> {
    let fd = u32::try_from(file.as_raw_fd()).unwrap_or(u32::MAX);
    match ioctl_set::<LOOP_CONFIGURE, _>(device, LoopConfig::new(fd, flags)) {
        Ok(()) => Ok(()),
        // Kernels before 5.8 do not know the request.
        Err(Errno::INVAL | Errno::NOTTY) => configure_in_steps(device, fd, flags),
        Err(errno) => Err(Failure::at("LOOP_CONFIGURE")(errno)),
    }
}

fn configure_in_steps(device: &OwnedFd, fd: u32, flags: u32) -> Result<(), Failure> {
    let fd = usize::try_from(fd).unwrap_or(usize::MAX);
    ioctl_number::<LOOP_SET_FD>(device, fd).map_err(Failure::at("LOOP_SET_FD"))?;
    let set = ioctl_set::<LOOP_SET_STATUS64, _>(device, LoopStatus::new(flags))
        .map_err(Failure::at("LOOP_SET_STATUS64"));
    if let Err(failure) = set {
        let _cleared = ioctl_plain::<LOOP_CLR_FD>(device);
        return Err(failure);
    }
    if flags & DIRECT_IO != 0 {
        // As with LOOP_CONFIGURE, a file that cannot do it is used without.
        let _on = ioctl_number::<LOOP_SET_DIRECT_IO>(device, 1);
    }
    Ok(())
}

/// `/dev/loopN`, written without allocating.
#[derive(Default)]
struct DeviceName {
    bytes: [u8; 24],
}

impl DeviceName {
    fn of(&mut self, number: u32) -> &std::ffi::CStr {
        crate::syscalls::numbered(b"/dev/loop", number, &mut self.bytes)
    }
}

#[cfg(test)]
mod tests;
