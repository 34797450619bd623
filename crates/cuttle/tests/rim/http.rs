//! Metrics, health and liveness as Prometheus and kubelet ask for them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use cuttle_csi::v1::controller_client::ControllerClient;
use cuttle_csi::v1::{ControllerGetCapabilitiesRequest, CreateVolumeRequest};
use cuttle_testbed::Driver;
use rustix::process::{Pid, Signal, kill_process};
use tonic::transport::Endpoint;

use crate::program::{NAME, PATIENCE, Place, runtime, wait};

/// A port that nobody has.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The status and the body of an answer.
fn ask(port: u16, method: &str, path: &str) -> Result<(u16, String), String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
    let status = head.split(' ').nth(1).ok_or("no status")?;
    Ok((status.parse().unwrap(), body.to_owned()))
}

fn get(port: u16, path: &str) -> Result<(u16, String), String> {
    ask(port, "GET", path)
}

pub(crate) fn served(port: u16, path: &str) -> String {
    wait("the page is served", || match get(port, path)? {
        (200, body) => Ok(body),
        (status, body) => Err(format!("{status}: {body}")),
    })
}

#[test]
fn a_driver_tells_its_calls_and_its_health() {
    let (place, port) = (Place::new(), free_port());
    let port_flag = format!("--metricsport={port}");
    let mut driver = place.start(&[&port_flag, "--metricspath=/figures"]);
    assert_eq!(served(port, "/healthz"), "ok\n");
    assert_eq!(served(port, "/readyz"), "ok\n");
    let create = CreateVolumeRequest {
        name: "pvc-marker".to_owned(),
        secrets: [("userKey".to_owned(), "AQBmarker".to_owned())].into(),
        ..Default::default()
    };
    runtime().block_on(async {
        let uri = format!("unix://{}", place.socket().display());
        let channel = Endpoint::try_from(uri).unwrap().connect().await.unwrap();
        let mut client = ControllerClient::new(channel);
        client.create_volume(create).await.unwrap_err();
        let asked = ControllerGetCapabilitiesRequest::default();
        client.controller_get_capabilities(asked).await.unwrap();
    });
    let text = served(port, "/figures");
    for (method, code) in [
        ("CreateVolume", "INVALID_ARGUMENT"),
        ("ControllerGetCapabilities", "OK"),
    ] {
        let line = format!(
            "cuttle_rpcs_total{{driver=\"{NAME}\",method=\"{method}\",code=\"{code}\"}} 1\n"
        );
        assert!(text.contains(&line), "{line} is not in\n{text}");
        let count = format!(
            "cuttle_rpc_duration_seconds_count{{driver=\"{NAME}\",method=\"{method}\"}} 1\n"
        );
        assert!(text.contains(&count), "{count} is not in\n{text}");
    }
    assert!(text.contains("cuttle_build_info{version=\""), "{text}");
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
    // There is no config.json.
    assert!(text.contains("cuttle_config_in_use 0\n"), "{text}");
    assert!(!text.contains("marker"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_sample, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap();
    }
    assert_eq!(get(port, "/metrics").unwrap().0, 404);
    assert_eq!(ask(port, "POST", "/figures").unwrap().0, 405);
    assert_eq!(ask(port, "HEAD", "/figures").unwrap(), (200, String::new()));

    // A driver whose socket has gone is not well, whatever else the process does.
    std::fs::remove_file(place.socket()).unwrap();
    let (status, told) = get(port, "/healthz").unwrap();
    assert_eq!(status, 503);
    assert!(told.contains("csi.sock: cannot connect"), "{told}");
    assert!(driver.terminate(PATIENCE).unwrap().success());
}

#[test]
fn a_change_of_the_configuration_is_told() {
    let (place, port) = (Place::new(), free_port());
    let good = r#"[{"clusterID":"a","monitors":["127.0.0.1:1"]}]"#;
    std::fs::write(place.path("config.json"), good).unwrap();
    let _driver = place.start(&[&format!("--metricsport={port}")]);
    let tells = |value: u8| {
        let line = format!("cuttle_config_in_use {value}\n");
        wait("the figure", || {
            let text = get(port, "/metrics")?.1;
            text.contains(&line).then_some(()).ok_or(text)
        });
    };
    tells(1);
    std::fs::write(place.path("config.json"), "{").unwrap();
    tells(0);
    std::fs::write(place.path("config.json"), good).unwrap();
    tells(1);
}

#[test]
fn volumes_are_served_while_the_port_is_anothers() {
    let place = Place::new();
    let other = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let driver = place.start(&[&format!("--metricsport={port}")]);
    wait("it is told", || {
        let log = driver.log_text();
        log.contains("metrics and health are not served yet")
            .then_some(())
            .ok_or(log)
    });
    drop(other);
    served(port, "/healthz");
}

/// Whether the server has closed the connection.
fn is_closed(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.read(&mut [0; 16]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[test]
fn clients_that_do_not_ask_keep_nobody_out() {
    let (place, port) = (Place::new(), free_port());
    let _driver = place.start(&[&format!("--metricsport={port}")]);
    assert_eq!(served(port, "/healthz"), "ok\n");
    // Many more than are served at once: silent ones, and some that stop in the middle.
    let slow: Vec<TcpStream> = (0..100)
        .map(|number| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            if number % 2 == 0 {
                stream.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
            }
            stream
        })
        .collect();
    assert_eq!(get(port, "/healthz").unwrap(), (200, "ok\n".to_owned()));
    assert_eq!(get(port, "/metrics").unwrap().0, 200);
    // The oldest have made room, before their time to ask was over; the newest still have theirs.
    let closed: Vec<bool> = slow.iter().map(is_closed).collect();
    assert!(closed[0], "{closed:?}");
    assert!(!closed[99], "{closed:?}");
    assert!(
        closed.is_sorted_by(|earlier, later| earlier >= later),
        "{closed:?}"
    );
}

/// Without `--metricsport` nothing listens.
#[test]
fn pages_are_served_only_when_asked_for() {
    let place = Place::new();
    let driver = place.start(&[]);
    let log = driver.log_text();
    assert!(!log.contains("metrics and health"), "{log}");
}

#[test]
fn liveness_follows_the_driver() {
    let (place, port) = (Place::new(), free_port());
    let flags = [
        "--type=liveness".to_owned(),
        format!("--metricsport={port}"),
        "--metricspath=/metrics".to_owned(),
        "--polltime=1s".to_owned(),
        "--timeout=1s".to_owned(),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut liveness = Driver::launch(&place.bare(&flags).name("liveness")).unwrap();
    let tells = |value: u8| {
        let line = format!("csi_liveness {value}\n");
        wait(&line, || {
            let text = get(port, "/metrics")?.1;
            text.contains(&line).then_some(()).ok_or(text)
        });
    };
    tells(0);
    let driver = place.start(&[]);
    tells(1);
    let pid = Pid::from_raw(driver.pid()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    tells(0);
    kill_process(pid, Signal::CONT).unwrap();
    tells(1);
    drop(driver);
    tells(0);
    assert_eq!(served(port, "/healthz"), "ok\n");
    assert!(
        liveness
            .terminate(Duration::from_secs(60))
            .unwrap()
            .success()
    );
}
