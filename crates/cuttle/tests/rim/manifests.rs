//! The containers of ceph-csi's own manifests, with another image and nothing else changed: they
//! start, serve, and say at most that a flag has no effect.

use cuttle_testbed::Driver;

use crate::program::{PATIENCE, Place, wait};

/// What the manifests of RBD give, but for the paths, which are a test's own.
const PROVISIONER: [&str; 11] = [
    "--nodeid=node-1",
    "--type=rbd",
    "--controllerserver=true",
    "--csi-addons-endpoint=unix:///csi/csi-addons.sock",
    "--v=5",
    "--drivername=rbd.csi.ceph.com",
    "--pidlimit=-1",
    "--rbdhardmaxclonedepth=8",
    "--rbdsoftmaxclonedepth=4",
    "--enableprofiling=false",
    "--setmetadata=true",
];
const NODE: [&str; 9] = [
    "--nodeid=node-1",
    "--pluginpath=/var/lib/kubelet/plugins",
    "--stagingpath=/var/lib/kubelet/plugins/kubernetes.io/csi/",
    "--type=rbd",
    "--nodeserver=true",
    "--csi-addons-endpoint=unix:///csi/csi-addons.sock",
    "--v=5",
    "--drivername=rbd.csi.ceph.com",
    "--enableprofiling=false",
];

fn starts(arguments: &[&str]) {
    let place = Place::new();
    let options = place.bare(arguments).socket(place.socket());
    let mut driver = Driver::start(&options).unwrap();
    // The socket takes connections a little before.
    wait("it serves", || {
        let log = driver.log_text();
        if log.contains("serving") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert!(driver.terminate(PATIENCE).unwrap().success());
}

#[test]
fn the_containers_of_rbd_start_unchanged() {
    starts(&PROVISIONER);
    starts(&NODE);
}
