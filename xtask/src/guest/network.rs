//! The network between the cluster and a guest: a bridge and a tap in a namespace of their own.
//!
//! The namespace has no name and belongs to the processes of one run, so that the kernel removes
//! it, with all that is in it, when the last of them has ended, however that happens.

use std::path::PathBuf;

use cuttle_testbed::Program;

use crate::Failure;

/// Where the cluster listens.
pub(crate) const HOST: [u8; 4] = [10, 99, 0, 1];

/// The guest's address and the length of its prefix.
pub(crate) const GUEST: &str = "10.99.0.2/24";

/// The guest's end of its cable.
pub(crate) const TAP: &str = "guest0";

const BRIDGE: &str = "bridge0";

/// Big packets: checksums and interrupts are what an emulated processor spends its time on.
const MTU: &str = "9000";

/// The network namespace that this process is in, in the kernel's words.
pub(crate) fn namespace() -> Result<PathBuf, Failure> {
    std::fs::read_link("/proc/self/ns/net")
        .map_err(|error| Failure::because("cannot tell this process's network namespace", &error))
}

/// Builds the network in the present namespace, which must be fresh.
pub(crate) fn build() -> Result<(), Failure> {
    let [a, b, c, d] = HOST;
    let host = format!("{a}.{b}.{c}.{d}/24");
    for words in [
        &["link", "set", "lo", "up"][..],
        &["link", "add", BRIDGE, "type", "bridge"],
        &["link", "set", BRIDGE, "mtu", MTU],
        &["addr", "add", &host, "dev", BRIDGE],
        &["tuntap", "add", "dev", TAP, "mode", "tap"],
        &["link", "set", TAP, "mtu", MTU],
        &["link", "set", TAP, "master", BRIDGE],
        &["link", "set", TAP, "up"],
        &["link", "set", BRIDGE, "up"],
    ] {
        ip(words)?;
    }
    Ok(())
}

/// Takes the guest's cable out of the bridge: packets vanish both ways, and nobody is told.
pub(crate) fn cut() -> Result<(), Failure> {
    ip(&["link", "set", TAP, "nomaster"])
}

/// Puts it back. Idempotent.
pub(crate) fn join() -> Result<(), Failure> {
    ip(&["link", "set", TAP, "master", BRIDGE])
}

fn ip(words: &[&str]) -> Result<(), Failure> {
    Program::new("ip").args(words).ok()?;
    Ok(())
}
