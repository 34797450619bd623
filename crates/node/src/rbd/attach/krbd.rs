//! `mounter: rbd`: the kernel's own RBD client.
//!
//! Mapping and unmapping are done through the kernel's own interface, and by the `rbd` program where
//! that cannot do it; what is mapped is read from sysfs. Neither needs the cluster to look.

mod affinity;
mod bus;
mod choice;
mod features;
mod monitors;
mod plan;
mod sysfs;
mod words;

use std::fmt::Display;
use std::path::Path;
use std::time::Instant;

use cuttle_host::{
    AbsolutePath, Error as HostError, Finished, Host, MountTable, Program, STDIN_PATH,
};
use cuttle_model::{ByteSize, ClusterSettings, ImageFeatures};
use tracing::info;

use super::{
    Attach, AttachError, AttachOrder, Attached, Attachment, Detached, Found, Manner, MapEnd, Place,
};
use crate::host_failure::HostFailure;
use crate::layout::Layout;
use crate::rbd::image_spec::ImageSpec;
use crate::rbd::stash::Stash;
use crate::rbd::stash_file::StashFile;
use crate::settings::NodeSettings;
use crate::uses::Uses;

use bus::BusMap;
use features::KernelFeatures;
use plan::{CommandLine, MapPlan};
use sysfs::Mapping;

/// Where the kernel shows what it has mapped.
const DEVICES: &str = "/sys/bus/rbd/devices";

/// How long one of the files there may be.
const ATTRIBUTE: usize = 4096;

/// How often a new size is looked for.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(50);

/// How long a device that is to be unmapped may be busy, and how often that is tried.
const BUSY_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
const BUSY_EVERY: std::time::Duration = std::time::Duration::from_millis(250);

/// Attaching by the kernel's RBD client.
#[derive(Debug)]
pub(crate) struct KrbdAttach<'a> {
    host: &'a Host,
    settings: &'a NodeSettings,
}

impl<'a> KrbdAttach<'a> {
    pub(crate) fn new(host: &'a Host, settings: &'a NodeSettings) -> Self {
        Self { host, settings }
    }

    /// What the kernel can map; loads its client if it has to.
    fn kernel_features(&self) -> Result<KernelFeatures, AttachError> {
        let failed = |doing| HostFailure::at(doing, "the kernel's rbd module");
        let told = self.host.rbd_supported_features().map_err(failed("ask"))?;
        if let Some(mask) = told {
            return Ok(KernelFeatures::told(mask));
        }
        let loaded = self.host.load_module("rbd");
        loaded.map_err(|source| AttachError::KrbdMissing {
            source: Some(Box::new(source)),
        })?;
        let told = self.host.rbd_supported_features().map_err(failed("ask"))?;
        Ok(match told {
            Some(mask) => KernelFeatures::told(mask),
            None => {
                let release = self.host.kernel_release();
                KernelFeatures::of_release(&release.map_err(failed("ask the version of"))?)
            }
        })
    }

    /// Every mapping of the image's head.
    fn mappings(&self, image: &ImageSpec) -> Result<Vec<Mapping>, AttachError> {
        let directory = AbsolutePath::new(DEVICES).map_err(HostError::from);
        let directory = directory.map_err(HostFailure::at("read", DEVICES))?;
        let names = self
            .host
            .names_in(&directory)
            .map_err(HostFailure::at("read", DEVICES))?;
        let mut found = Vec::new();
        for name in names {
            if let Some(number) = name.to_str().and_then(|name| name.parse().ok()) {
                found.extend(self.mapping(number, image)?);
            }
        }
        found.sort_by_key(|mapping| mapping.number);
        Ok(found)
    }

    /// The numbers of the image's mappings, in order.
    fn numbers(&self, image: &ImageSpec) -> Result<Vec<u32>, AttachError> {
        let mappings = self.mappings(image)?;
        Ok(mappings.iter().map(|mapping| mapping.number).collect())
    }

    /// The numbers of those that may be of the staging directory with this record.
    fn candidates(&self, stash: &Stash) -> Result<Vec<u32>, AttachError> {
        Ok(choice::candidates(self.numbers(&stash.image)?, stash))
    }

    fn table(&self) -> Result<MountTable, AttachError> {
        let failed = HostFailure::at("read", "the mount table");
        Ok(self.host.mount_table().map_err(failed)?)
    }

    /// What is mapped as this number, if that is the image's head; `None` also when it has gone
    /// since the directory was read.
    fn mapping(&self, number: u32, image: &ImageSpec) -> Result<Option<Mapping>, AttachError> {
        Mapping::of(image, number, |name| self.attribute(number, name))
    }

    fn attribute(&self, number: u32, name: &str) -> Result<Option<String>, AttachError> {
        let path = format!("{DEVICES}/{number}/{name}");
        let failed = || HostFailure::at("read", &path);
        let absolute = AbsolutePath::new(&path).map_err(|error| failed()(error.into()))?;
        let text = match self.host.read_file(&absolute, ATTRIBUTE) {
            // What is just being unmapped.
            Err(error) if error.is_no_device() => None,
            text => text.map_err(failed())?,
        };
        let line = |text: Vec<u8>| {
            let text = String::from_utf8_lossy(&text).into_owned();
            text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
        };
        Ok(text.map(line))
    }

    fn attachment(&self, number: u32) -> Result<Attachment, AttachError> {
        let path = format!("/dev/rbd{number}");
        let failed = |doing| HostFailure::at(doing, &path);
        let device = AbsolutePath::new(&path).map_err(|error| failed("look at")(error.into()))?;
        let block = self.host.block_device(&device).map_err(failed("look at"))?;
        Ok(Attachment {
            device,
            number: block.number,
            read_only: block.read_only,
        })
    }

    /// Runs `rbd`, whose end is judged by the caller.
    fn run(
        &self,
        call: &'static str,
        doing: &'static str,
        target: &dyn Display,
        command: &CommandLine,
    ) -> Result<Finished, AttachError> {
        let failed = HostFailure::at(doing, target);
        let program = self.program(command, target);
        Ok(self.host.run(call, &program).map_err(failed)?)
    }

    fn program(&self, command: &CommandLine, target: &dyn Display) -> Program {
        Program::new(&command.program)
            .args(&command.arguments)
            .about(target)
            .within(self.settings.patience.map)
    }

    /// The map options of the StorageClass, and after them those for reading from near OSDs.
    fn options(&self, cluster: &ClusterSettings, given: &str) -> String {
        let affinity = &cluster.read_affinity;
        let labels = match affinity.crush_location_labels.as_slice() {
            [] => &self.settings.crush_location_labels,
            labels => labels,
        };
        let near = affinity
            .enabled
            .then(|| affinity::options(labels, &self.settings.node_labels))
            .flatten();
        let parts: Vec<&str> = [Some(given), near.as_deref()]
            .into_iter()
            .flatten()
            .filter(|part| !part.is_empty())
            .collect();
        parts.join(",")
    }

    fn unmap(&self, attachment: &Attachment, options: &str) -> Result<Detached, AttachError> {
        let device = &attachment.device;
        let mut detached = Detached::default();
        match self.host.flush_device(device) {
            Ok(()) => {}
            Err(error) if error.is_late() => {
                return Err(HostFailure::at("flush", device)(error).into());
            }
            Err(error) => detached.lost = Some(error),
        }
        let Some((end, said)) = self.unmap_now(device, options)? else {
            info!(%device, "unmapped");
            return Ok(detached);
        };
        let holders = self.host.holders_of_device(attachment.number);
        Err(AttachError::UnmapFailed {
            device: device.clone(),
            end,
            said,
            holders: holders.map_err(HostFailure::at("look for the users of", device))?,
        })
    }

    /// Unmaps a device; answers how that was refused and what was said about it.
    fn unmap_now(
        &self,
        device: &AbsolutePath,
        options: &str,
    ) -> Result<Option<(MapEnd, String)>, AttachError> {
        let limit = self.settings.patience.map;
        let number = choice::number_of(device.as_path());
        if let (Some(number), Some(force)) = (number, bus::unmaps_with(options)) {
            let started = Instant::now();
            let error = loop {
                let Err(error) = self.host.rbd_remove(number, force, limit) else {
                    return Ok(None);
                };
                // udev opens a device for a moment after its last user has closed it.
                let is_brief = started.elapsed() < BUSY_PATIENCE
                    && cuttle_door::job::remaining().is_none_or(|left| left > BUSY_PATIENCE);
                if !(is_brief && bus::refused(&error).is_some() && error.is_busy()) {
                    break error;
                }
                std::thread::sleep(BUSY_EVERY);
            };
            return match bus::refused(&error) {
                Some(errno) => Ok(Some((MapEnd::Kernel(errno), String::new()))),
                None => Err(HostFailure::at("unmap", device)(error).into()),
            };
        }
        let command = plan::unmap(device.as_path(), options);
        let finished = self.run("host.rbd_unmap", "unmap", device, &command)?;
        if finished.exit.is_success() {
            return Ok(None);
        }
        Ok(Some((
            MapEnd::Program(finished.exit),
            said(&finished, None),
        )))
    }

    /// Maps an image; answers the device's number.
    fn map(&self, order: &AttachOrder<'_>) -> Result<u32, AttachError> {
        let options = self.options(order.cluster, order.options);
        if let Some(bus) = BusMap::of(order, &options)
            && bus.run(self.host, self.settings.patience.map)?
        {
            let image = &order.stash.image;
            let number = self.marked(image, bus.mark());
            return number.map_err(|error| left_mapped(image, error));
        }
        self.map_by_program(order, &options)
    }

    fn map_by_program(&self, order: &AttachOrder<'_>, options: &str) -> Result<u32, AttachError> {
        let image = &order.stash.image;
        let key = &order.credentials.key;
        let command = plan::map(&MapPlan {
            image,
            user: order.credentials.user.as_str(),
            monitors: &order.cluster.monitors.joined(),
            key_file: Path::new(STDIN_PATH),
            options,
            read_only: order.read_only,
            network_namespace: order.cluster.rbd.net_namespace_file.as_deref(),
        });
        // `rbd` reads its key file twice (to connect, and for the kernel), which rules a pipe out.
        let program = self
            .program(&command, image)
            .stdin_file(key.expose().trim());
        let finished = self.host.run("host.rbd_map", &program);
        let finished = finished.map_err(HostFailure::at("map", image))?;
        if !finished.exit.is_success() {
            return Err(AttachError::MapFailed {
                image: image.to_string(),
                end: MapEnd::Program(finished.exit),
                said: said(&finished, Some(key.expose())),
            });
        }
        let printed = finished.stdout.text().trim().to_owned();
        let unfit = |problem: String| AttachError::Unfit {
            device: printed.clone(),
            image: image.to_string(),
            problem,
        };
        let number = printed
            .strip_prefix("/dev/rbd")
            .and_then(|number| number.parse().ok());
        let Some(number) = number else {
            return Err(unfit(
                "rbd printed something else than a device's path".to_owned(),
            ));
        };
        let mapping = self.mapping(number, image);
        if mapping
            .map_err(|error| left_mapped(image, error))?
            .is_none()
        {
            return Err(unfit(
                "the kernel says that another image is mapped there".to_owned(),
            ));
        }
        Ok(number)
    }

    /// The mapping of the image that was made under this mark.
    fn marked(&self, image: &ImageSpec, mark: &str) -> Result<u32, AttachError> {
        let option = format!("key={mark}");
        for number in self.numbers(image)? {
            let told = self.attribute(number, "config_info")?.unwrap_or_default();
            if told.split([' ', ',']).any(|one| one == option) {
                return Ok(number);
            }
        }
        Err(AttachError::Unfit {
            device: DEVICES.to_owned(),
            image: image.to_string(),
            problem: "the kernel has mapped it, but shows no device of it".to_owned(),
        })
    }
}

impl Attach for KrbdAttach<'_> {
    fn admit(&self, image: &dyn Display, features: ImageFeatures) -> Result<(), AttachError> {
        let missing = self.kernel_features()?.missing(features.bits());
        if missing.is_empty() {
            return Ok(());
        }
        Err(AttachError::FeaturesMissing {
            image: image.to_string(),
            missing: missing.to_string(),
            remedy: missing.remedy(&image),
            others_allowed: false,
        })
    }

    fn prepare(&self, stash: &mut Stash) -> Result<(), AttachError> {
        stash.strangers = self.numbers(&stash.image)?;
        Ok(())
    }

    fn find(&self, place: Place<'_>) -> Result<Found, AttachError> {
        let numbers = self.candidates(place.stash)?;
        let table = self.table()?;
        let shown = table
            .at(&place.layout.mount_point)
            .and_then(choice::shown_by);
        match choice::of_this_staging(&numbers, shown, place.stash.mapped) {
            Some(number) => self.attachment(number).map(Found::Whole),
            None => Ok(Found::Nothing),
        }
    }

    fn attach(&self, order: AttachOrder<'_>) -> Result<Attached, AttachError> {
        let number = self.map(&order)?;
        let image = &order.stash.image;
        info!(number, %image, "mapped");
        order.stash.mapped = Some(number);
        let noted = StashFile::of(self.host, order.layout).write(order.stash);
        if let Err(error) = noted {
            // The undo takes down only what is noted.
            let attachment = self.attachment(number);
            let unmapped = attachment.and_then(|attachment| self.unmap(&attachment, ""));
            unmapped.map_err(|error| left_mapped(image, error))?;
            return Err(AttachError::Stash(error));
        }
        // `client4711`
        let client = self.attribute(number, "client_id")?;
        let client = client.and_then(|name| name.strip_prefix("client")?.parse().ok());
        let attachment = self.attachment(number)?;
        // The kernel passes the lock on when it is asked to; its option `exclusive`, which would keep
        // it, would also keep librbd from growing the image and from taking snapshots of it.
        let locked = false;
        Ok(Attached {
            attachment,
            client,
            locked,
        })
    }

    fn adopt(
        &self,
        layout: &Layout,
        stash: &mut Stash,
        attachment: &Attachment,
    ) -> Result<(), AttachError> {
        let mapped = choice::number_of(attachment.device.as_path());
        if stash.mapped == mapped {
            return Ok(());
        }
        stash.mapped = mapped;
        let file = StashFile::of(self.host, layout);
        file.write(stash).map_err(AttachError::Stash)
    }

    fn resize(
        &self,
        attachment: &Attachment,
        at_least: Option<ByteSize>,
    ) -> Result<ByteSize, AttachError> {
        let device = &attachment.device;
        let started = Instant::now();
        loop {
            // The kernel watches the image and takes up its size by itself.
            let block = self.host.block_device(device);
            let found = block.map_err(HostFailure::at("look at", device))?.size;
            let Some(expected) = at_least.filter(|wanted| found < *wanted) else {
                return Ok(found);
            };
            let waited = started.elapsed();
            if waited >= self.settings.patience.resize {
                let device = device.clone();
                return Err(AttachError::SizeNotSeen {
                    device,
                    found,
                    expected,
                    waited,
                });
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Unmaps the mapping that this staging has noted; if it has noted none (ceph-csi notes none, a
    /// crash may prevent it), every mapping that may be its own, but none in an undo. Never one that
    /// is in use.
    fn detach(&self, place: Place<'_>, manner: Manner) -> Result<Detached, AttachError> {
        let mut detached = Detached::default();
        let numbers = self.candidates(place.stash)?;
        let own_only = manner == Manner::OwnOnly;
        let options = match manner {
            Manner::AsAsked => place.stash.unmap_options.clone(),
            Manner::WithoutForce | Manner::OwnOnly => {
                choice::without_force(&place.stash.unmap_options)
            }
        };
        for number in choice::to_unmap(&numbers, place.stash.mapped, own_only) {
            let attachment = self.attachment(number)?;
            let table = self.table()?;
            if Uses::of(&table, &attachment.device, attachment.number).is_empty() {
                let one = self.unmap(&attachment, &options)?;
                detached.lost = detached.lost.or(one.lost);
            }
        }
        Ok(detached)
    }
}

/// A failure after which the record must stay: without it the mapping would be a stranger's.
fn left_mapped(image: &ImageSpec, error: AttachError) -> AttachError {
    AttachError::LeftMapped {
        image: image.to_string(),
        source: Box::new(error),
    }
}

/// What a failed `rbd` wrote to standard error, for a message. `rbd` itself prints a key that it
/// cannot decode, so the key is taken out.
fn said(finished: &Finished, key: Option<&str>) -> String {
    let text = finished.stderr.text();
    let clean = match key.map(str::trim).filter(|key| !key.is_empty()) {
        Some(key) => text.replace(key, "<secret>"),
        None => text,
    };
    let lines: Vec<&str> = clean
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    match lines.as_slice() {
        [] => String::new(),
        lines => format!(" ({})", lines.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use cuttle_host::{Captured, Exit};

    use super::*;

    #[test]
    fn a_key_that_rbd_prints_is_not_passed_on() {
        let stderr = b"auth: failed to decode key 'AQBmarker=='\n\nrbd: sysfs write failed\n";
        let finished = Finished {
            exit: Exit::Code(22),
            stdout: Captured::default(),
            stderr: Captured {
                bytes: stderr.to_vec(),
                cut: false,
            },
        };
        assert_eq!(
            said(&finished, Some("AQBmarker==\n")),
            " (auth: failed to decode key '<secret>'; rbd: sysfs write failed)"
        );
    }
}
