//! The process: its session, its secrets, its mount, its end.

use cuttle_testbed::until;
use rustix::process::Signal;

use crate::bed::{Bed, Loop, PATIENCE, signal};

/// A field of `/proc/<pid>/stat`, counted from 0 after the name in brackets.
fn stat(pid: u32, field: usize) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = stat.rsplit_once(") ").unwrap().1;
    after.split(' ').nth(field).unwrap().to_owned()
}

#[test]
fn the_process_has_a_session_of_its_own_and_nothing_of_its_starter() {
    let bed = Bed::new();
    bed.image("own", 4);
    let export = bed.export("own");
    let pid = export.pid();
    assert_eq!(stat(pid, 3), pid.to_string());
    // It lets go of its pipes just after it has answered.
    for fd in [0, 1] {
        until("the pipe is let go of", PATIENCE, || {
            let target = std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
            match target.to_str() {
                Some("/dev/null") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .unwrap();
    }
    // A hang-up of the starter's terminal reaches sessions, not this process.
    assert_ne!(stat(pid, 3), stat(std::process::id(), 3));
    assert_eq!(export.unmount(), 0);
}

#[test]
fn the_mount_names_the_image() {
    let bed = Bed::new();
    bed.image("named", 4);
    let export = bed.export("named");
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table
        .lines()
        .find(|line| line.contains(export.path.to_str().unwrap()))
        .unwrap();
    let expected = format!(
        " - {} {}{} ",
        cuttle_image_export::FILE_SYSTEM_TYPE,
        cuttle_image_export::SOURCE_PREFIX,
        bed.spec("named")
    );
    assert!(line.contains(&expected), "{line}");
    for option in ["nosuid", "nodev", "noexec"] {
        assert!(line.contains(option), "{line}");
    }
    assert_eq!(export.unmount(), 0);
}

#[test]
fn the_key_is_nowhere_to_be_seen() {
    let bed = Bed::new();
    bed.image("secret", 4);
    let export = bed
        .export_as("secret", |request| request.log.level = "trace".to_owned())
        .unwrap();
    let key = bed.cluster.admin_key();
    for name in ["cmdline", "environ", "comm"] {
        let bytes = std::fs::read(format!("/proc/{}/{name}", export.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(&key), "{name}");
    }
    let log = export.log();
    assert!(
        log.contains("cuttle::door"),
        "the log is not as talkative as it should be: {log}"
    );
    assert!(!log.contains(&key));
    let residue = cuttle_testbed::host_residue(&[export.dir()], &[&key]);
    assert!(residue.key_files.is_empty(), "{residue}");
    assert_eq!(export.unmount(), 0);
}

#[test]
fn a_file_in_use_keeps_its_export() {
    let bed = Bed::new();
    bed.image("used", 4);
    let export = bed.export("used");
    let device = Loop::on(&export);
    let busy = rustix::mount::unmount(&export.path, rustix::mount::UnmountFlags::empty());
    assert_eq!(busy.unwrap_err(), rustix::io::Errno::BUSY);
    std::fs::read(&device.device).unwrap();
    device.detach();
    assert_eq!(export.unmount(), 0);
    assert_eq!(bed.watchers("used"), [""; 0]);
}

#[test]
fn a_paused_process_goes_on_where_it_was() {
    let bed = Bed::new();
    bed.image("paused", 4);
    let export = bed.export("paused");
    let path = export.path.clone();
    signal(export.pid(), Signal::STOP);
    let reader = std::thread::spawn(move || std::fs::read(path).unwrap().len());
    assert!(!reader.is_finished());
    signal(export.pid(), Signal::CONT);
    assert_eq!(reader.join().unwrap(), 4 << 20);
    assert_eq!(export.unmount(), 0);
}
