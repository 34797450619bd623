//! Tests of programs. Shells are used here to play programs that misbehave.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getsid, kill_process, test_kill_process};

use super::{DetachedProgram, Exit, Program, locate, pid_of};
use crate::Error;
use crate::fixture::{Place, eventually, faulty, host};

fn shell(script: &str) -> Program {
    Program::new("sh").arg("-c").arg(script)
}

fn is_alive(pid: u32) -> bool {
    test_kill_process(pid_of(pid).unwrap()).is_ok()
}

#[test]
fn exit_codes_and_signals_are_told() {
    let host = host();
    let exit = |script: &str| host.run("host.test", &shell(script)).unwrap().exit;
    assert_eq!(exit("exit 0"), Exit::Code(0));
    assert_eq!(exit("exit 7"), Exit::Code(7));
    assert_eq!(exit("kill -TERM $$"), Exit::Signal(15));
}

#[test]
fn the_environment_is_fixed() {
    let program = Program::new("env").env("NAMED", "x");
    let mut lines: Vec<_> = host()
        .run("host.test", &program)
        .unwrap()
        .stdout
        .text()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "LC_ALL=C",
            "NAMED=x",
            &format!("PATH={}", super::SEARCH_PATH)
        ]
    );
    let pwd = host().run("host.test", &Program::new("pwd")).unwrap();
    assert_eq!(pwd.stdout.text(), "/\n");
}

#[test]
fn a_file_as_standard_input_is_read_again_and_again() {
    let program = Program::new("cat")
        .args([super::STDIN_PATH, super::STDIN_PATH, "-"])
        .stdin_file(*b"x1");
    let finished = host().run("host.test", &program).unwrap();
    assert_eq!(finished.stdout.text(), "x1x1x1");
    assert!(!format!("{program:?}").contains("x1"));
}

#[test]
fn programs_are_found_in_the_fixed_path_only() {
    assert!(locate(OsStr::new("sh")).unwrap().is_absolute());
    assert!(host().has_program("/bin/sh") && !host().has_program("no-such-program"));
    for bad in [
        "no-such-program",
        "../bin/sh",
        "./sh",
        "",
        "/etc/passwd",
        "/tmp",
    ] {
        let missing = locate(OsStr::new(bad));
        assert!(
            matches!(missing, Err(Error::ProgramMissing { .. })),
            "{bad:?}"
        );
    }
    let error = host()
        .run("host.test", &Program::new("no-such-program"))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no-such-program is not installed"),
        "{error}"
    );
}

#[test]
fn input_is_fed_and_both_outputs_are_drained() {
    let input = vec![b'i'; 300_000];
    let script = "cat; head -c 200000 /dev/zero | tr '\\0' e >&2; echo end >&2";
    let finished = host()
        .run("host.test", &shell(script).stdin(input))
        .unwrap();
    assert_eq!(finished.exit, Exit::Code(0));
    assert_eq!(
        (finished.stdout.bytes.len(), finished.stdout.cut),
        (65_536, true)
    );
    assert!(finished.stdout.bytes.iter().all(|byte| *byte == b'i'));
    assert_eq!(
        (finished.stderr.bytes.len(), finished.stderr.cut),
        (65_536, true)
    );
    assert!(finished.stderr.bytes.ends_with(b"eeeend\n"));
}

#[test]
fn input_nobody_reads_is_no_error() {
    let finished = host()
        .run("host.test", &shell("exit 3").stdin(vec![0; 1_000_000]))
        .unwrap();
    assert_eq!(finished.exit, Exit::Code(3));
}

#[test]
fn a_grandchild_that_keeps_the_output_does_not_delay_the_end() {
    let started = Instant::now();
    let finished = host()
        .run("host.test", &shell("sleep 600 & echo $!"))
        .unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
    let grandchild: u32 = finished.stdout.text().trim().parse().unwrap();
    let _killed = kill_process(pid_of(grandchild).unwrap(), Signal::KILL);
}

#[test]
fn past_the_deadline_the_whole_group_is_killed() {
    let place = Place::new();
    let note = place.path().join("pid").unwrap();
    let script = format!("sleep 600 & echo $! > {note}; echo waiting >&2; wait");
    let program = shell(&script).within(Duration::from_millis(500));
    let host = host();
    let error = host.run("host.test", &program).unwrap_err();
    assert!(
        matches!(&error, Error::ProgramLate { stderr, .. } if stderr == "waiting"),
        "{error}"
    );
    let grandchild: u32 = std::fs::read_to_string(&note)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    eventually("the grandchild is gone", || {
        let stat = std::fs::read_to_string(format!("/proc/{grandchild}/stat"));
        stat.map_or(true, |stat| stat.contains(") Z "))
    });
    assert_eq!(host.reap(), 0);
}

#[test]
fn a_failure_tells_the_last_words() {
    let finished = host()
        .run("host.test", &shell("echo first >&2; echo last >&2; exit 4"))
        .unwrap();
    let error = finished.expect_success("tool").unwrap_err();
    assert_eq!(error.to_string(), "tool ended with code 4 (first; last)");
}

#[test]
fn debug_shows_no_input_and_no_values() {
    let program = Program::new("x")
        .arg("seen")
        .env("NAME", "value-7")
        .stdin("secret-7");
    let text = format!(
        "{program:?} {:?}",
        DetachedProgram::new(shell("").stdin("secret-7"))
    );
    assert!(text.contains("seen") && text.contains("NAME"), "{text}");
    assert!(
        !text.contains("secret-7") && !text.contains("value-7"),
        "{text}"
    );
}

#[test]
fn a_fault_keeps_the_program_from_starting() {
    let (host, _ledger) = faulty("fail@1:host.test=EIO");
    let place = Place::new();
    let touched = place.path().join("touched").unwrap();
    let program = Program::new("touch").arg(touched.as_path());
    host.run("host.test", &program).unwrap_err();
    assert!(!touched.as_path().exists());
    assert!(host.run("host.test", &program).unwrap().exit.is_success());
    assert!(touched.as_path().exists());
}

#[test]
fn a_program_that_stays_leads_its_own_session() {
    let (host, place) = (host(), Place::new());
    let log = place.path().join("log").unwrap();
    let script = "read word; echo started >&2; echo ready $word; exec sleep 600";
    let program = shell(script)
        .stdin("payload\n")
        .within(Duration::from_secs(20));
    let started = host
        .spawn_detached("host.test", &DetachedProgram::new(program).log_to(&log))
        .unwrap();
    assert_eq!(started.line, "ready payload");
    let pid = pid_of(started.pid).unwrap();
    assert_eq!(getsid(Some(pid)).unwrap(), pid);
    assert!(is_alive(started.pid));
    assert!(
        !host
            .wait_process_gone(started.pid, Duration::from_millis(30))
            .unwrap()
    );
    kill_process(pid, Signal::KILL).unwrap();
    assert!(
        host.wait_process_gone(started.pid, Duration::from_secs(10))
            .unwrap()
    );
    assert!(!is_alive(started.pid));
    assert_eq!(host.reap(), 0);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "started\n");
}

#[test]
fn a_program_that_does_not_stay_is_seen_to_its_end() {
    let host = host();
    let ended = |script: &str| {
        let program = shell(script).within(Duration::from_secs(20));
        let started = host
            .spawn_detached("host.test", &DetachedProgram::new(program))
            .unwrap();
        assert_eq!(started.line, "no");
        let gone = host.end_detached(&started, Duration::from_secs(2)).unwrap();
        assert!(gone && !is_alive(started.pid), "{script}");
    };
    ended("echo no; exec >&-; sleep 0.3");
    let begun = Instant::now();
    ended("echo no; exec sleep 600");
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(host.reap(), 0);
}

#[test]
fn a_program_that_cannot_get_ready_is_an_error() {
    let host = host();
    let start = |script: &str, limit: u64| {
        let program = shell(script).within(Duration::from_millis(limit));
        host.spawn_detached("host.test", &DetachedProgram::new(program))
            .unwrap_err()
    };
    let error = start("printf half; exit 9", 20_000);
    assert_eq!(
        error.to_string(),
        "sh did not get ready: ended with code 9 (half)"
    );
    let error = start("exec sleep 600", 300);
    assert!(matches!(error, Error::ProgramLate { .. }), "{error}");
    let error = start("exec >&-; exec sleep 600", 20_000);
    assert!(
        matches!(
            error,
            Error::ProgramUnready {
                exit: Exit::Signal(9),
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(host.reap(), 0);
}

#[test]
fn a_program_dies_with_the_thread_that_waits_for_it() {
    let started = std::thread::spawn(|| {
        #[expect(
            clippy::disallowed_methods,
            reason = "the binding itself is under test"
        )]
        let mut command = std::process::Command::new("sleep");
        command.arg("600");
        crate::syscalls::die_with_parent(&mut command);
        command.spawn().unwrap()
    });
    let mut child = started.join().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(Exit::of(status), Exit::Signal(9));
}
