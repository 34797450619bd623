//! The nouns of the driver: handles, names, sizes, secrets, parameters and error classes.
//!
//! Everything here is pure: no I/O, no clock, no knowledge of the wire, of tokio or of Kubernetes.
//! Values that come from outside are checked once, by the constructors of these types; the layers
//! above hold only checked values.

pub mod access;
pub mod cluster;
pub mod context;
pub mod error;
pub mod handle;
pub mod ids;
pub mod image;
pub mod map_options;
pub mod mistakes;
pub mod names;
pub mod parameters;
pub mod secret;
pub mod size;

pub use access::{Access, AccessMode, FsType, FsTypeError, VolumeCapability};
pub use cluster::{
    CephFsListing, CephFsSettings, ClusterSettings, ClusterTable, ListingSettings, Monitors,
    MonitorsError, NfsSettings, RbdSettings, ReadAffinitySettings,
};
pub use context::{CephfsContext, CephfsPlace, RbdContext, StaticImage, ToldSubvolume};
pub use error::{Class, Code, Explain, Left, chain};
pub use handle::{ComposedHandle, HandleError, MigratedHandle, VolumeHandle};
pub use ids::{FsId, Fsid, FsidError, ObjectUuid, PoolId, UuidError};
pub use image::{ImageFeatures, LogStrategy, Mounter, ObjectSize, Striping};
pub use map_options::MapOptions;
pub use mistakes::{Mistake, ParameterErrors};
pub use names::{
    ClusterId, CoName, DriverName, FsName, FsPath, ImageId, ImageName, ImagePrefix, InstanceId,
    NameError, NodeId, PoolName, RadosNamespace, ShareGroup, ShareName, ShareRoot, SubvolumeGroup,
    SubvolumeName, SubvolumePrefix, UserId,
};
pub use parameters::{
    AttachParameters, CephfsAttachParameters, CephfsMounter, CephfsParameters, CephfsParsed,
    Parsed, RbdParameters, SnapshotMetadata, SnapshotParameters, VolumeMetadata,
};
pub use secret::{Credentials, Secret, SecretBytes};
pub use size::{ByteSize, CapacityRange, SizeError, round_for_image, round_for_subvolume};
