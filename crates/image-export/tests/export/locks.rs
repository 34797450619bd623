//! The exclusive lock: one writer, and a writer that comes back too late is kept out.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use cuttle_image_export::{ExitStatus, ExportRequest};
use rustix::process::{Pid, Signal, kill_process};

use crate::bed::{Bed, MIB};

const LOCKABLE: &str = "layering,exclusive-lock";

fn exclusively(request: &mut ExportRequest) {
    request.exclusive = true;
}

fn locks(bed: &Bed, image: &str) -> String {
    bed.cluster.rbd(&["lock", "ls", &bed.spec(image)]).unwrap()
}

#[test]
fn of_two_exports_that_want_to_write_alone_the_second_is_refused() {
    let bed = Bed::new();
    bed.image_with("one", 8, LOCKABLE);
    let first = bed.export_as("one", exclusively).unwrap();
    assert!(first.locked);
    // The lock is there before anything was written.
    assert!(locks(&bed, "one").contains("client."));
    let file = first.open();
    file.write_all_at(b"first", 0).unwrap();
    file.sync_all().unwrap();

    let begun = Instant::now();
    let Err(refusal) = bed.export_as("one", exclusively) else {
        panic!("a second export was started");
    };
    assert!(refusal.is_locked(), "{refusal:?}");
    assert!(refusal.text.starts_with("CUTTLE-1809"), "{refusal:?}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{begun:?}");
    // Neither may one write that did not ask for the lock; it is told so.
    let shared = bed.export("one");
    assert!(!shared.locked);
    let other = shared.open();
    let refused = other.write_all_at(b"other", 0).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    let mut seen = [0; 5];
    other.read_exact_at(&mut seen, 0).unwrap();
    assert_eq!(&seen, b"first");

    // What an administrator asks of the image is done by whoever holds the lock.
    bed.resize("one", 16);
    assert_eq!(std::fs::metadata(&first.path).unwrap().len(), 16 * MIB);
    let snapshot = format!("{}@moment", bed.spec("one"));
    bed.cluster
        .rbd(&["snap", "create", "--no-progress", &snapshot])
        .unwrap();
    bed.cluster
        .rbd(&["snap", "rm", "--no-progress", &snapshot])
        .unwrap();
    file.write_all_at(b"after", 0).unwrap();
    drop(file);
    assert_eq!(first.unmount(), 0);
    // With the first gone it may.
    other.write_all_at(b"other", 5000).unwrap();
    drop(other);
    assert_eq!(shared.unmount(), i32::from(ExitStatus::Refused.code()));
    assert_eq!(&bed.content("one")[5000..5005], b"other");
    assert_eq!(locks(&bed, "one"), "");
    let second = bed.export_as("one", exclusively).unwrap();
    assert_eq!(second.unmount(), 0);
    assert_eq!(&bed.content("one")[..5], b"after");
}

#[test]
fn images_without_the_lock_and_readers_are_exported_as_ever() {
    let bed = Bed::new();
    bed.image("plain", 4);
    let export = bed.export_as("plain", exclusively).unwrap();
    assert!(!export.locked);
    assert_eq!(export.unmount(), 0);
    bed.image_with("read", 4, LOCKABLE);
    let writer = bed.export_as("read", exclusively).unwrap();
    let reader = bed.export_as("read", |request| {
        request.exclusive = true;
        request.read_only = true;
    });
    let reader = reader.unwrap();
    assert!(!reader.locked);
    assert_eq!(reader.unmount(), 0);
    assert_eq!(writer.unmount(), 0);
}

/// A writer of which nothing is heard for a while.
struct Silence {
    shell: std::process::Child,
    writer: Pid,
}

impl Silence {
    #[expect(clippy::disallowed_methods, reason = "it is not the driver's")]
    fn begin(script: &str, writer: u32) -> Self {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(shell.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "stopped\n");
        let writer = Pid::from_raw(i32::try_from(writer).unwrap()).unwrap();
        Self { shell, writer }
    }

    fn end(self) {
        drop(self);
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _sent = kill_process(self.writer, Signal::CONT);
        let _over = self.shell.kill();
        let _reaped = self.shell.wait();
    }
}

#[test]
fn a_writer_that_was_given_up_is_kept_out_when_it_comes_back() {
    let bed = Bed::new();
    bed.image_with("lost", 8, LOCKABLE);
    let first = bed.export_as("lost", exclusively).unwrap();
    let file = first.open();
    file.write_all_at(b"first", 0).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let address = bed.watchers("lost").pop().unwrap();
    // As a node that is cut off: its watch ends, then its lock is broken and it is fenced. The shell
    // lets it go on whatever becomes of this test. Nothing here has the file open: whoever closes it
    // now would wait.
    let pid = first.pid();
    let script = format!("kill -STOP {pid}; echo stopped; sleep 45; kill -CONT {pid}");
    let silence = Silence::begin(&script, pid);
    let second = bed.export_as("lost", exclusively).unwrap();
    assert!(second.locked);
    let other = second.open();
    other.write_all_at(b"other", 0).unwrap();
    other.sync_all().unwrap();
    drop(other);
    silence.end();
    let refused = first.open().write_all_at(b"first", 0).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::ESHUTDOWN));
    // Nor can it flush any more.
    assert_eq!(first.unmount(), i32::from(ExitStatus::NotFlushed.code()));
    assert_eq!(second.unmount(), 0);
    assert_eq!(&bed.content("lost")[..5], b"other");
    let words = ["osd", "blocklist", "rm", &address];
    bed.cluster.json(&words).unwrap();
}
