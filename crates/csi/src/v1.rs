//! Messages, clients and server traits of the package `csi.v1`.
//!
//! Clients are in `*_client`, server traits in `*_server`. `Debug` of a message shows every field
//! except those that CSI marks as secret, of which it shows the number of entries.

#![allow(
    missing_docs,
    unused_qualifications,
    unreachable_pub,
    clippy::all,
    clippy::or_fun_call,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::needless_pass_by_value,
    clippy::allow_attributes_without_reason,
    reason = "generated code; its documentation is that of the .proto files"
)]

include!(concat!(env!("OUT_DIR"), "/csi.v1.rs"));
include!(concat!(env!("OUT_DIR"), "/redacted_debug.rs"));
