//! Working mounts put over others wherever those are seen, other mount namespaces included.

use std::io::Write;
use std::process::Stdio;

use super::*;
use crate::fixture::{Place, host, path};
use crate::{BindMount, Program};

/// A memory file system, mounted at this directory and unmounted at the end.
struct Memory(AbsolutePath);

impl Memory {
    fn at(place: AbsolutePath, content: &str) -> Self {
        run(&["mount", "-t", "tmpfs", "cuttle-test", &place.to_string()]);
        let memory = Self(place);
        std::fs::create_dir(memory.0.as_path().join("sub")).unwrap();
        for file in ["file", "sub/file"] {
            std::fs::write(memory.0.as_path().join(file), content).unwrap();
        }
        memory
    }

    fn device(&self) -> DeviceNumber {
        host().mount_table().unwrap().at(&self.0).unwrap().device
    }
}

fn run(words: &[&str]) {
    let program = Program::new(words[0]).args(&words[1..]);
    let finished = host().run("test.run", &program).unwrap();
    finished.expect_success(words[0]).unwrap();
}

fn bind(source: &AbsolutePath, target: &AbsolutePath, flags: &[&str]) {
    let options = MountOptions::parse(flags).unwrap();
    host()
        .bind(&BindMount {
            source,
            seen: None,
            target,
            options: &options,
        })
        .unwrap();
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn every_place_shows_the_new_mount_as_it_showed_the_old_one() {
    let place = Place::new();
    let old = Memory::at(place.directory("old"), "old");
    let new = Memory::at(place.directory("new"), "new");
    let (whole, part) = (place.directory("whole"), place.directory("part"));
    bind(&old.0, &whole, &[]);
    bind(&old.0.join("sub").unwrap(), &part, &["ro", "noexec"]);
    let other = place.directory("other");
    bind(&new.0, &other, &[]);
    let ids = |path: &AbsolutePath| host().mount_table().unwrap().at(path).unwrap().id;
    let untouched = ids(&other);
    let dead = old.device();

    let replaced = host().replace_mounts(dead, &new.0).unwrap();
    assert!(replaced.failed.is_empty(), "{:?}", replaced.failed);
    assert_eq!(replaced.places, 3);
    for file in ["old/file", "whole/file", "part/file"] {
        assert_eq!(read(place.path().as_path().join(file)), "new", "{file}");
    }
    let table = host().mount_table().unwrap();
    let mount = table.at(&part).unwrap();
    assert!(mount.is_read_only() && mount.options.contains("noexec"));
    assert_eq!(table.count_at(&whole), 2);
    assert_eq!(ids(&other), untouched);

    let again = host().replace_mounts(dead, &new.0).unwrap();
    assert_eq!((again.places, again.failed.len()), (0, 0));
}

#[test]
fn dead_mounts_do_not_pile_up() {
    let place = Place::new();
    let target = place.directory("target");
    let mut old = Memory::at(place.directory("0"), "0");
    bind(&old.0, &target, &[]);
    for number in 1..5 {
        let new = Memory::at(place.directory(&number.to_string()), &number.to_string());
        let replaced = host().replace_mounts(old.device(), &new.0).unwrap();
        assert!(replaced.failed.is_empty(), "{:?}", replaced.failed);
        assert_eq!(read(target.as_path().join("file")), number.to_string());
        assert_eq!(host().mount_table().unwrap().count_at(&target), 2);
        old = new;
    }
}

#[test]
fn a_part_that_is_gone_is_told_and_the_others_are_replaced() {
    let place = Place::new();
    let old = Memory::at(place.directory("old"), "old");
    let new = Memory::at(place.directory("new"), "new");
    let (whole, part) = (place.directory("whole"), place.directory("part"));
    bind(&old.0.join("sub").unwrap(), &part, &[]);
    bind(&old.0, &whole, &[]);
    std::fs::remove_file(new.0.as_path().join("sub/file")).unwrap();
    std::fs::remove_dir(new.0.as_path().join("sub")).unwrap();
    let replaced = host().replace_mounts(old.device(), &new.0).unwrap();
    assert_eq!(replaced.failed.len(), 1, "{:?}", replaced.failed);
    assert_eq!(replaced.failed[0].0, part.to_string());
    assert!(replaced.failed[0].1.is_absent());
    assert_eq!(read(whole.as_path().join("file")), "new");
    assert_eq!(read(part.as_path().join("file")), "old");
}

/// A shell in a mount namespace of its own, which nothing propagates into.
#[test]
fn private_copies_in_other_namespaces_are_replaced() {
    let place = Place::new();
    let old = Memory::at(place.directory("old"), "old");
    let new = Memory::at(place.directory("new"), "new");
    let file = old.0.as_path().join("file");
    #[expect(
        clippy::disallowed_methods,
        reason = "a stand-in for a container, fed line by line"
    )]
    let mut shell = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut say = shell.stdin.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(shell.stdout.take().unwrap()));
    let mut ask = || {
        writeln!(say, "cat '{}'; echo", file.display()).unwrap();
        lines.next().unwrap().unwrap()
    };
    assert_eq!(ask(), "old");
    let replaced = host()
        .replace_mounts_elsewhere(old.device(), &new.0)
        .unwrap();
    assert!(replaced.failed.is_empty(), "{:?}", replaced.failed);
    assert!(replaced.places >= 1);
    assert_eq!(ask(), "new");
    drop(say);
    shell.wait().unwrap();
}

#[test]
fn the_mount_of_a_descriptor_is_told_by_the_kernel() {
    assert_eq!(
        mount_id(b"pos:\t0\nflags:\t02\nmnt_id:\t42\nino:\t7\n"),
        Some(42)
    );
    assert_eq!(mount_id(b"pos:\t0\n"), None);
    let file: OwnedFd = std::fs::File::open("/proc/self/stat").unwrap().into();
    let info = open_path(c"/proc/self/fdinfo").unwrap();
    let proc = host().mount_at(&path("/proc")).unwrap().unwrap();
    expect_mount(&info, &file, proc.id).unwrap();
    assert_eq!(
        expect_mount(&info, &file, proc.id + 1).unwrap_err().errno(),
        Errno::STALE
    );
}
