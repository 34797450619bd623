//! Tests of paths and of what is done to files.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use proptest::prelude::*;

use super::{AbsolutePath, EntryKind};
use crate::Error;
use crate::fixture::{Place, faulty, host, path};

#[test]
fn only_paths_that_name_one_place_are_taken() {
    assert_eq!(path("//a/./b//c/").to_string(), "/a/b/c");
    assert_eq!(path("/").to_string(), "/");
    let long = format!("/{}", "x".repeat(4095));
    for (bad, rule) in [
        ("", "not absolute"),
        ("a/b", "not absolute"),
        ("/a/../b", "'..'"),
        ("/..", "'..'"),
        ("/a\0b", "NUL"),
        (long.as_str(), "4095"),
    ] {
        let refused = AbsolutePath::new(bad).unwrap_err();
        assert!(refused.rule.contains(rule), "{bad:?}: {refused}");
        assert!(refused.to_string().len() < 300);
    }
}

#[test]
fn joining_adds_one_plain_name() {
    let base = path("/a");
    assert_eq!(base.join("b c").unwrap(), path("/a/b c"));
    for bad in ["", ".", "..", "/", "b/c", "/b", "b/", "b\0"] {
        assert!(base.join(bad).is_err(), "{bad:?}");
    }
    assert_eq!(base.parent(), Some(path("/")));
    assert_eq!(path("/").parent(), None);
}

proptest! {
    #[test]
    fn a_path_taken_is_clean(text in "[/.a\\u{0}-]{0,40}") {
        if let Ok(taken) = AbsolutePath::new(text.as_str()) {
            let text = taken.to_string();
            prop_assert!(text.starts_with('/') && !text.contains('\0') && !text.contains("//"));
            prop_assert!(text.split('/').all(|name| name != ".." && name != "."));
            prop_assert_eq!(AbsolutePath::new(text.as_str()).unwrap(), taken);
        }
    }
}

#[test]
fn entries_are_told_apart() {
    let (host, place) = (host(), Place::new());
    let file = place.file("file", b"12345");
    let link = place.path().join("link").unwrap();
    symlink(&file, &link).unwrap();
    let kind = |path: &AbsolutePath| host.entry(path).unwrap().map(|entry| entry.kind);
    assert_eq!(kind(&place.path()), Some(EntryKind::Directory));
    assert_eq!(kind(&link), Some(EntryKind::Link));
    assert_eq!(kind(&path("/dev/null")), Some(EntryKind::Other));
    assert_eq!(kind(&place.path().join("none").unwrap()), None);
    assert!(
        matches!(kind(&path("/dev/loop0")), Some(EntryKind::BlockDevice(number)) if number.major == 7)
    );
    let entry = host.entry(&file).unwrap().unwrap();
    let data = std::fs::metadata(&file).unwrap();
    assert_eq!((entry.kind, entry.size), (EntryKind::File, 5));
    assert_eq!(
        (entry.inode, entry.mode),
        (data.ino(), data.mode() & 0o7777)
    );
}

#[test]
fn the_real_path_follows_directories_but_not_the_last_name() {
    let (host, place) = (host(), Place::new());
    let real = place.directory("real");
    let (via, last) = (
        place.path().join("via").unwrap(),
        real.join("last").unwrap(),
    );
    symlink(&real, &via).unwrap();
    symlink("/etc", &last).unwrap();
    assert_eq!(host.real_path(&via.join("last").unwrap()).unwrap(), last);
    assert_eq!(host.real_path(&via).unwrap(), via);
    assert_eq!(host.real_path(&path("/")).unwrap(), path("/"));
    assert!(host.real_path(&path("/no/such")).unwrap_err().is_absent());
}

#[test]
fn directories_and_files_are_made_once() {
    let (host, place) = (host(), Place::new());
    let directory = place.path().join("d").unwrap();
    assert!(host.ensure_directory(&directory, 0o750).unwrap());
    assert!(!host.ensure_directory(&directory, 0o750).unwrap());
    assert_eq!(host.entry(&directory).unwrap().unwrap().mode, 0o750);
    let file = directory.join("f").unwrap();
    assert!(host.ensure_file(&file, 0o600).unwrap());
    assert!(!host.ensure_file(&file, 0o600).unwrap());
    assert_eq!(host.entry(&file).unwrap().unwrap().mode, 0o600);

    assert!(matches!(
        host.ensure_directory(&file, 0o750),
        Err(Error::WrongKind { .. })
    ));
    assert!(matches!(
        host.ensure_file(&directory, 0o600),
        Err(Error::WrongKind { .. })
    ));
    let far = place.path().join("x").unwrap().join("y").unwrap();
    assert!(host.ensure_directory(&far, 0o750).unwrap_err().is_absent());

    let error = host.remove_directory(&directory).unwrap_err();
    assert!(error.to_string().contains("ENOTEMPTY"), "{error}");
    assert!(host.remove_file(&file).unwrap() && !host.remove_file(&file).unwrap());
    assert!(host.remove_directory(&directory).unwrap());
    assert!(!host.remove_directory(&directory).unwrap());
}

#[test]
fn a_link_in_place_of_a_file_is_not_followed() {
    let (host, place) = (host(), Place::new());
    let victim = place.file("victim", b"keep");
    let link = place.path().join("link").unwrap();
    symlink(&victim, &link).unwrap();
    assert!(matches!(
        host.ensure_file(&link, 0o600),
        Err(Error::WrongKind { .. })
    ));
    assert!(
        host.read_file(&link, 100)
            .unwrap_err()
            .to_string()
            .contains("ELOOP")
    );
    host.write_file(&link, b"new").unwrap();
    assert_eq!(std::fs::read(&victim).unwrap(), b"keep");
    assert_eq!(std::fs::read(&link).unwrap(), b"new");
}

#[test]
fn a_file_is_replaced_in_one_step() {
    let (host, place) = (host(), Place::new());
    let file = place.path().join("image-meta.json").unwrap();
    assert_eq!(host.read_file(&file, 100).unwrap(), None);
    // A draft that a crash left behind is no hindrance.
    place.file(".image-meta.json.new", b"torn and longer than the content");
    host.write_file(&file, b"{}").unwrap();
    assert_eq!(host.read_file(&file, 2).unwrap().unwrap(), b"{}");
    assert!(matches!(
        host.read_file(&file, 1),
        Err(Error::TooLong { limit: 1, .. })
    ));
    let mode = std::fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(host.names_in(&place.path()).unwrap(), ["image-meta.json"]);

    place.file(".image-meta.json.new", b"torn");
    assert!(host.remove_file(&file).unwrap());
    assert!(host.names_in(&place.path()).unwrap().is_empty());
    assert!(
        host.names_in(&place.path().join("none").unwrap())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn faults_leave_the_old_content() {
    let (host, ledger) = faulty("fail@1:host.write=ENOSPC");
    let place = Place::new();
    let file = place.file("f", b"old");
    let error = host.write_file(&file, b"new").unwrap_err();
    assert!(error.to_string().contains("ENOSPC"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"old");
    assert_eq!(ledger.total(), 1);
}
