//! The messages to systemd, with a double of its bus behind a socket.

use std::os::unix::net::UnixListener;
use std::thread;

use super::*;

/// A peer that takes the greeting, reads one message and answers it as told.
fn peer(
    answers: Vec<Vec<u8>>,
) -> (
    tempfile::TempDir,
    std::path::PathBuf,
    thread::JoinHandle<Vec<u8>>,
) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let serve = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeting = [0; 64];
        let count = stream.read(&mut greeting).unwrap();
        assert!(greeting[..count].starts_with(b"\0AUTH EXTERNAL "));
        stream.write_all(b"OK 0123456789abcdef\r\n").unwrap();
        let mut begin = [0; 7];
        stream.read_exact(&mut begin).unwrap();
        assert_eq!(&begin, b"BEGIN\r\n");
        let mut head = [0; message::HEAD];
        stream.read_exact(&mut head).unwrap();
        let mut rest = vec![0; message::rest_of(&head).unwrap()];
        stream.read_exact(&mut rest).unwrap();
        for answer in answers {
            stream.write_all(&answer).unwrap();
        }
        rest
    });
    (dir, path, serve)
}

const SIGNAL: &[u8] = b"l\x04\x01\x01\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00";
const DONE: &[u8] =
    b"l\x02\x01\x01\x00\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00\x00\x05\x01u\x00\x01\x00\x00\x00";
const REFUSED: &[u8] = b"l\x03\x01\x01\x00\x00\x00\x00\x08\x00\x00\x00\x18\x00\x00\x00\
    \x04\x01s\x00\x03\x00\x00\x00a.b\x00\x00\x00\x00\x00\x05\x01u\x00\x01\x00\x00\x00";

#[test]
fn a_scope_is_started_with_its_processes() {
    let (_dir, path, serve) = peer(vec![SIGNAL.to_vec(), DONE.to_vec()]);
    start_scope_by(&path, Way::Direct, "x.scope", "text", &[77]).unwrap();
    let call = serve.join().unwrap();
    let holds = |text: &[u8]| call.windows(text.len()).any(|part| part == text);
    assert!(holds(b"StartTransientUnit\0") && holds(b"x.scope\0") && holds(&[77, 0, 0, 0]));
}

#[test]
fn what_systemd_refuses_is_told_by_name() {
    let (_dir, path, serve) = peer(vec![REFUSED.to_vec()]);
    let refused = start_scope_by(&path, Way::Direct, "x.scope", "text", &[77]).unwrap_err();
    assert_eq!(refused.to_string(), "systemd answered a.b");
    serve.join().unwrap();
}

#[test]
fn a_peer_that_goes_away_or_babbles_is_no_success() {
    let (_dir, path, serve) = peer(vec![b"l\x02\x01\x01".to_vec()]);
    start_scope_by(&path, Way::Direct, "x.scope", "text", &[77]).unwrap_err();
    serve.join().unwrap();
    let (_dir, path, serve) = peer(vec![vec![b'x'; 64]]);
    start_scope_by(&path, Way::Direct, "x.scope", "text", &[77]).unwrap_err();
    serve.join().unwrap();
    start_scope_by(Path::new("/nowhere"), Way::Bus, "x.scope", "text", &[77]).unwrap_err();
}
