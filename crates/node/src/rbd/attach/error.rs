//! Why an image could not be attached, resized or detached.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use cuttle_host::{AbsolutePath, Errno, Error as HostError, Exit, Holder};
use cuttle_image_export::Refusal;
use cuttle_model::{ByteSize, Class};

use crate::host_failure::HostFailure;
use crate::rbd::stash_file::StashError;
use crate::unmounting::UnmountError;
use crate::verdict::{Verdict, explain_by_verdict};

/// Why an image could not be attached, resized or detached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// A call to the host failed.
    #[error(transparent)]
    Host(#[from] HostFailure),
    /// The export could not be unmounted.
    #[error("could not unmount the image's export")]
    Unmount(#[source] UnmountError),
    /// The stash could not be kept up to date.
    #[error("could not note how the image is attached")]
    Stash(#[source] StashError),
    /// The kernel has no RBD client.
    #[error("mounter rbd needs the kernel's rbd module, which this node does not have")]
    KrbdMissing {
        /// What loading it answered, if it was tried.
        source: Option<Box<HostError>>,
    },
    /// rbd-nbd is asked for.
    #[error("mounter rbd-nbd is not supported yet")]
    NbdNotOffered,
    /// A volume that ceph-csi staged in a way that cannot be taken down here.
    #[error(
        "{device} of this volume was made by ceph-csi with {means}, which is not supported yet"
    )]
    Foreign {
        /// The device.
        device: String,
        /// What made it.
        means: &'static str,
    },
    /// The kernel lacks features of the image.
    #[error("the kernel cannot map image {image}: it lacks {missing}")]
    FeaturesMissing {
        /// The image.
        image: String,
        /// Their names and the kernels that have them.
        missing: String,
        /// What to do.
        remedy: String,
        /// Whether the StorageClass allows rbd-nbd to stand in.
        others_allowed: bool,
    },
    /// The export process said that it cannot export the image.
    #[error("the export of image {image} did not start: {}", refusal.text)]
    ExportRefused {
        /// The image.
        image: String,
        /// What it said.
        refusal: Refusal,
    },
    /// The request for the export could not be written.
    #[error("could not ask for an export of image {image}: {problem}")]
    ExportRequest {
        /// The image.
        image: String,
        /// Why not.
        problem: String,
    },
    /// The export process runs on although its file is unmounted.
    #[error(
        "export process {pid} has not ended within {} s after its file was unmounted{}",
        waited.as_secs(), Held(holders)
    )]
    ExporterStays {
        /// Its process id.
        pid: u32,
        /// How long it was waited for.
        waited: Duration,
        /// Where its file is mounted still.
        holders: Vec<Holder>,
    },
    /// Something else is mounted where the export belongs.
    #[error("{path} is taken: {found} is mounted there")]
    Occupied {
        /// The path.
        path: AbsolutePath,
        /// What is mounted there.
        found: String,
    },
    /// Mapping failed.
    #[error("mapping image {image} failed: {end}{said}")]
    MapFailed {
        /// The image.
        image: String,
        /// How it ended.
        end: MapEnd,
        /// What was said about it, in brackets, without secrets.
        said: String,
    },
    /// No monitor can be talked to the way the kernel would.
    #[error("image {image} is not mapped, no monitor answers this node as it must: {answers}")]
    MonitorsMute {
        /// The image.
        image: String,
        /// What each of them answered.
        answers: String,
        /// Whether one of them would do with another `ms_mode`.
        others_speak: bool,
    },
    /// The cluster demands what this kernel's client does not know.
    #[error(
        "mapping image {image} failed: the cluster demands what this kernel lacks: {lacking}{said}"
    )]
    ProtocolTooOld {
        /// The image.
        image: String,
        /// The features and the kernels that have them.
        lacking: String,
        /// What to do.
        remedy: String,
        /// What the kernel said, in brackets.
        said: String,
    },
    /// The device is not there, or is not what was asked for.
    #[error("device {device} for image {image} is unfit: {problem}")]
    Unfit {
        /// The device.
        device: String,
        /// The image.
        image: String,
        /// What is wrong.
        problem: String,
    },
    /// The image is mapped, but its device was not found or noted. The next attempt takes it over.
    #[error("image {image} is mapped, but its device could not be taken into use")]
    LeftMapped {
        /// The image.
        image: String,
        /// What failed.
        source: Box<AttachError>,
    },
    /// Unmapping failed.
    #[error("unmapping {device} failed: {end}{said}{}", Held(holders))]
    UnmapFailed {
        /// The device.
        device: AbsolutePath,
        /// How it ended.
        end: MapEnd,
        /// What it said, in brackets.
        said: String,
        /// Who holds the device, as far as can be told.
        holders: Vec<Holder>,
    },
    /// The image's new size does not arrive.
    #[error("device {device} still has {found} after {} s, expected {expected}", waited.as_secs())]
    SizeNotSeen {
        /// The device.
        device: AbsolutePath,
        /// Its size.
        found: ByteSize,
        /// The size asked for.
        expected: ByteSize,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// Holders appended to a message, if there are any.
struct Held<'a>(&'a [Holder]);

impl fmt::Display for Held<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "; ";
        for holder in self.0 {
            write!(out, "{separator}{holder}")?;
            separator = ", ";
        }
        Ok(())
    }
}

impl AttachError {
    /// Whether another client holds the image's exclusive lock.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, Self::ExportRefused { refusal, .. } if refusal.is_locked())
    }

    pub(crate) fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Host(failure) => failure.verdict(),
            Self::Unmount(source) => Verdict::Of(source),
            Self::Stash(source) => Verdict::Of(source),
            Self::KrbdMissing { .. } => Verdict::Own(1510, Class::Unmet),
            Self::NbdNotOffered => Verdict::Own(1511, Class::Unsupported),
            Self::Foreign { .. } => Verdict::Own(1512, Class::Unsupported),
            Self::FeaturesMissing { .. } => Verdict::Own(1513, Class::Unmet),
            Self::ExportRefused { refusal, .. } => Verdict::Own(1514, refusal.class()),
            Self::ExportRequest { .. } => Verdict::Own(1515, Class::Bug),
            Self::ExporterStays { .. } => Verdict::Own(1516, Class::Late),
            Self::Occupied { .. } => Verdict::Own(1517, Class::Unmet),
            Self::MapFailed { end, .. } => Verdict::Own(1518, end.class()),
            Self::LeftMapped { source, .. } => Verdict::Kept(source.as_ref()),
            Self::Unfit { .. } => Verdict::Own(1519, Class::Unmet),
            Self::UnmapFailed { end, .. } => Verdict::Own(1520, end.class()),
            Self::SizeNotSeen { .. } => Verdict::Own(1521, Class::Down),
            Self::MonitorsMute { .. } => Verdict::Own(1522, Class::Down),
            Self::ProtocolTooOld { .. } => Verdict::Own(1523, Class::Unmet),
        }
    }

    fn own_remedy(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::Host(_) | Self::Unmount(_) | Self::Stash(_) => return None,
            Self::KrbdMissing { .. } => {
                "load the rbd module on the node (`modprobe rbd`; some distributions keep it in \
                 an extra package such as linux-modules-extra), or use a StorageClass with \
                 `mounter: fuse`, which needs nothing of the kernel but fuse and loop"
                    .into()
            }
            Self::NbdNotOffered => {
                "use `mounter: rbd`, or `mounter: fuse` where the kernel lacks the client or an \
                 image feature"
                    .into()
            }
            Self::Foreign { .. } => {
                "take it down with the ceph-csi plugin that staged it, then repeat the request"
                    .into()
            }
            Self::FeaturesMissing {
                remedy,
                others_allowed: false,
                ..
            } => remedy.clone().into(),
            Self::FeaturesMissing {
                remedy,
                others_allowed: true,
                ..
            } => format!(
                "{remedy}; tryOtherMounters would mean rbd-nbd, which is not supported yet, and \
                 fuse is never chosen silently"
            )
            .into(),
            Self::ExportRefused { refusal, .. } if refusal.is_locked() => {
                "stop what uses the image elsewhere; see `rbd lock ls` and `rbd status`".into()
            }
            Self::ExportRefused { .. } => {
                "check that the node reaches the cluster's monitors and OSDs, that the user of \
                 the node-stage secret may use the pool, and the log of the export process"
                    .into()
            }
            Self::ExportRequest { .. } => "shorten the staging path or the list of monitors".into(),
            Self::ExporterStays { .. } => {
                "it is flushing or closing the image, or its file is mounted elsewhere; check the \
                 cluster, end what the message names; the request can be repeated safely"
                    .into()
            }
            Self::Occupied { .. } => {
                "unmount what is there, or let kubelet use another staging directory".into()
            }
            Self::MapFailed { end, .. } => end.remedy().into(),
            Self::MonitorsMute {
                others_speak: true, ..
            } => "take `ms_mode` out of mapOptions, or give one that the monitors' protocol fits \
                 (`prefer-crc` for port 3300, `legacy` for port 6789)"
                .into(),
            Self::MonitorsMute {
                others_speak: false,
                ..
            } => {
                "check the monitors' addresses in config.json, that they run, and that no firewall \
                 is between them and this node (of netNamespaceFilePath, if that is set)"
                    .into()
            }
            Self::ProtocolTooOld { remedy, .. } => remedy.clone().into(),
            Self::LeftMapped { .. } => return None,
            Self::Unfit { .. } => {
                "see whether the device belongs to the image (`rbd device list`, `losetup`), and \
                 that /dev in the plugin's container is the node's"
                    .into()
            }
            Self::UnmapFailed { .. } => {
                "end what uses the device (mounts in other mount namespaces, \
                 /sys/block/rbdN/holders, multipathd), then repeat the request"
                    .into()
            }
            Self::SizeNotSeen { .. } => {
                "check that the image has the new size (`rbd info`) and that the node reaches the \
                 cluster, then repeat the request"
                    .into()
            }
        })
    }
}

explain_by_verdict!(AttachError);

/// How mapping or unmapping ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapEnd {
    /// The kernel refused.
    Kernel(Errno),
    /// The program `rbd` failed; its exit code is an errno.
    Program(Exit),
}

impl fmt::Display for MapEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(errno) => write!(f, "the kernel answered {errno}"),
            Self::Program(exit) => write!(f, "rbd {exit}"),
        }
    }
}

impl MapEnd {
    fn errno(self) -> Option<i32> {
        match self {
            Self::Kernel(errno) => Some(errno.number()),
            Self::Program(Exit::Code(code)) => Some(code),
            Self::Program(Exit::Signal(_)) => None,
        }
    }

    fn class(self) -> Class {
        match self.errno() {
            Some(libc::ENOENT) => Class::Absent,
            Some(libc::EPERM | libc::EACCES) => Class::Denied,
            Some(libc::ETIMEDOUT | libc::ESHUTDOWN | libc::EHOSTUNREACH) => Class::Down,
            Some(libc::EINVAL) => Class::Invalid,
            Some(_) | None => Class::Unmet,
        }
    }

    /// What the errno usually means.
    fn remedy(self) -> &'static str {
        match self.errno() {
            Some(libc::ENXIO) => {
                "the kernel lacks a feature of the image; see `dmesg` and `rbd info`, use a newer \
                 kernel or `mounter: fuse`"
            }
            Some(libc::ENOENT) => "check that pool, namespace and image exist",
            Some(libc::EPERM | libc::EACCES) => {
                "check the key and capabilities of the node-stage secret's user, and that this \
                 node's address is not blocklisted (`ceph osd blocklist ls`)"
            }
            Some(libc::EROFS) => {
                "another client holds the image's exclusive lock; see `rbd lock list` and \
                 `rbd status`"
            }
            Some(libc::ETIMEDOUT) => {
                "the monitors speak, but the kernel got no answer in time: see its log (`dmesg`), \
                 and that the monitors are in quorum (`ceph status`)"
            }
            Some(libc::ESHUTDOWN) => "this node was fenced off; see `ceph osd blocklist ls`",
            Some(libc::EINVAL) => {
                "check mapOptions: this kernel does not know one of them (`ms_mode` needs 5.11, \
                 `read_from_replica` 5.8), or not the key's type"
            }
            Some(libc::EBUSY) => "end what uses the device, then repeat the request",
            Some(_) | None => "see the kernel's log (`dmesg`) for the reason",
        }
    }
}
