//! Settings: the shortest good command line, and all mistakes of bad ones.

use super::*;

const GOOD: [&str; 4] = [
    "--type=rbd",
    "--drivername=rbd.csi.ceph.com",
    "--nodeid=a",
    "--endpoint=unix:///csi/csi.sock",
];

fn settings(more: &[&str]) -> Result<Settings, CommandLineError> {
    let arguments = GOOD.iter().chain(more).map(|&argument| argument.to_owned());
    Settings::from_flags(&Given::parse(arguments))
}

fn mistakes(arguments: &[&str]) -> Vec<String> {
    let given = Given::parse(arguments.iter().map(|&a| a.to_owned()));
    let error = Settings::from_flags(&given).unwrap_err();
    error.mistakes().iter().map(ToString::to_string).collect()
}

#[test]
fn four_flags_are_enough() {
    let settings = settings(&[]).unwrap();
    let [driver] = settings.drivers.as_slice() else {
        panic!("one driver")
    };
    assert_eq!(driver.socket, Path::new("/csi/csi.sock"));
    assert!(driver.controller_service && driver.node_service);
    assert_eq!(driver.instance.as_str(), "default");
    assert_eq!(driver.cluster_name, None);
    assert_eq!(
        settings.config,
        Path::new("/etc/ceph-csi-config/config.json")
    );
    assert_eq!(settings.log.level, LevelFilter::INFO);
    assert_eq!(settings.warnings, Vec::<String>::new());
}

#[test]
fn one_service_alone_is_served_when_asked_for() {
    let driver = |more: &[&str]| settings(more).unwrap().drivers.remove(0);
    let node = driver(&["--nodeserver=true"]);
    assert!(node.node_service && !node.controller_service);
    let controller = driver(&["--controllerserver=true", "--clustername=prod"]);
    assert!(controller.controller_service && !controller.node_service);
    assert_eq!(controller.cluster_name.as_deref(), Some("prod"));
}

#[test]
fn all_mistakes_are_told_together() {
    assert_eq!(
        mistakes(&[
            "--endpoint=tcp://0.0.0.0:9000",
            "--drivername=Not_A_Name",
            "--instanceid=",
            "--rbdhardmaxclonedepth=20",
            "--rbdsoftmaxclonedepth=21",
            "--maxsnapshotsonimage=0",
            "--minsnapshotsonimage=1",
            "--log-format=xml",
            "--lane-size=0",
            "--job-timeout=0",
            "--config=config.json",
            "--inject-fault=explode@1",
        ])
        .iter()
        .map(|mistake| mistake.split_whitespace().next().unwrap())
        .collect::<Vec<_>>(),
        [
            "--type",
            "--drivername",
            "--nodeid",
            "--instanceid",
            "--endpoint",
            "--rbdhardmaxclonedepth",
            "--rbdsoftmaxclonedepth",
            "--maxsnapshotsonimage",
            "--minsnapshotsonimage",
            "--config",
            "--log-format",
            "--job-timeout",
            "--lane-size",
            "--inject-fault",
        ]
    );
}

#[test]
fn required_flags_are_named() {
    assert_eq!(
        mistakes(&[]),
        [
            "--type is required: it names the drivers to serve, such as rbd, got \"\"",
            "--drivername is required, got \"\"",
            "--nodeid is required, got \"\"",
        ]
    );
}

#[test]
fn mistakes_of_form_and_of_content_are_told_together_and_once() {
    assert_eq!(
        mistakes(&[
            "--type=rbd",
            "--drivername=a",
            "--lane-size=x",
            "--endpoint=/a",
            "--nodeid"
        ]),
        [
            "--lane-size must be a whole number from 0, got \"x\"",
            "--nodeid needs a value",
            "--endpoint must be unix://<absolute path>, got \"/a\"",
        ]
    );
}

#[test]
fn drivers_to_come_are_told_from_unknown_ones() {
    let told = |value: &str| {
        let error = settings(&[&format!("--type={value}")]).unwrap_err();
        error
            .mistakes()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ")
    };
    for kind in ["nfs", "controller", "rbd,nfs"] {
        assert!(told(kind).contains("not supported yet"), "{kind}");
    }
    assert_eq!(told("s3"), "--type must be rbd or cephfs, got \"s3\"");
    let twice = told("rbd,rbd");
    assert!(
        twice.starts_with("--type must name each driver once, got \"rbd,rbd\""),
        "{twice}"
    );
}

#[test]
fn pages_are_served_when_asked_for() {
    assert_eq!(settings(&[]).unwrap().http, None);
    let http = settings(&["--metricsport=9080"]).unwrap().http.unwrap();
    assert_eq!((http.port, http.path.as_str()), (9080, "/metrics"));
    let http = settings(&["--enableprofiling=true"]).unwrap().http.unwrap();
    assert_eq!(http.port, 8080);
    for wrong in [
        "--metricsport=0",
        "--metricsport=65536",
        "--metricspath=metrics",
        "--metricspath=/healthz",
    ] {
        settings(&[wrong]).unwrap_err();
    }
}

/// As in ceph-csi's manifests: neither a name nor a node.
#[test]
fn liveness_needs_an_endpoint_alone() {
    let read = |arguments: &[&str]| {
        Settings::from_flags(&Given::parse(arguments.iter().map(|&a| a.to_owned())))
    };
    let manifest = [
        "--type=liveness",
        "--endpoint=unix:///csi/csi.sock",
        "--metricsport=8680",
        "--metricspath=/metrics",
        "--polltime=60s",
        "--timeout=3s",
    ];
    let settings = read(&manifest).unwrap();
    let liveness = settings.liveness.unwrap();
    assert!(settings.drivers.is_empty() && settings.http.unwrap().port == 8680);
    assert_eq!(liveness.socket, Path::new("/csi/csi.sock"));
    assert_eq!(liveness.period, Duration::from_secs(60));
    let wrong = [
        "--type=liveness",
        "--endpoint=/csi",
        "--timeout=0s",
        "--polltime=0s",
    ];
    assert_eq!(read(&wrong).unwrap_err().mistakes().len(), 3);
    read(&["--type=rbd,liveness"]).unwrap_err();
}

#[test]
fn node_drivers_are_registered_where_kubelet_looks() {
    let registration = |more: &[&str]| settings(more).unwrap().drivers.remove(0).registration;
    assert_eq!(registration(&[]), None);
    let usual = registration(&["--registration-dir=/registration"]).unwrap();
    assert_eq!(
        usual.socket,
        Path::new("/registration/rbd.csi.ceph.com-reg.sock")
    );
    assert_eq!(
        usual.endpoint,
        Path::new("/var/lib/kubelet/plugins/rbd.csi.ceph.com/csi.sock")
    );
    let own = [
        "--registration-dir=/registration",
        "--kubelet-registration-path=/var/lib/k0s/kubelet/plugins/rbd/csi.sock",
    ];
    let own = registration(&own).unwrap().endpoint;
    assert_eq!(own, Path::new("/var/lib/k0s/kubelet/plugins/rbd/csi.sock"));
    let moved = [
        "--registration-dir=/r",
        "--pluginpath=/var/lib/rancher/plugins",
    ];
    let moved = registration(&moved).unwrap().endpoint;
    assert!(moved.starts_with("/var/lib/rancher/plugins"), "{moved:?}");
    let controller = ["--registration-dir=/r", "--controllerserver=true"];
    assert_eq!(registration(&controller), None);
    let long = format!("--registration-dir=/{}", "r".repeat(90));
    for (wrong, flag) in [
        (
            &["--registration-dir=registration"][..],
            "--registration-dir",
        ),
        (&[&long], "--registration-dir"),
        (
            &["--kubelet-registration-path=/a"],
            "--kubelet-registration-path",
        ),
        (
            &["--registration-dir=/r", "--kubelet-registration-path=a"],
            "--kubelet-registration-path",
        ),
    ] {
        let message = settings(wrong).unwrap_err().to_string();
        assert!(message.contains(flag), "{wrong:?}: {message}");
    }
}

#[test]
fn endpoints_are_unix_sockets() {
    let socket = |value: &str| {
        settings(&[&format!("--endpoint={value}")]).map(|s| s.drivers[0].socket.clone())
    };
    assert_eq!(
        socket("unix://csi/csi.sock").unwrap(),
        Path::new("/csi/csi.sock")
    );
    assert_eq!(
        socket("unix:////csi/csi.sock").unwrap(),
        Path::new("/csi/csi.sock")
    );
    let long = format!("unix:///{}", "x".repeat(107));
    for bad in [
        "",
        "/csi/csi.sock",
        "unix://",
        "UNIX:///a",
        "unix:///a/../b",
        "tcp://a:1",
        &long,
    ] {
        let message = socket(bad).unwrap_err().to_string();
        assert!(message.contains("--endpoint"), "{bad}: {message}");
    }
}

#[test]
fn flags_without_effect_become_warnings() {
    let warnings = settings(&["--pidlimit=-1", "--domainlabels=a/b"])
        .unwrap()
        .warnings;
    assert_eq!(
        warnings,
        [
            "--domainlabels has no effect: topology and read affinity are not supported yet",
            "--pidlimit has no effect: this is not supported yet",
        ]
    );
}

#[test]
fn verbosity_chooses_the_level() {
    for (v, level) in [
        (0, LevelFilter::INFO),
        (5, LevelFilter::DEBUG),
        (10, LevelFilter::TRACE),
    ] {
        assert_eq!(settings(&[&format!("--v={v}")]).unwrap().log.level, level);
    }
}
