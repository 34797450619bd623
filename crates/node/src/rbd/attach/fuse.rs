//! `mounter: fuse`: the image as a file of our own export process, under a loop device.
//!
//! ```text
//!  /dev/loopN ──► <staging>/image-export.fuse ──FUSE──► export process ──librbd──► image
//! ```
//!
//! For machines whose kernel has no RBD client. The process lives on when the plugin ends; it ends
//! by itself when its file is unmounted. Found again by the file's path: in the mount table (the
//! export) and in sysfs (the loop device).

use std::time::{Duration, Instant};

use cuttle_door::job;
use cuttle_host::{
    AbsolutePath, AttachLoop, DetachedProgram, DeviceNumber, Error as HostError, Host, LoopDevice,
    Mount, MountTable, Program, StartedProgram,
};
use cuttle_image_export::{
    Answer, ExportRequest, FILE_SYSTEM_TYPE, SOURCE_PREFIX, parse_ready_line,
};
use cuttle_model::{ByteSize, ImageFeatures};
use tracing::{info, warn};

use super::{
    Attach, AttachError, AttachOrder, Attached, Attachment, Detached, Found, Manner, Place,
};
use crate::host_failure::HostFailure;
use crate::layout::Layout;
use crate::rbd::image_spec::ImageSpec;
use crate::rbd::stash::Exporter;
use crate::rbd::stash_file::StashFile;
use crate::settings::NodeSettings;
use crate::unmounting::unmount;

/// What is added to the time an export may take to open the image, for the process itself.
const PROCESS_START: Duration = Duration::from_secs(5);

/// How often a new size is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long an export process is waited for before its state is looked at again.
const WAIT_EVERY: Duration = Duration::from_millis(100);

/// How long an export process that refused may take to end before it is killed: nothing is open
/// or mounted any more, but libraries may be waiting for the cluster.
const REFUSER_END: Duration = Duration::from_secs(5);

/// What is kept of a job's time for finding out who keeps an export process from its end.
const REPORT: Duration = Duration::from_secs(2);

/// Attaching by our own export and a loop device.
#[derive(Debug)]
pub(crate) struct FuseAttach<'a> {
    host: &'a Host,
    settings: &'a NodeSettings,
}

impl<'a> FuseAttach<'a> {
    pub(crate) fn new(host: &'a Host, settings: &'a NodeSettings) -> Self {
        Self { host, settings }
    }

    /// The loop devices over the export's file: one, or none.
    fn loops(&self, layout: &Layout) -> Result<Vec<LoopDevice>, AttachError> {
        let failed = HostFailure::at("look for a loop device over", &layout.export);
        Ok(self.host.find_loops(&layout.export).map_err(failed)?)
    }

    fn table(&self) -> Result<MountTable, AttachError> {
        let failed = HostFailure::at("read", "the mount table");
        Ok(self.host.mount_table().map_err(failed)?)
    }

    /// Whether the export's process has ended, as the kernel says. One that does not answer in
    /// time may be slow, or its cluster down: that is an error, which says nothing of its end.
    fn is_dead(&self, export: &AbsolutePath) -> Result<bool, AttachError> {
        match self.host.entry(export) {
            Ok(_) => Ok(false),
            Err(error) if error.is_disconnected() => Ok(true),
            Err(error) => Err(HostFailure::at("look at", export)(error).into()),
        }
    }

    /// What the export process is asked for.
    fn request(&self, order: &AttachOrder<'_>) -> ExportRequest {
        let patience = self.settings.patience.export_start;
        let image = &order.stash.image;
        ExportRequest {
            monitors: order.cluster.monitors.clone(),
            credentials: order.credentials.clone(),
            pool: image.pool.clone(),
            namespace: image.namespace.clone(),
            image: image.image.clone(),
            read_only: order.read_only,
            exclusive: order.exclusive,
            mountpoint: order.layout.export.as_path().to_owned(),
            start_within: job::remaining().map_or(patience, |left| left.min(patience)),
            ceph_conf: self.settings.ceph_conf.clone(),
            log: self.settings.export_log.clone(),
        }
    }

    /// Starts the export process; answers its process id and what it said.
    fn start(&self, request: &ExportRequest, image: &str) -> Result<StartedProgram, AttachError> {
        let mut line = request
            .to_json_line()
            .map_err(|error| AttachError::ExportRequest {
                image: image.to_owned(),
                problem: error.to_string(),
            })?;
        let program = &self.settings.export_program;
        let program = Program::new(&program.path)
            .args(&program.arguments)
            // Moved, not copied: the line holds the key.
            .stdin(std::mem::take(&mut *line))
            .within(request.start_within + PROCESS_START);
        let log = request.log.file.as_deref().map(AbsolutePath::try_from);
        let log = log.transpose().map_err(HostError::from);
        let log = log.map_err(HostFailure::at("open the log of the export of", image))?;
        let mut detached = DetachedProgram::new(program);
        if let Some(file) = &log {
            // What the libraries write when they die goes there, too.
            detached = detached.log_to(file);
        }
        let started = self.host.spawn_detached("host.export", &detached);
        Ok(started.map_err(HostFailure::at("start the export of", image))?)
    }

    /// Makes the file, and waits until the export process shows the image over it; answers the
    /// number under which the cluster knows the process, and whether it holds the exclusive lock.
    fn export(&self, order: &mut AttachOrder<'_>) -> Result<(u64, bool), AttachError> {
        let file = &order.layout.export;
        let made = self.host.ensure_file(file, 0o600);
        made.map_err(HostFailure::at("make", file))?;
        let image = order.stash.image.to_string();
        let started = self.start(&self.request(order), &image)?;
        let problem = match parse_ready_line(&started.line) {
            Ok(Answer::Ready { client, locked, .. }) => {
                self.remember(order, started.pid)?;
                return Ok((client, locked));
            }
            Ok(Answer::Refused(refusal)) => AttachError::ExportRefused { image, refusal },
            Err(error) => {
                let problem = error.to_string();
                AttachError::ExportRequest { image, problem }
            }
        };
        // It exports nothing, and the request ends when it has.
        let gone = self.host.end_detached(&started, REFUSER_END);
        let gone = gone.map_err(HostFailure::at("wait for process", started.pid))?;
        if !gone {
            warn!(
                pid = started.pid,
                "the export process that refused has not ended"
            );
        }
        Err(problem)
    }

    /// Notes the export process, so that its end can be waited for.
    ///
    /// A crash before this leaves an export without a note: it is found by its mount all the same
    /// and ends when that goes; only its end is then not waited for.
    fn remember(&self, order: &mut AttachOrder<'_>, pid: u32) -> Result<(), AttachError> {
        let Some(started) = self.started_at(pid)? else {
            let image = order.stash.image.to_string();
            let problem = format!("process {pid} ended as soon as it was ready");
            return Err(AttachError::ExportRequest { image, problem });
        };
        order.stash.exporter = Some(Exporter { pid, started });
        let file = StashFile::of(self.host, order.layout);
        file.write(order.stash).map_err(AttachError::Stash)
    }

    fn started_at(&self, pid: u32) -> Result<Option<u64>, AttachError> {
        let failed = HostFailure::at("read the start time of process", pid);
        Ok(self.host.process_started(pid).map_err(failed)?)
    }

    /// Waits for the end of the export process, unless its id belongs to another one by now.
    /// `device` is the number of its file's file system, where it is known.
    fn wait_for_exporter(
        &self,
        exporter: Exporter,
        image: &ImageSpec,
        device: Option<DeviceNumber>,
    ) -> Result<(), AttachError> {
        let Exporter { pid, started } = exporter;
        let limit = self.settings.patience.export_end;
        let limit = job::remaining().map_or(limit, |left| limit.min(left.saturating_sub(REPORT)));
        let begun = Instant::now();
        while self.started_at(pid)? == Some(started) {
            let waited = begun.elapsed();
            if waited >= limit {
                let holders = match device {
                    Some(device) => self.host.holders_of_device(device),
                    None => self.host.mounts_elsewhere(|mount| is_export(mount, image)),
                };
                let holders = holders.map_err(HostFailure::at("look for the users of", image))?;
                return Err(AttachError::ExporterStays {
                    pid,
                    waited,
                    holders,
                });
            }
            let gone = self.host.wait_process_gone(pid, WAIT_EVERY);
            if gone.map_err(HostFailure::at("wait for process", pid))? {
                break;
            }
        }
        Ok(())
    }

    /// Takes the loop devices over the file down, flushing them first.
    fn detach_loops(&self, layout: &Layout) -> Result<Detached, AttachError> {
        let mut detached = Detached::default();
        for device in self.loops(layout)? {
            let failed = |doing| HostFailure::at(doing, &device.path);
            match self.host.flush_device(&device.path) {
                Ok(()) => {}
                Err(error) if error.is_late() => return Err(failed("flush")(error).into()),
                Err(error) => detached.lost = Some(error),
            }
            self.host.detach_loop(&device).map_err(failed("detach"))?;
        }
        Ok(detached)
    }

    /// The size of the exported file, as the export process tells it.
    fn exported_size(&self, file: &AbsolutePath) -> Result<ByteSize, AttachError> {
        let entry = self
            .host
            .entry(file)
            .map_err(HostFailure::at("look at", file))?;
        Ok(ByteSize::from_bytes(entry.map_or(0, |entry| entry.size)))
    }
}

impl Attach for FuseAttach<'_> {
    /// Every feature: librbd does the work.
    fn admit(
        &self,
        _image: &dyn std::fmt::Display,
        _features: ImageFeatures,
    ) -> Result<(), AttachError> {
        Ok(())
    }

    fn find(&self, place: Place<'_>) -> Result<Found, AttachError> {
        let layout = place.layout;
        let table = self.table()?;
        let mount = table.at(&layout.export);
        let loops = self.loops(layout)?;
        if mount.is_none() && loops.is_empty() {
            return Ok(Found::Nothing);
        }
        let is_dead = match mount {
            Some(mount) => {
                expect_export(mount, &place.stash.image, &layout.export)?;
                self.is_dead(&layout.export)?
            }
            // Somebody has unmounted it: the device may show nothing of the image any more.
            None => true,
        };
        // Somebody has asked for its end: with its last user gone, its number serves another file.
        let is_dead = is_dead || loops.iter().any(|device| device.autoclear);
        let device = loops.into_iter().next().map(|device| Attachment {
            device: device.path,
            number: device.number,
            read_only: device.read_only,
        });
        Ok(match (is_dead, device) {
            (true, device) => Found::Dead(device),
            (false, Some(device)) => Found::Whole(device),
            (false, None) => Found::Begun,
        })
    }

    fn attach(&self, mut order: AttachOrder<'_>) -> Result<Attached, AttachError> {
        let layout = order.layout;
        let (client, locked) = self.export(&mut order)?;
        let wanted = AttachLoop {
            file: &layout.export,
            direct_io: true,
            read_only: order.read_only,
        };
        let device = self.host.attach_loop(&wanted);
        let device = device.map_err(HostFailure::at("attach a loop device to", &layout.export))?;
        if device.autoclear {
            let busy = HostError::LoopBusy {
                device: device.path.to_string(),
                by: "its file is about to be taken from it".to_owned(),
            };
            return Err(HostFailure::at("attach a loop device to", &layout.export)(busy).into());
        }
        if !device.direct_io {
            warn!(device = %device.path, "the loop device does not bypass the page cache");
        }
        info!(device = %device.path, image = %order.stash.image, "attached");
        let attachment = Attachment {
            device: device.path,
            number: device.number,
            read_only: device.read_only,
        };
        Ok(Attached {
            attachment,
            client: Some(client),
            locked,
        })
    }

    fn resize(
        &self,
        attachment: &Attachment,
        at_least: Option<ByteSize>,
    ) -> Result<ByteSize, AttachError> {
        let device = &attachment.device;
        let failed = |doing| HostFailure::at(doing, device);
        let found = self.host.loop_device(device).map_err(failed("look at"))?;
        let lost = || HostFailure::at("look at", device)(gone(device));
        let found = found.ok_or_else(lost)?;
        let file = AbsolutePath::new(found.backing_file.clone());
        let file = file.map_err(|error| failed("look at the file behind")(error.into()))?;
        let patience = self.settings.patience.resize;
        let started = Instant::now();
        loop {
            let size = self.exported_size(&file)?;
            if at_least.is_none_or(|wanted| size >= wanted) {
                break;
            }
            let waited = started.elapsed();
            if let (true, Some(expected)) = (waited >= patience, at_least) {
                let (device, found) = (device.clone(), size);
                return Err(AttachError::SizeNotSeen {
                    device,
                    found,
                    expected,
                    waited,
                });
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.host
            .refresh_loop_size(&found)
            .map_err(failed("refresh the size of"))?;
        Ok(self
            .host
            .block_device(device)
            .map_err(failed("look at"))?
            .size)
    }

    /// In every manner the same: everything it finds is this staging directory's, and nothing is
    /// ever taken down by force.
    fn detach(&self, place: Place<'_>, _manner: Manner) -> Result<Detached, AttachError> {
        let layout = place.layout;
        let table = self.table()?;
        let mount = table.at(&layout.export);
        if let Some(mount) = mount {
            expect_export(mount, &place.stash.image, &layout.export)?;
        }
        let detached = self.detach_loops(layout)?;
        unmount(self.host, &table, &layout.export).map_err(AttachError::Unmount)?;
        // This takes idle copies of the mount in other mount namespaces away, too, which would keep
        // the process from its end.
        let removed = self.host.remove_file(&layout.export);
        removed.map_err(HostFailure::at("remove", &layout.export))?;
        if let Some(exporter) = place.stash.exporter {
            let device = mount.map(|mount| mount.device);
            self.wait_for_exporter(exporter, &place.stash.image, device)?;
        }
        Ok(detached)
    }
}

/// Whether a mount is an export of this image.
fn is_export(mount: &Mount, image: &ImageSpec) -> bool {
    let source = mount.source.to_string_lossy();
    mount.fs_type == FILE_SYSTEM_TYPE && source == format!("{SOURCE_PREFIX}{image}")
}

/// Refuses what is mounted at the export's place and is not the export of this image.
fn expect_export(mount: &Mount, image: &ImageSpec, path: &AbsolutePath) -> Result<(), AttachError> {
    if is_export(mount, image) {
        return Ok(());
    }
    let source = mount.source.to_string_lossy();
    Err(AttachError::Occupied {
        path: path.clone(),
        found: format!("{} ({source})", mount.fs_type),
    })
}

/// What the system says of a device that has lost its file.
fn gone(device: &AbsolutePath) -> cuttle_host::Error {
    cuttle_door::FromErrno::from_errno("host.loop_device", device.to_string(), libc::ENXIO)
}
