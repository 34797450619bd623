//! The containers of our own manifests, and those of ceph-csi's with another image and nothing else
//! changed: they start, serve, and say at most that a flag has no effect. What monitoring asks for is
//! exported.

use std::collections::BTreeSet;

use cuttle_testbed::{Driver, DriverOptions};

use crate::http::{free_port, served};
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

/// The driver's arguments in one of our manifests.
fn arguments(manifest: &str) -> Vec<String> {
    let path = format!(
        "{}/../../deploy/kubernetes/{manifest}",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(str::trim);
    let driver = lines.skip_while(|line| *line != "- serve").skip(1);
    let flags = driver.map_while(|line| line.strip_prefix("- \"--")?.strip_suffix('"'));
    flags.map(|flag| format!("--{flag}")).collect()
}

/// The driver as a manifest starts it, but for paths, port and name, which are a test's own.
fn started(place: &Place, manifest: &str, port: u16) -> Driver {
    let mut options = DriverOptions::new(env!("CARGO_BIN_EXE_cuttle"), place.path("driver"))
        .socket(place.socket())
        .arg("serve");
    let given = arguments(manifest);
    assert!(given.len() > 8, "{given:?}");
    for flag in given {
        let (name, value) = flag.split_once('=').unwrap();
        let own = match name {
            "--endpoint" => format!("unix://{}", place.socket().display()),
            "--registration-dir" => place.path("").display().to_string(),
            "--metricsport" => port.to_string(),
            _ => value.replace("$(NODE_ID)", "node-1"),
        };
        options = options.arg(format!("{name}={own}"));
    }
    Driver::start(&options).unwrap()
}

/// Names of metrics in a text: words that begin as ours do.
fn metrics_named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| {
        ["cuttle_", "process_", "csi_"]
            .iter()
            .any(|one| word.starts_with(one))
    });
    ours.map(str::to_owned).collect()
}

#[test]
fn our_own_containers_start_and_export_what_monitoring_asks_for() {
    let mut exported = BTreeSet::new();
    for (manifest, is_node) in [("20-controller.yaml", false), ("30-node.yaml", true)] {
        let (place, port) = (Place::new(), free_port());
        let mut driver = started(&place, manifest, port);
        let page = served(port, "/metrics");
        assert_eq!(
            page.contains("\ncuttle_kubelet_registered{"),
            is_node,
            "{manifest}"
        );
        assert!(
            !driver.log_text().contains("no effect"),
            "{}",
            driver.log_text()
        );
        let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        for (name, kind) in types.filter_map(|line| line.split_once(' ')) {
            exported.insert(name.to_owned());
            if kind == "histogram" {
                exported.extend(["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")));
            }
        }
        assert!(driver.terminate(PATIENCE).unwrap().success());
    }
    let folder = format!("{}/../../deploy/monitoring", env!("CARGO_MANIFEST_DIR"));
    for (file, least) in [("alerts.yaml", 8), ("dashboard.json", 12)] {
        let text = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
        let named = metrics_named(&text);
        assert!(named.len() >= least, "{file}: {named:?}");
        let unknown: Vec<&String> = named.difference(&exported).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}");
    }
}
