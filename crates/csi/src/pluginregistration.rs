//! Messages, clients and server traits of kubelet's package `pluginregistration`, version 1.

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
    reason = "generated code; its documentation is that of the .proto file"
)]

include!(concat!(env!("OUT_DIR"), "/pluginregistration.rs"));
