//! The gRPC services: thin glue between wire messages, the boundary and the dispatcher.

mod cephfs;
mod cephfs_node;
mod cephfs_reply;
mod controller;
mod controller_reply;
mod identity;
mod node;
mod node_reply;
mod plan;
mod unserved;

pub use cephfs::CephfsControllerParts;
pub(crate) use cephfs::CephfsControllerService;
pub use cephfs_node::CephfsNodeParts;
pub(crate) use cephfs_node::CephfsNodeService;
pub(crate) use controller::ControllerService;
pub use controller::RbdControllerParts;
pub(crate) use identity::IdentityService;
pub(crate) use node::NodeService;
pub use node::RbdNodeParts;
pub(crate) use unserved::Unserved;
