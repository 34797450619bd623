//! Attaching an image to the node as a block device: one file per way.
//!
//! Nothing is remembered in the process. What is attached is found from the stash, the mount table
//! and sysfs, so that a restarted plugin knows as much as the one before.

mod error;
mod fuse;
mod krbd;

use cuttle_host::{AbsolutePath, DeviceNumber, Host};
use cuttle_model::{ByteSize, ClusterSettings, Credentials, ImageFeatures, Mounter};

pub use error::{AttachError, MapEnd};
pub(crate) use fuse::FuseAttach;
pub(crate) use krbd::KrbdAttach;

use crate::layout::Layout;
use crate::rbd::stash::Stash;
use crate::settings::NodeSettings;

/// A volume's staging directory and what its stash says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) stash: &'a Stash,
}

/// An image attached as a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attachment {
    /// The device, `/dev/rbd0` or `/dev/loop0`.
    pub(crate) device: AbsolutePath,
    /// Its number.
    pub(crate) number: DeviceNumber,
    /// Whether it refuses writes.
    pub(crate) read_only: bool,
}

/// An image that has just been attached.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) attachment: Attachment,
    /// The number under which the cluster knows whoever serves the device, where it is known.
    pub(crate) client: Option<u64>,
    /// Whether the image's exclusive lock keeps every other client from writing.
    pub(crate) locked: bool,
}

/// How far an image is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Not at all.
    Nothing,
    /// Begun, but without a device: the trace of a crash.
    Begun,
    /// There is a device.
    Whole(Attachment),
    /// What serves the device has died, so that every access fails; or the device is about to lose
    /// its image. It must not be used any more, only taken down.
    Dead(Option<Attachment>),
}

impl Found {
    /// The device, whatever its condition.
    pub(crate) fn attachment(&self) -> Option<&Attachment> {
        match self {
            Self::Whole(attachment) => Some(attachment),
            Self::Dead(attachment) => attachment.as_ref(),
            Self::Nothing | Self::Begun => None,
        }
    }
}

/// Everything that attaching an image depends on.
#[derive(Debug)]
pub(crate) struct AttachOrder<'a> {
    pub(crate) layout: &'a Layout,
    /// What is to be attached. Written again when attaching finds out what detaching must know.
    pub(crate) stash: &'a mut Stash,
    pub(crate) cluster: &'a ClusterSettings,
    pub(crate) credentials: &'a Credentials,
    pub(crate) options: &'a str,
    pub(crate) read_only: bool,
    /// Whether nobody else may write meanwhile.
    pub(crate) exclusive: bool,
}

/// How much a detach may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// An unstage: with the options that the StorageClass gives.
    AsAsked,
    /// What an attempt before has left: without force.
    WithoutForce,
    /// The undo of a failed attempt: without force, and nothing that this staging has not noted as
    /// its own.
    OwnOnly,
}

/// How a detach ended.
#[derive(Debug, Default)]
pub(crate) struct Detached {
    /// The last flush failed: what was written since the one before may be lost. Everything has
    /// been taken down all the same, since a repeat could not do better.
    pub(crate) lost: Option<cuttle_host::Error>,
}

/// One way of attaching images.
pub(crate) trait Attach {
    /// Whether this node can attach an image with these features this way.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    fn admit(
        &self,
        image: &dyn std::fmt::Display,
        features: ImageFeatures,
    ) -> Result<(), AttachError>;

    /// Notes in a new record, before it is written, what is needed later to tell what this staging
    /// attaches from what others have attached before.
    fn prepare(&self, _stash: &mut Stash) -> Result<(), AttachError> {
        Ok(())
    }

    /// How far the image of a staging directory is attached. Never asks the cluster.
    fn find(&self, place: Place<'_>) -> Result<Found, AttachError>;

    /// Attaches the image.
    ///
    /// # Idempotency
    /// None: to be called when [`Attach::find`] has answered `Nothing`. A failure or crash leaves
    /// what `find` and `detach` recognise.
    fn attach(&self, order: AttachOrder<'_>) -> Result<Attached, AttachError>;

    /// Notes that a device which an attempt before has attached is this staging's own.
    fn adopt(
        &self,
        _layout: &Layout,
        _stash: &mut Stash,
        _attachment: &Attachment,
    ) -> Result<(), AttachError> {
        Ok(())
    }

    /// Lets the device take up the image's present size, waiting a short time until it has at
    /// least `at_least`; answers the device's size.
    fn resize(
        &self,
        attachment: &Attachment,
        at_least: Option<ByteSize>,
    ) -> Result<ByteSize, AttachError>;

    /// Flushes the device and takes everything down that `attach` may have made, at whatever
    /// point it ended. Never asks the cluster itself, and succeeds when nothing is there.
    fn detach(&self, place: Place<'_>, manner: Manner) -> Result<Detached, AttachError>;
}

/// The way of attaching of this name.
///
/// # Errors
/// [`AttachError::NbdNotOffered`].
pub(crate) fn by_mounter<'a>(
    mounter: Mounter,
    host: &'a Host,
    settings: &'a NodeSettings,
) -> Result<Box<dyn Attach + 'a>, AttachError> {
    match mounter {
        Mounter::Krbd => Ok(Box::new(KrbdAttach::new(host, settings))),
        Mounter::Fuse => Ok(Box::new(FuseAttach::new(host, settings))),
        Mounter::Nbd => Err(AttachError::NbdNotOffered),
    }
}
