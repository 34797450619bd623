//! NodeStageVolume: attach the image and mount it in the staging directory.
//!
//! ```text
//!  is it staged already? ─ yes ─► done, without asking Ceph
//!        │ no
//!  find and open the image (read-only: no watch)
//!  write the stash          ── from here on a failure takes everything down again
//!  attach                   (waits shortly for another user of a single-writer image)
//!  make directory or file
//!  look, format if empty, check, mount, grow    or    bind the device
//! ```
//!
//! What a crash between two steps leaves is found by the next stage, which goes on from there, or
//! by an unstage, which takes it down.

mod error;

use cuttle_host::{AbsolutePath, BindMount, MountOptions};
use cuttle_model::{Access, AccessMode, Class, Explain, chain};
use tracing::{info, warn};

pub use error::{StageError, StageFailure};

use crate::host_failure::HostFailure;
use crate::layout::Layout;
use crate::place::PlaceError;
use crate::rbd::attach::{
    Attach, AttachError, AttachOrder, Attachment, Found, Manner, Place, by_mounter,
};
use crate::rbd::filesystem::{FilesystemError, StageFilesystem};
use crate::rbd::image::{ImageError, LocatedImage, OpenedImage};
use crate::rbd::image_spec::ImageSpec;
use crate::rbd::mkfs_note::Noted;
use crate::rbd::node::RbdNode;
use crate::rbd::request::{StageVolume, Volume};
use crate::rbd::stash::{Origin, Stash};
use crate::rbd::stash_file::StashFile;
use crate::rbd::take_down::{TakeDown, TakeDownError, described, shows};
use crate::uses::Uses;

impl RbdNode {
    /// Stages a volume.
    ///
    /// # Idempotency
    /// A volume that is staged as asked is a success. What is mounted is checked, not assumed, and
    /// that it is still the image which the request means is asked of the cluster; if that does not
    /// answer, what the record tells has to do.
    ///
    /// # Errors
    /// [`StageFailure`]. What had been made is taken down again, except when a deadline passed:
    /// then work may still be going on, and the repeat finishes it.
    pub fn stage(&self, request: &StageVolume) -> Result<(), StageFailure> {
        check_capability(request)?;
        let layout = self.staging_layout(request)?;
        if self.is_staged(request, &layout)? {
            info!(volume = %request.id, "is staged already");
            return Ok(());
        }
        let image = self.find_image(request).and_then(LocatedImage::open);
        let image = image.map_err(StageError::Image)?;
        let staging = Staging {
            node: self,
            request,
            layout: &layout,
            image: &image,
        };
        let outcome = staging.run();
        if let Err(error) = image.close() {
            warn!(%error, "the image that was looked at did not close");
        }
        outcome
    }

    fn find_image(&self, request: &StageVolume) -> Result<LocatedImage, ImageError> {
        LocatedImage::find(
            &self.clusters,
            &request.cluster,
            &request.credentials,
            &request.volume,
        )
    }

    /// The staging directory's layout; refuses a directory that is something else's mount.
    fn staging_layout(&self, request: &StageVolume) -> Result<Layout, StageError> {
        let layout = self
            .layout(&request.staging_path, &request.id)
            .map_err(StageError::Place)?;
        let layout = layout.ok_or_else(|| {
            let path = request.staging_path.display().to_string();
            StageError::Place(PlaceError::StagingMissing { path })
        })?;
        let table = self.host.mount_table();
        let table = table.map_err(HostFailure::at("read", "the mount table"))?;
        match table.at(&layout.root) {
            None => Ok(layout),
            Some(mount) => Err(StageError::Place(PlaceError::Taken {
                path: layout.root.clone(),
                found: described(mount),
            })),
        }
    }

    /// Whether the volume is staged as asked. Refuses whatever else is mounted there; takes down
    /// what has died.
    fn is_staged(&self, request: &StageVolume, layout: &Layout) -> Result<bool, StageError> {
        let table = self.host.mount_table();
        let table = table.map_err(HostFailure::at("read", "the mount table"))?;
        let path = &layout.mount_point;
        let Some(mount) = table.at(path) else {
            return Ok(false);
        };
        let taken = || {
            let (path, found) = (path.clone(), described(mount));
            StageError::Place(PlaceError::Taken { path, found })
        };
        let stash = StashFile::of(&self.host, layout)
            .read()
            .map_err(StageError::Stash)?;
        let stash = stash.ok_or_else(taken)?;
        let attach = by_mounter(stash.mounter, &self.host, &self.settings);
        let place = Place {
            layout,
            stash: &stash,
        };
        let found = attach
            .and_then(|attach| attach.find(place))
            .map_err(StageError::Attach)?;
        let attachment = match found {
            Found::Whole(attachment) => attachment,
            Found::Dead(_) => {
                warn!(volume = %request.id, "what was staged has died, taking it down");
                self.take_down_dead(layout)?;
                return Ok(false);
            }
            Found::Nothing | Found::Begun => return Err(taken()),
        };
        if !shows(&self.host, mount, path, &attachment).map_err(StageError::TakeDown)? {
            return Err(taken());
        }
        self.check_image(request, layout, &stash)?;
        let found = Form {
            is_block: mount.device != attachment.number,
            device_is_read_only: attachment.read_only,
            // What the kernel did to a filesystem with errors is not how it was staged.
            mounted_read_only: mount.was_mounted_read_only(),
        };
        check_as_asked(request, layout, found)?;
        Ok(true)
    }

    /// Refuses a staged image that is not the one which the request means.
    fn check_image(
        &self,
        request: &StageVolume,
        layout: &Layout,
        stash: &Stash,
    ) -> Result<(), StageError> {
        match self.find_image(request) {
            Ok(located) => check_same(layout, stash, &located.spec),
            Err(error)
                if matches!(error.class(), Class::Down | Class::Late)
                    && was_staged_for(stash, request) =>
            {
                let error = chain(&error);
                warn!(volume = %request.id, error, "is staged already, as far as can be known");
                Ok(())
            }
            Err(error) => Err(StageError::Image(error)),
        }
    }

    /// Takes down what has died; that its last writes are lost is nothing new then.
    fn take_down_dead(&self, layout: &Layout) -> Result<(), StageError> {
        match self.take_down(layout, Manner::WithoutForce) {
            Ok(()) => Ok(()),
            Err(error @ TakeDownError::Lost { .. }) => {
                warn!(error = chain(&error), "writes may be lost");
                Ok(())
            }
            Err(error) => Err(StageError::TakeDown(error)),
        }
    }

    pub(crate) fn take_down(&self, layout: &Layout, manner: Manner) -> Result<(), TakeDownError> {
        let take_down = TakeDown {
            host: &self.host,
            settings: &self.settings,
            layout,
            manner,
        };
        take_down.run()
    }

    /// Takes down what a failed stage has made, unless its work may still be going on.
    fn undo(&self, layout: &Layout, error: StageError) -> StageFailure {
        if error.is_late() {
            return StageFailure::unfinished(error);
        }
        let undo = self.take_down(layout, Manner::OwnOnly).err();
        StageFailure::undone(error, undo)
    }
}

/// Refuses uses that would destroy data.
fn check_capability(request: &StageVolume) -> Result<(), StageError> {
    let mode = request.capability.mode;
    match &request.capability.access {
        Access::Block => Ok(()),
        Access::Filesystem { .. } if mode == AccessMode::MultiNodeMultiWriter => {
            Err(StageError::SharedFilesystem { mode })
        }
        Access::Filesystem { fs_type, .. } => {
            let wanted = StageFilesystem::kind_wanted(fs_type.as_ref());
            wanted.map(|_kind| ()).map_err(StageError::Filesystem)
        }
    }
}

/// Whether the device itself must refuse writes.
///
/// A filesystem of one node is only mounted read-only: its journal may have to be replayed, which
/// other nodes that read the same device would not survive.
fn device_is_read_only(request: &StageVolume) -> bool {
    let mode = request.capability.mode;
    mode == AccessMode::MultiNodeReaderOnly
        || (request.capability.is_block() && mode.is_read_only())
}

/// Refuses a staging directory that holds another image.
fn check_same(layout: &Layout, stash: &Stash, wanted: &ImageSpec) -> Result<(), StageError> {
    if stash.image.is_same(wanted) {
        return Ok(());
    }
    Err(StageError::OtherImage {
        path: layout.root.clone(),
        found: stash.image.identified(),
        wanted: wanted.identified(),
    })
}

/// Whether the record was made for a request that named the same things.
fn was_staged_for(stash: &Stash, request: &StageVolume) -> bool {
    let named = match &request.volume {
        // The handle is in the volume's identifier, by which the directory was chosen.
        Volume::Provisioned(_) => true,
        Volume::Static(place) => place.image == stash.image.image && place.pool == stash.image.pool,
    };
    named
        && stash.image.namespace == request.cluster.rbd.namespace
        && stash.origin.as_ref() == Some(&Origin::of(&request.cluster))
}

/// How a volume is staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    is_block: bool,
    device_is_read_only: bool,
    /// Of a filesystem.
    mounted_read_only: bool,
}

impl Form {
    /// As the request asks for.
    fn wanted(request: &StageVolume) -> Result<Self, StageError> {
        let mode = request.capability.mode;
        let mounted_read_only = match &request.capability.access {
            Access::Block => false,
            Access::Filesystem { mount_flags, .. } => {
                let options = MountOptions::parse(mount_flags);
                let options = options.map_err(FilesystemError::Flag);
                options.map_err(StageError::Filesystem)?.is_read_only() || mode.is_read_only()
            }
        };
        Ok(Self {
            is_block: request.capability.is_block(),
            device_is_read_only: device_is_read_only(request),
            mounted_read_only,
        })
    }

    fn words(self) -> String {
        let what = match self.is_block {
            true => "block device",
            false => "filesystem",
        };
        let how = match (self.device_is_read_only, self.mounted_read_only) {
            (true, _) => "read-only",
            (false, true) => "read-only mounted",
            (false, false) => "writable",
        };
        format!("a {how} {what}")
    }
}

fn check_as_asked(
    request: &StageVolume,
    layout: &Layout,
    mut found: Form,
) -> Result<(), StageError> {
    let wanted = Form::wanted(request)?;
    if found.is_block {
        found.mounted_read_only = false;
    }
    if found == wanted {
        return Ok(());
    }
    let path = layout.mount_point.clone();
    Err(StageError::StagedOtherwise {
        path,
        found: found.words(),
        wanted: wanted.words(),
    })
}

/// A stage under way, from the open image to the mount.
struct Staging<'a> {
    node: &'a RbdNode,
    request: &'a StageVolume,
    layout: &'a Layout,
    image: &'a OpenedImage,
}

impl Staging<'_> {
    fn run(&self) -> Result<(), StageFailure> {
        let file = StashFile::of(&self.node.host, self.layout);
        let before = file.read().map_err(StageError::Stash)?;
        let mut stash = self.stash(before.as_ref())?;
        let attach = by_mounter(stash.mounter, &self.node.host, &self.node.settings);
        let attach = attach.map_err(StageError::Attach)?;
        let admitted = attach.admit(&self.image.spec, self.image.features);
        admitted.map_err(|error| self.with_choice(error))?;
        // Up to here nothing was changed. From here on the directory is this volume's.
        let outcome = match before {
            Some(before) if before == stash => Ok(()),
            Some(_) | None => file.write(&stash).map_err(StageError::Stash),
        };
        let outcome = outcome.and_then(|()| self.attach_and_mount(attach.as_ref(), &mut stash));
        outcome.map_err(|error| self.node.undo(self.layout, error))
    }

    fn attach_and_mount(&self, attach: &dyn Attach, stash: &mut Stash) -> Result<(), StageError> {
        let attachment = self.attach(attach, stash)?;
        match &self.request.capability.access {
            Access::Block => self.bind(&attachment),
            Access::Filesystem {
                fs_type,
                mount_flags,
            } => {
                let path = &self.layout.mount_point;
                let made = self.node.host.ensure_directory(path, 0o750);
                made.map_err(HostFailure::at("make", path))?;
                let stage = StageFilesystem {
                    attachment: &attachment,
                    note: self.image.mkfs_note(),
                    mount_point: path,
                    fs_type: fs_type.as_ref(),
                    flags: mount_flags,
                    mkfs_options: self.request.parameters.mkfs_options.as_deref(),
                    read_only: self.request.capability.is_read_only(),
                };
                stage.mount(&self.node.host).map_err(StageError::Filesystem)
            }
        }
    }

    /// The stash to write: that of an attempt before, if it has attached the image.
    fn stash(&self, before: Option<&Stash>) -> Result<Stash, StageError> {
        let Some(before) = before else {
            return self.new_stash();
        };
        let place = Place {
            layout: self.layout,
            stash: before,
        };
        let attach = by_mounter(before.mounter, &self.node.host, &self.node.settings);
        let attach = attach.map_err(StageError::Attach)?;
        match attach.find(place).map_err(StageError::Attach)? {
            // Nothing but the record and perhaps empty files are left of it.
            Found::Nothing => {
                let cleared = attach.detach(place, Manner::OwnOnly);
                cleared.map_err(StageError::Attach)?;
                self.new_stash()
            }
            Found::Begun | Found::Whole(_) | Found::Dead(_) => {
                check_same(self.layout, before, &self.image.spec)?;
                Ok(before.clone())
            }
        }
    }

    fn new_stash(&self) -> Result<Stash, StageError> {
        let parameters = &self.request.parameters;
        let mounter = parameters.mounter;
        let unmap_options = parameters.unmap_options.for_mounter(mounter).to_owned();
        let mut new = Stash::new(self.image.spec.clone(), mounter, unmap_options);
        if let Some(directory) = &parameters.ceph_log_dir {
            new.log_directory = directory.display().to_string();
        }
        new.log_strategy = parameters.ceph_log_strategy.name().to_owned();
        new.origin = Some(Origin::of(&self.request.cluster));
        let boot = self.node.host.boot_id();
        let boot = boot.map_err(HostFailure::at("read", "the machine's boot id"))?;
        new.boot = Some(boot);
        let attach = by_mounter(mounter, &self.node.host, &self.node.settings);
        let prepared = attach.and_then(|attach| attach.prepare(&mut new));
        prepared.map_err(StageError::Attach)?;
        Ok(new)
    }

    /// Attaches the image, or takes over what an attempt before has attached.
    fn attach(&self, attach: &dyn Attach, stash: &mut Stash) -> Result<Attachment, StageError> {
        let read_only = device_is_read_only(self.request);
        let patience = self.node.settings.patience.in_use;
        if let Some(attachment) = self.take_over(attach, stash, read_only)? {
            if self.is_exclusive() {
                self.image.settle_alone(None, false, patience)?;
            }
            return Ok(attachment);
        }
        if self.is_exclusive() {
            // The user may be an attempt of ours that was cut off and is still about to end.
            self.image.wait_until_free(patience)?;
        }
        let options = &self.request.parameters.map_options;
        let order = AttachOrder {
            layout: self.layout,
            cluster: &self.request.cluster,
            credentials: &self.request.credentials,
            options: options.for_mounter(stash.mounter),
            stash,
            read_only,
            exclusive: self.is_exclusive(),
        };
        let attached = match attach.attach(order) {
            Ok(attached) => attached,
            Err(error) if error.is_locked() => {
                // By somebody who came in between: told like any other use, with its address.
                self.image.expect_free()?;
                return Err(StageError::Attach(error));
            }
            Err(error) => return Err(StageError::Attach(error)),
        };
        if self.is_exclusive() {
            // Another node may have found the image free at the same time. Nothing has been read
            // from the device yet, nor written to it.
            self.image
                .settle_alone(attached.client, attached.locked, patience)?;
        }
        Ok(attached.attachment)
    }

    /// The device that an attempt before has attached, if it is whole and as wanted; anything less
    /// is taken down.
    fn take_over(
        &self,
        attach: &dyn Attach,
        stash: &mut Stash,
        read_only: bool,
    ) -> Result<Option<Attachment>, StageError> {
        let place = Place {
            layout: self.layout,
            stash,
        };
        match attach.find(place).map_err(StageError::Attach)? {
            Found::Nothing => return Ok(None),
            Found::Whole(attachment) => {
                self.check_used_here(&attachment, read_only)?;
                self.check_unclaimed(&attachment)?;
                if attachment.read_only == read_only {
                    let resized = attach.resize(&attachment, None);
                    resized.map_err(StageError::Attach)?;
                    let adopted = attach.adopt(self.layout, stash, &attachment);
                    adopted.map_err(StageError::Attach)?;
                    return Ok(Some(attachment));
                }
            }
            Found::Begun | Found::Dead(_) => {}
        }
        let detached = attach
            .detach(place, Manner::WithoutForce)
            .map_err(StageError::Attach)?;
        if let Some(error) = detached.lost {
            warn!(%error, "what an attempt before had attached could not be flushed");
        }
        Ok(None)
    }

    /// Whether nobody else may have the image open.
    fn is_exclusive(&self) -> bool {
        !matches!(
            self.request.capability.mode,
            AccessMode::MultiNodeReaderOnly | AccessMode::MultiNodeMultiWriter
        )
    }

    /// Refuses a device that is in use on this node for something else. Readers may share it.
    fn check_used_here(&self, attachment: &Attachment, read_only: bool) -> Result<(), StageError> {
        if attachment.read_only && read_only {
            return Ok(());
        }
        let table = self.node.host.mount_table();
        let table = table.map_err(HostFailure::at("read", "the mount table"))?;
        let uses = Uses::of(&table, &attachment.device, attachment.number);
        let others = uses.besides(&self.layout.mount_point);
        if others.is_empty() {
            return Ok(());
        }
        Err(StageError::UsedHere {
            image: self.image.spec.to_string(),
            device: attachment.device.clone(),
            places: others.to_string(),
        })
    }

    /// Refuses a device that is claimed though no mount here shows it: an earlier mount or mkfs has
    /// not come back yet, or another mount namespace has a copy of the mount. Neither must be
    /// mounted over, nor taken down.
    fn check_unclaimed(&self, attachment: &Attachment) -> Result<(), StageError> {
        let (host, device) = (&self.node.host, &attachment.device);
        let claimed = host.is_claimed(device);
        if !claimed.map_err(HostFailure::at("look at", device))? {
            return Ok(());
        }
        let table = host.mount_table();
        let table = table.map_err(HostFailure::at("read", "the mount table"))?;
        if table.of_device(attachment.number).next().is_some() {
            // Another reader's mount.
            return Ok(());
        }
        let holders = host.holders_of_device(attachment.number);
        let holders = holders.map_err(HostFailure::at("look for the users of", device))?;
        let by = match holders.as_slice() {
            [] => "an earlier mount of it has not come back yet".to_owned(),
            holders => {
                let words: Vec<String> = holders.iter().map(ToString::to_string).collect();
                words.join(", ")
            }
        };
        Err(StageError::Claimed {
            image: self.image.spec.to_string(),
            device: device.clone(),
            by,
        })
    }

    /// Shows the device's node as a file.
    fn bind(&self, attachment: &Attachment) -> Result<(), StageError> {
        let note = self.image.mkfs_note();
        if !attachment.read_only && note.find()? != Noted::Nothing {
            // What is written from now on is not the remains of a mkfs.
            note.forget()?;
        }
        let (host, path): (_, &AbsolutePath) = (&self.node.host, &self.layout.mount_point);
        host.ensure_file(path, 0o600)
            .map_err(HostFailure::at("make", path))?;
        let bind = BindMount {
            // A node below /dev, whose number was looked at.
            seen: None,
            source: &attachment.device,
            target: path,
            options: &MountOptions::default(),
        };
        let failed = HostFailure::at("bind the device to", path);
        Ok(host.bind(&bind).map_err(failed)?)
    }

    /// Says in a refusal whether the StorageClass allows another way.
    fn with_choice(&self, mut error: AttachError) -> StageError {
        if let AttachError::FeaturesMissing { others_allowed, .. } = &mut error {
            *others_allowed = self.request.parameters.try_other_mounters;
        }
        StageError::Attach(error)
    }
}
