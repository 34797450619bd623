//! The command line: Go's forms, ceph-csi's names, and every mistake told.

use proptest::prelude::*;

use super::*;

fn parse(arguments: &[&str]) -> Result<Given, Vec<FlagError>> {
    let given = Given::parse(arguments.iter().map(|&argument| argument.to_owned()));
    if given.mistakes().is_empty() {
        Ok(given)
    } else {
        Err(given.mistakes().to_vec())
    }
}

fn mistakes(arguments: &[&str]) -> Vec<String> {
    parse(arguments)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn one_dash_or_two_and_both_ways_of_giving_a_value() {
    for arguments in [
        &["--nodeid=a"][..],
        &["-nodeid=a"],
        &["--nodeid", "a"],
        &["-nodeid", "a"],
        &["--nodeid=b", "--nodeid=a"],
    ] {
        assert_eq!(
            parse(arguments).unwrap().text("nodeid"),
            "a",
            "{arguments:?}"
        );
    }
    assert_eq!(parse(&["--nodeid=a=b"]).unwrap().text("nodeid"), "a=b");
    assert_eq!(parse(&["--nodeid="]).unwrap().text("nodeid"), "");
    assert_eq!(
        parse(&["--nodeid", "--v=1"]).unwrap().text("nodeid"),
        "--v=1"
    );
}

#[test]
fn switches_take_their_value_only_after_an_equals_sign() {
    assert!(parse(&["--nodeserver"]).unwrap().switch("nodeserver"));
    assert!(parse(&["--nodeserver=T"]).unwrap().switch("nodeserver"));
    assert!(!parse(&["--nodeserver=false"]).unwrap().switch("nodeserver"));
    assert_eq!(
        mistakes(&["--nodeserver", "true"]),
        ["\"true\" is no flag: flags begin with '-' and switches take their value as --name=true"]
    );
    assert_eq!(
        mistakes(&["--nodeserver=yes"]),
        ["--nodeserver must be true or false, got \"yes\""]
    );
}

#[test]
fn defaults_stand_in_for_flags_not_given() {
    let given = parse(&[]).unwrap();
    assert_eq!(given.text("endpoint"), "unix:///tmp/csi.sock");
    assert_eq!(given.number("rbdhardmaxclonedepth"), 8);
    assert_eq!(
        given.duration("polltime"),
        std::time::Duration::from_secs(60)
    );
    assert!(!given.has("endpoint"));
    assert_eq!(given.without_effect().count(), 0);
}

#[test]
fn numbers_read_as_in_go() {
    for (text, value) in [("7", 7), ("-1", -1), ("0x10", 16), ("0b11", 3), ("+5", 5)] {
        assert_eq!(
            parse(&[&format!("--pidlimit={text}")])
                .unwrap()
                .number("pidlimit"),
            value
        );
    }
    for text in ["", "a", "1.5", "--1", "+-1", "0x", "9223372036854775808"] {
        assert_eq!(
            mistakes(&[&format!("--pidlimit={text}")]).len(),
            1,
            "{text}"
        );
    }
    assert_eq!(
        mistakes(&["--maxsnapshotsonimage=-1"]),
        ["--maxsnapshotsonimage must be a whole number from 0, got \"-1\""]
    );
}

#[test]
fn every_mistake_is_told_at_once() {
    assert_eq!(
        mistakes(&[
            "--nodeId=a",
            "stray",
            "--polltime=1",
            "---x",
            "-",
            "--=1",
            "--endpoint"
        ]),
        [
            "--nodeId is not a known flag; did you mean --nodeid?",
            "\"stray\" is no flag: flags begin with '-' and switches take their value as \
             --name=true",
            "--polltime must be a duration such as 30s, 1m30s or 500ms, got \"1\"",
            "\"---x\" is no flag: flags begin with '-' and switches take their value as --name=true",
            "\"-\" is no flag: flags begin with '-' and switches take their value as --name=true",
            "\"--=1\" is no flag: flags begin with '-' and switches take their value as --name=true",
            "--endpoint needs a value",
        ]
    );
}

#[test]
fn flags_without_effect_are_told_only_when_they_ask_for_something() {
    let given = parse(&["--pidlimit=-1", "--metricspath=/metrics", "--log_dir=/x"]).unwrap();
    let names: Vec<_> = given.without_effect().map(|(name, _)| name).collect();
    assert_eq!(names, ["log_dir", "pidlimit"]);
}

#[test]
fn the_table_is_sorted_and_its_defaults_are_of_their_kind() {
    let names: Vec<_> = FLAGS
        .iter()
        .map(|f| f.name.replace(['-', '_'], ""))
        .collect();
    let mut sorted = names.clone();
    sorted.sort_by_key(|name| name.to_lowercase());
    sorted.dedup();
    assert_eq!(names, sorted);
    for flag in FLAGS {
        assert_eq!(flag.kind.check(flag.default), Ok(()), "{}", flag.name);
    }
}

/// The command lines of ceph-csi's manifests for RBD.
#[test]
fn the_arguments_of_ceph_csis_manifests_are_taken() {
    let node = [
        "--nodeid=node-1",
        "--pluginpath=/var/lib/kubelet/plugins",
        "--stagingpath=/var/lib/kubelet/plugins/kubernetes.io/csi/",
        "--type=rbd",
        "--nodeserver=true",
        "--endpoint=unix:///csi/csi.sock",
        "--csi-addons-endpoint=unix:///csi/csi-addons.sock",
        "--v=5",
        "--drivername=rbd.csi.ceph.com",
        "--enableprofiling=false",
        "--domainlabels=failure-domain/region,failure-domain/zone",
        "--enable-read-affinity=true",
        "--crush-location-labels=topology.io/zone,topology.io/rack",
    ];
    assert_eq!(parse(&node).unwrap().number("v"), 5);
    let controller = [
        "--nodeid=node-1",
        "--type=rbd",
        "--controllerserver=true",
        "--endpoint=unix:///csi/csi-provisioner.sock",
        "--csi-addons-endpoint=unix:///csi/csi-addons.sock",
        "--v=5",
        "--drivername=rbd.csi.ceph.com",
        "--pidlimit=-1",
        "--rbdhardmaxclonedepth=8",
        "--rbdsoftmaxclonedepth=4",
        "--enableprofiling=false",
        "--setmetadata=true",
        "--logslowopinterval=30s",
    ];
    assert!(parse(&controller).unwrap().switch("setmetadata"));
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "UPDATE_DOCS is a switch of this test alone"
)]
fn reference_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/flags.md");
    let page = reference_page();
    if std::env::var("UPDATE_DOCS").is_ok() {
        std::fs::write(path, &page).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        found, page,
        "run UPDATE_DOCS=1 cargo nextest run -p cuttle reference_page"
    );
}

proptest! {
    #[test]
    fn hostile_arguments_never_panic(
        arguments in proptest::collection::vec(
            prop_oneof![any::<String>(), "--?[a-z_-]{0,12}=?[0-9a-z.-]{0,12}"], 0..8,
        )
    ) {
        let given = Given::parse(arguments);
        // Whatever was wrong, the rest can be asked for.
        for flag in FLAGS {
            prop_assert!(flag.kind.check(given.text(flag.name)).is_ok());
        }
    }
}
