//! The nouns of the driver: handles, names, sizes, secrets, parameters and error classes.
//!
//! Everything here is pure: no I/O, no clock, no knowledge of the wire, of tokio or of Kubernetes.
//! Values that come from outside are checked once, by the constructors of these types; the layers
//! above hold only checked values.

pub mod error;
pub mod handle;
pub mod ids;
pub mod names;
pub mod secret;
pub mod size;

pub use error::{Class, Code, Explain, Left, chain};
pub use handle::{ComposedHandle, HandleError, MigratedHandle, VolumeHandle};
pub use ids::{ObjectUuid, PoolId, UuidError};
pub use names::{
    ClusterId, CoName, DriverName, ImageId, ImageName, InstanceId, NameError, NodeId, PoolName,
    RadosNamespace, UserId,
};
pub use secret::{Credentials, Secret};
pub use size::{ByteSize, CapacityRange, SizeError, round_for_image};
