//! Keeping what is in the process's memory, Ceph's keys above all, out of files and other hands.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::Error;

/// From here on no core file of this process is written, and no other process may read its memory,
/// those with CAP_SYS_PTRACE or CAP_PERFMON excepted. Programs it starts write no core files
/// either; their memory is theirs.
///
/// To be called before the first key is read.
///
/// # Errors
/// The errno of the first of the two that was refused; the other was tried all the same. The
/// process works without.
pub fn keep_memory_private() -> Result<(), Error> {
    let call = "host.privacy";
    let closed = set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| Error::call(call, "this process", "prctl", errno));
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let coreless = setrlimit(Resource::Core, none)
        .map_err(|errno| Error::call(call, "this process", "setrlimit", errno));
    closed.and(coreless)
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn afterwards_the_kernel_keeps_others_out() {
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::Dumpable));
        keep_memory_private().unwrap();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        // The process's own files stay open to itself.
        std::fs::read_to_string("/proc/self/maps").expect("the own mappings");
        std::fs::read_dir("/proc/self/fd").expect("the own descriptors");
    }
}
