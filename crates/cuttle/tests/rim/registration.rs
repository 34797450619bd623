//! Kubelet registers the driver, and does so again whatever becomes of either.

use std::time::Duration;

use cuttle_testbed::Driver;

use crate::kubelet::{Kubelet, Verdict};
use crate::program::{NAME, PATIENCE, Place, gone, wait};

fn start(place: &Place) -> Driver {
    let directory = format!("--registration-dir={}", place.path("registry").display());
    let endpoint = format!("--kubelet-registration-path={}", place.socket().display());
    place.start(&["--nodeserver=true", &directory, &endpoint])
}

#[test]
fn kubelet_takes_the_driver_and_reaches_it() {
    let place = Place::new();
    let mut kubelet = Kubelet::new(place.path("registry"));
    let mut driver = start(&place);
    let registered = kubelet.register(Verdict::Take);
    let info = registered.info;
    assert_eq!(
        (info.r#type.as_str(), info.name.as_str()),
        ("CSIPlugin", NAME)
    );
    assert_eq!(info.supported_versions, ["1.0.0"]);
    assert_eq!(registered.node.unwrap().node_id, "node-1");
    let socket = place.path(&format!("registry/{NAME}-reg.sock"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&socket.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    // Kubelet starts anew and finds what is there.
    kubelet.restart();
    kubelet.register(Verdict::Take);
    assert!(driver.terminate(PATIENCE).unwrap().success());
    gone(&socket).unwrap();
}

#[test]
fn a_socket_that_is_lost_is_made_again() {
    let place = Place::new();
    let mut kubelet = Kubelet::new(place.path("registry"));
    let driver = start(&place);
    kubelet.register(Verdict::Take);
    kubelet.make_the_directory_again();
    kubelet.register(Verdict::Take);
    std::fs::remove_file(place.path(&format!("registry/{NAME}-reg.sock"))).unwrap();
    kubelet.register(Verdict::Take);
    assert!(driver.log_text().contains("was taken away"));
}

#[test]
fn a_driver_that_kubelet_refuses_is_offered_again() {
    let place = Place::new();
    let mut kubelet = Kubelet::new(place.path("registry"));
    let driver = start(&place);
    kubelet.register(Verdict::Refuse);
    wait("the refusal is told", || {
        let log = driver.log_text();
        if log.contains("not on this node") {
            Ok(())
        } else {
            Err(log)
        }
    });
    kubelet.register(Verdict::Take);
}

#[test]
fn a_driver_that_was_killed_is_registered_by_the_next_one() {
    let place = Place::new();
    let mut kubelet = Kubelet::new(place.path("registry"));
    let mut driver = start(&place);
    kubelet.register(Verdict::Take);
    driver.kill().unwrap();
    assert!(place.path(&format!("registry/{NAME}-reg.sock")).exists());
    let _next = start(&place);
    kubelet.register(Verdict::Take);
}

#[test]
fn a_directory_that_comes_later_is_waited_for_and_controllers_are_not_registered() {
    let place = Place::new();
    let driver = start(&place);
    wait("the missing directory is told", || {
        let log = driver.log_text();
        if log.contains("kubelet cannot be told") {
            Ok(())
        } else {
            Err(log)
        }
    });
    let mut kubelet = Kubelet::new(place.path("registry"));
    kubelet.register(Verdict::Take);
    drop(driver);

    let place = Place::new();
    let mut kubelet = Kubelet::new(place.path("registry"));
    let directory = format!("--registration-dir={}", place.path("registry").display());
    let _driver = place.start(&["--controllerserver=true", &directory]);
    assert!(!kubelet.sees_a_new_socket_within(Duration::from_secs(3)));
}
