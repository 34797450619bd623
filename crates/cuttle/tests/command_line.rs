//! The program as a process, without a cluster: exit statuses, names it is called by, signals.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests as well")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use cuttle_csi::v1;
use cuttle_csi::v1::controller_client::ControllerClient;
use cuttle_testbed::{Driver, DriverOptions, until};
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Endpoint;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cuttle");

const PATIENCE: Duration = Duration::from_secs(30);

#[expect(
    clippy::disallowed_methods,
    reason = "the test is the one who starts the program"
)]
fn run(program: &Path, arguments: &[&str]) -> Output {
    std::process::Command::new(program)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test is the one who starts the program"
)]
fn an_address_for_metrics_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("csi.sock");
    let output = std::process::Command::new(PROGRAM)
        .env("POD_IP", "10.0.0.7:8681")
        .args(["--type=rbd", "--nodeid=node-1", "--controllerserver=true"])
        .args(["--metricsport=8681", "--drivername=rbd.csi.ceph.com"])
        .arg(format!("--endpoint=unix://{}", socket.display()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout) + &text(&output.stderr);
    for word in ["CUTTLE-1110", "POD_IP", "10.0.0.7:8681", "status.podIP"] {
        assert!(told.contains(word), "no {word} in: {told}");
    }
    assert!(!socket.exists());
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A driver with a socket and a log of its own.
fn start(directory: &Path, arguments: &[&str]) -> (Driver, PathBuf) {
    let socket = directory.join("csi.sock");
    let mut options = DriverOptions::new(PROGRAM, directory.join("driver"))
        .socket(&socket)
        .arg("-drivername=rbd.csi.ceph.com")
        .arg("--type")
        .arg("rbd")
        .arg("--nodeid=node-1")
        .arg(format!("--endpoint=unix://{}", socket.display()))
        .arg(format!(
            "--config={}",
            directory.join("config.json").display()
        ));
    for argument in arguments {
        options = options.arg(*argument);
    }
    (Driver::start(&options).unwrap(), socket)
}

fn wait_for_line(driver: &Driver, line: &str) {
    until(format!("\"{line}\" in the log"), PATIENCE, || {
        let log = driver.log_text();
        if log.contains(line) { Ok(()) } else { Err(log) }
    })
    .unwrap();
}

#[test]
fn a_wrong_command_line_ends_with_64_and_all_its_mistakes() {
    let output = run(
        Path::new(PROGRAM),
        &[
            "serve",
            "--type=nfs",
            "--endpoint=tcp://1:2",
            "--nodeId=a",
            "--polltime=x",
        ],
    );
    assert_eq!(output.status.code(), Some(64));
    let told = text(&output.stderr);
    for part in [
        "CUTTLE-1101: 6 mistakes",
        "--nodeId is not a known flag; did you mean --nodeid?",
        "--polltime must be a duration",
        "names nfs, which is not supported yet",
        "--drivername is required",
        "--nodeid is required",
        "--endpoint must be unix://<path>: a TCP port has no access control",
    ] {
        assert!(told.contains(part), "{part} is not in:\n{told}");
    }
    assert_eq!(run(Path::new(PROGRAM), &["sreve"]).status.code(), Some(64));
}

#[test]
fn help_and_version_end_well_and_wherever_they_stand() {
    for arguments in [
        &["--version"][..],
        &["serve", "-version", "--type=nonsense"],
    ] {
        let output = run(Path::new(PROGRAM), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        let told = text(&output.stdout);
        assert!(told.starts_with("Cuttle version: "), "{told}");
        assert!(told.contains("librados"), "{told}");
    }
    for arguments in [&["--help"][..], &["serve", "--help"], &[]] {
        let output = run(Path::new(PROGRAM), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(text(&output.stdout).starts_with("Usage: cuttle serve"));
    }
}

#[test]
fn called_cephcsi_it_takes_flags_alone() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("cephcsi");
    std::os::unix::fs::symlink(PROGRAM, &program).unwrap();
    let output = run(&program, &[]);
    assert_eq!(output.status.code(), Some(64));
    assert!(
        text(&output.stderr).contains("--type is required"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_socket_of_a_living_server_stays_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (mut driver, socket) = start(directory.path(), &[]);
    let endpoint = format!("--endpoint=unix://{}", socket.display());
    let output = run(
        Path::new(PROGRAM),
        &[
            "--type=rbd",
            "--drivername=rbd.csi.ceph.com",
            "--nodeid=b",
            &endpoint,
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("another server is listening"), "{told}");
    assert!(socket.exists());
    assert!(driver.terminate(PATIENCE).unwrap().success());
    assert!(!socket.exists());
}

#[test]
fn a_second_signal_ends_it_while_work_still_runs() {
    let directory = tempfile::tempdir().unwrap();
    let entry = r#"[{"clusterID":"a","monitors":["127.0.0.1:1"]}]"#;
    std::fs::write(directory.path().join("config.json"), entry).unwrap();
    let (mut driver, socket) = start(
        directory.path(),
        &["--inject-fault=hang@1", "--drain-timeout=10m", "--v=5"],
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime.block_on(async move {
        let channel = Endpoint::try_from(format!("unix://{}", socket.display())).unwrap();
        let channel = channel.connect().await.unwrap();
        let mut request = tonic::Request::new(create_request());
        request.set_timeout(Duration::from_millis(500));
        ControllerClient::new(channel).create_volume(request).await
    });
    // The caller has left, its job hangs in the first call.
    answer.unwrap_err();
    let pid = Pid::from_raw(driver.pid()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    wait_for_line(&driver, "shutting down jobs=1");
    assert_eq!(driver.try_wait(), None, "it ended although work still ran");
    kill_process(pid, Signal::INT).unwrap();
    let status = driver.wait(PATIENCE).unwrap();
    assert!(!status.success(), "{status}");
}

fn create_request() -> v1::CreateVolumeRequest {
    let map = |entries: &[(&str, &str)]| -> HashMap<String, String> {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    v1::CreateVolumeRequest {
        name: "pvc-1".to_owned(),
        parameters: map(&[("clusterID", "a"), ("pool", "rbd")])
            .into_iter()
            .collect(),
        secrets: map(&[
            ("userID", "a"),
            ("userKey", "AQAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAA=="),
        ])
        .into_iter()
        .collect(),
        volume_capabilities: vec![v1::VolumeCapability {
            access_mode: Some(v1::volume_capability::AccessMode {
                mode: v1::volume_capability::access_mode::Mode::SingleNodeWriter.into(),
            }),
            access_type: Some(v1::volume_capability::AccessType::Mount(
                v1::volume_capability::MountVolume::default(),
            )),
        }],
        ..v1::CreateVolumeRequest::default()
    }
}
