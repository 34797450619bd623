//! Whether daemons answer from here: they speak first, and their words tell the version of the
//! protocol.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ceph::Cluster;
use cuttle_host::{Answer, Host};
use cuttle_model::Monitors;
use serde_json::{Value, json};

use crate::address::{self, Configured};
use crate::report::{Check, Report, Severity, Told};

/// How long an address may take to say something.
const PATIENCE: Duration = Duration::from_secs(5);

/// As many addresses are asked at once, and no more OSDs than four times as many.
const AT_ONCE: usize = 16;
const MOST: usize = 4 * AT_ONCE;

const FIRST: &[u8] = b"ceph v0";
const SECOND: &[u8] = b"ceph v2";

/// What the monitors speak, as far as they answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Protocols {
    /// Some monitor speaks the first version.
    pub(crate) first: bool,
    /// Some monitor speaks the second version.
    pub(crate) second: bool,
}

impl Protocols {
    pub(crate) fn any(self) -> bool {
        self.first || self.second
    }
}

/// Asks every configured monitor.
pub(crate) fn monitors(
    host: &Host,
    monitors: &Monitors,
    network: Option<&Path>,
    report: &mut Report,
) -> Protocols {
    let mut spoken = Protocols::default();
    for monitor in address::configured(monitors) {
        let about = format!("monitor {}", monitor.text);
        if monitor.addresses.is_empty() {
            report.add(
                Severity::Error,
                Check::MonitorReach,
                about,
                Told::new(
                    "the name cannot be resolved here",
                    "this monitor is never reached",
                )
                .remedy(
                    "write the monitor's IP address into config.json, or mend the name service",
                ),
            );
            continue;
        }
        match ask(host, &monitor.addresses, network) {
            Ok(answers) => judge(&monitor, &answers, about, &mut spoken, report),
            Err(told) => report.add(Severity::Unknown, Check::MonitorReach, about, told),
        }
    }
    spoken
}

fn judge(
    monitor: &Configured,
    answers: &[Answer],
    about: String,
    spoken: &mut Protocols,
    report: &mut Report,
) {
    let (first, second) = (says(answers, FIRST), says(answers, SECOND));
    spoken.first |= first;
    spoken.second |= second;
    let evidence = told(&monitor.addresses, answers);
    if first || second {
        report.good(Check::MonitorReach, about, evidence);
    } else if answers
        .iter()
        .any(|answer| matches!(answer, Answer::Said(_)))
    {
        let meaning = "something answers there, and it is no Ceph monitor";
        let told = Told::new(evidence, meaning)
            .remedy("correct the monitor's address and port in config.json (`ceph mon dump`)");
        report.add(Severity::Error, Check::MonitorReach, about, told);
    } else {
        let meaning = "volumes work only as long as another monitor answers; if none does, every \
                       request ends with a time-out";
        let told = Told::new(evidence, meaning).remedy(
            "compare with `ceph mon dump`; open ports 3300 and 6789 from this network namespace, \
             controller and nodes alike",
        );
        report.add(Severity::Error, Check::MonitorReach, about, told);
    }
}

fn says(answers: &[Answer], words: &[u8]) -> bool {
    let said = |answer: &Answer| matches!(answer, Answer::Said(said) if said.starts_with(words));
    answers.iter().any(said)
}

fn told(addresses: &[SocketAddr], answers: &[Answer]) -> String {
    let lines = addresses.iter().zip(answers).map(|(address, answer)| {
        let words = match answer {
            Answer::Said(said) if said.starts_with(FIRST) => "speaks version 1".to_owned(),
            Answer::Said(said) if said.starts_with(SECOND) => "speaks version 2".to_owned(),
            Answer::Said(_) => "speaks another protocol".to_owned(),
            Answer::Nothing => "takes the connection and says nothing".to_owned(),
            Answer::Refused(errno) => format!("refuses: {errno}"),
            Answer::Silence => format!("no answer in {} s", PATIENCE.as_secs()),
        };
        format!("{address} {words}")
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// What the addresses say, in order.
fn ask(host: &Host, addresses: &[SocketAddr], network: Option<&Path>) -> Result<Vec<Answer>, Told> {
    let mut answers = Vec::new();
    for chunk in addresses.chunks(AT_ONCE) {
        let said = host.first_words(chunk, network, PATIENCE, |_words| false);
        answers.extend(said.map_err(|error| {
            Told::new(
                error.to_string(),
                "it is not known whether it can be reached from here",
            )
        })?);
    }
    Ok(answers)
}

/// Connects to the manager, OSDs and metadata servers that the maps name as up.
pub(crate) fn daemons(
    host: &Host,
    cluster: &Cluster,
    network: Option<&Path>,
    with_files: bool,
    report: &mut Report,
) {
    let mut found: Vec<(String, Vec<SocketAddr>)> = Vec::new();
    for (prefix, read) in MAPS {
        if prefix == FILES && !with_files {
            continue;
        }
        match cluster.mon_query(&json!({"prefix": prefix})) {
            Ok(reply) => found.extend(read(&reply.json)),
            // A user for images alone may not read the managers' map; they are asked by themselves.
            Err(error) if prefix == MANAGERS && error.is_denied() => {}
            Err(error) => report.add(
                Severity::Unknown,
                Check::DaemonReach,
                format!("map of `{prefix}`"),
                Told::new(error.to_string(), "where these daemons are is not known"),
            ),
        }
    }
    let all = found.len();
    found.retain(|(_, addresses)| !addresses.is_empty());
    found.truncate(MOST);
    let flat: Vec<SocketAddr> = found.iter().flat_map(|(_, list)| list.clone()).collect();
    let answers = match ask(host, &flat, network) {
        Ok(answers) => answers,
        Err(told) => return report.add(Severity::Unknown, Check::DaemonReach, "daemons", told),
    };
    let mut answers = answers.as_slice();
    let mut silent = 0_usize;
    for (name, addresses) in &found {
        let (own, rest) = answers.split_at(addresses.len().min(answers.len()));
        answers = rest;
        if says(own, FIRST) || says(own, SECOND) {
            continue;
        }
        silent += 1;
        let meaning = "requests that need this daemon hang until their time-out; with an OSD it \
                       may be one volume in many";
        let told = Told::new(told(addresses, own), meaning).remedy(
            "open ports 6800 to 7568 to all Ceph hosts from this network namespace; if the daemon \
             itself stands still, see its log",
        );
        report.add(Severity::Error, Check::DaemonReach, name.clone(), told);
    }
    if silent == 0 {
        let evidence = format!("{} of {all} daemons answer from here", found.len());
        report.good(Check::DaemonReach, "daemons", evidence);
    }
}

/// The names and addresses that one map tells.
type ReadMap = fn(&Value) -> Vec<(String, Vec<SocketAddr>)>;

const MANAGERS: &str = "mgr dump";
const FILES: &str = "fs dump";
const MAPS: [(&str, ReadMap); 3] = [
    (MANAGERS, managers),
    ("osd dump", osds),
    (FILES, metadata_servers),
];

fn managers(map: &Value) -> Vec<(String, Vec<SocketAddr>)> {
    let name = map.get("active_name").and_then(Value::as_str);
    let addresses = map.get("active_addrs").map(address::of_map);
    name.filter(|name| !name.is_empty())
        .zip(addresses)
        .map(|(name, addresses)| (format!("mgr.{name}"), addresses))
        .into_iter()
        .collect()
}

fn osds(map: &Value) -> Vec<(String, Vec<SocketAddr>)> {
    let entries = map.get("osds").and_then(Value::as_array);
    let up = entries
        .into_iter()
        .flatten()
        .filter(|osd| osd.get("up").and_then(Value::as_i64) == Some(1));
    up.filter_map(|osd| {
        let number = osd.get("osd")?.as_i64()?;
        let addresses = address::of_map(osd.get("public_addrs")?);
        Some((format!("osd.{number}"), addresses))
    })
    .collect()
}

fn metadata_servers(map: &Value) -> Vec<(String, Vec<SocketAddr>)> {
    let systems = map.get("filesystems").and_then(Value::as_array);
    let infos = systems
        .into_iter()
        .flatten()
        .filter_map(|fs| fs.pointer("/mdsmap/info")?.as_object());
    infos
        .flat_map(|info| info.values())
        .filter_map(|one| {
            let name = one.get("name")?.as_str()?;
            Some((format!("mds.{name}"), address::of_map(one.get("addrs")?)))
        })
        .collect()
}

/// Compares the configured monitors with the cluster's own map.
pub(crate) fn monitor_list(cluster: &Cluster, monitors: &Monitors, report: &mut Report) {
    const ABOUT: &str = "monitors";
    let reply = match cluster.mon_query(&json!({"prefix": "mon dump"})) {
        Ok(reply) => reply,
        Err(error) => {
            let told = Told::new(error.to_string(), "the cluster's own list is not known");
            return report.add(Severity::Unknown, Check::MonitorList, ABOUT, told);
        }
    };
    let mons = reply.json.get("mons").and_then(Value::as_array);
    let real: Vec<(String, Vec<SocketAddr>)> = mons
        .into_iter()
        .flatten()
        .filter_map(|mon| {
            let name = mon.get("name")?.as_str()?.to_owned();
            Some((name, address::of_map(mon.get("public_addrs")?)))
        })
        .collect();
    let known: Vec<SocketAddr> = real.iter().flat_map(|(_, list)| list.clone()).collect();
    let configured = address::configured(monitors);
    let is_known = |one: &&Configured| one.addresses.iter().any(|a| known.contains(a));
    let stale: Vec<&str> = configured
        .iter()
        .filter(|one| !is_known(one))
        .map(|one| one.text.as_str())
        .collect();
    let named = configured.iter().filter(is_known).count();
    let list = known.iter().map(SocketAddr::to_string).collect::<Vec<_>>();
    let evidence = format!("the cluster has {}", list.join(", "));
    if !stale.is_empty() {
        let meaning = format!(
            "{} is no monitor of this cluster any more: connecting takes longer, and fails once \
             the others are gone",
            stale.join(", ")
        );
        let told = Told::new(evidence, meaning)
            .remedy("put the cluster's addresses into `monitors` of config.json");
        report.add(Severity::Warning, Check::MonitorList, ABOUT, told);
    } else if named == 1 && real.len() > 1 {
        let meaning = "one monitor is configured of several: when it is down, nothing can connect";
        let told =
            Told::new(evidence, meaning).remedy("name all monitors in `monitors` of config.json");
        report.add(Severity::Warning, Check::MonitorList, ABOUT, told);
    } else {
        report.good(Check::MonitorList, ABOUT, evidence);
    }
}
