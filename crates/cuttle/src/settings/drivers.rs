//! The drivers of a process: kinds, names, sockets, and how kubelet learns of them.
//!
//! Several drivers are given as lists with commas, in the order of `--type`.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use cuttle_model::{DriverName, InstanceId, NameError, NodeId};
use cuttle_volumes::CloneLimits;

use super::{Check, DriverKind, DriverSettings, RegistrationSettings};
use crate::flags::Given;

/// The kernel's sun_path holds 108 bytes with the closing zero.
const LONGEST_SOCKET: usize = 107;

/// Reads all drivers; what is wrong is noted, and an incomplete list then means nothing.
pub(super) fn drivers(check: &mut Check<'_>) -> Vec<DriverSettings> {
    let kinds = check.kinds();
    let count = check.given.text("type").split(',').count();
    let names = check.names(count);
    let node = check.name("nodeid", NodeId::new);
    let instance = check.name("instanceid", InstanceId::new);
    let sockets = check.sockets(count);
    let registrations = check.registrations(&names);
    let given = check.given;
    // ceph-csi serves both when neither is asked for.
    let (controller, node_server) = (given.switch("controllerserver"), given.switch("nodeserver"));
    let both = !controller && !node_server;
    let (Some(node), Some(instance)) = (node, instance) else {
        return Vec::new();
    };
    let parts = kinds.into_iter().zip(names).zip(sockets).zip(registrations);
    parts
        .map(|(((kind, name), socket), registration)| DriverSettings {
            kind,
            name,
            socket,
            node: node.clone(),
            instance: instance.clone(),
            controller_service: controller || both,
            node_service: node_server || both,
            registration: registration.filter(|_| node_server || both),
            cluster_name: Some(given.text("clustername").to_owned())
                .filter(|name| !name.is_empty()),
            set_metadata: given.switch("setmetadata"),
            clone_limits: clone_limits(given),
            fuse_mount_options: given.text("fusemountoptions").to_owned(),
        })
        .collect()
}

/// The limits; what is out of bounds is noted elsewhere.
fn clone_limits(given: &Given) -> CloneLimits {
    let number = |name| usize::try_from(given.number(name)).unwrap_or(0);
    CloneLimits {
        hard_depth: number("rbdhardmaxclonedepth"),
        soft_depth: number("rbdsoftmaxclonedepth"),
        most_snapshots: number("maxsnapshotsonimage"),
        least_snapshots: number("minsnapshotsonimage"),
    }
}

impl Check<'_> {
    /// The kinds named by `--type`.
    fn kinds(&mut self) -> Vec<DriverKind> {
        let text = self.given.text("type");
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        let mut kinds = Vec::new();
        for word in &words {
            match *word {
                "rbd" => kinds.push(DriverKind::Rbd),
                "cephfs" => kinds.push(DriverKind::Cephfs),
                "" => self.wrong(
                    "type",
                    "is required: it names the drivers to serve, such as rbd",
                ),
                "liveness" => self.wrong("type", "must be liveness alone, or drivers"),
                "nfs" | "controller" => {
                    self.wrong("type", format!("names {word}, which is not supported yet"));
                }
                _ => self.wrong("type", "must be rbd or cephfs"),
            }
        }
        let distinct: BTreeSet<&str> = words.iter().copied().collect();
        if distinct.len() < words.len() {
            self.wrong("type", "must name each driver once");
        }
        kinds
    }

    /// The values of a flag, one for each driver. A single driver's value may have commas.
    fn each(&mut self, flag: &'static str, count: usize) -> Vec<&str> {
        let text = self.given.text(flag);
        if count == 1 {
            return vec![text];
        }
        let values: Vec<&str> = text.split(',').map(str::trim).collect();
        if values.len() == count {
            return values;
        }
        self.wrong(
            flag,
            format!("must have {count} values separated by commas, one for each driver of --type"),
        );
        Vec::new()
    }

    fn names(&mut self, count: usize) -> Vec<DriverName> {
        const FLAG: &str = "drivername";
        let texts: Vec<String> = self
            .each(FLAG, count)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let mut names: Vec<DriverName> = Vec::new();
        for text in texts {
            match DriverName::new(text.as_str()) {
                Ok(name) if names.contains(&name) => {
                    self.wrong(FLAG, "must be another name for each driver");
                }
                Ok(name) => names.push(name),
                Err(_) if text.is_empty() => self.wrong(FLAG, "is required"),
                Err(error) => self.wrong(FLAG, NameError::rule(&error).to_owned()),
            }
        }
        names
    }

    fn sockets(&mut self, count: usize) -> Vec<PathBuf> {
        const FLAG: &str = "endpoint";
        let texts: Vec<String> = self
            .each(FLAG, count)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let mut sockets: Vec<PathBuf> = Vec::new();
        for text in texts {
            match socket(&text) {
                Ok(path) if sockets.contains(&path) => {
                    self.wrong(FLAG, "must be another socket for each driver");
                }
                Ok(path) => sockets.push(path),
                Err(rule) => self.wrong(FLAG, rule),
            }
        }
        sockets
    }

    /// How kubelet learns of each driver, if it is this process that tells it.
    fn registrations(&mut self, names: &[DriverName]) -> Vec<Option<RegistrationSettings>> {
        const FLAG: &str = "kubelet-registration-path";
        let none = || names.iter().map(|_| None).collect();
        if self.given.text("registration-dir").is_empty() {
            if self.given.has(FLAG) {
                self.wrong(
                    FLAG,
                    "needs --registration-dir, where kubelet looks for sockets",
                );
            }
            return none();
        }
        let directory = self.path("registration-dir");
        let endpoints: Vec<PathBuf> = if self.given.has(FLAG) {
            let texts = self.each(FLAG, names.len());
            texts.into_iter().map(PathBuf::from).collect()
        } else {
            let plugins = self.path("pluginpath");
            let usual = |name: &DriverName| plugins.join(name.as_str()).join("csi.sock");
            names.iter().map(usual).collect()
        };
        let mut registrations = Vec::new();
        for (name, endpoint) in names.iter().zip(endpoints) {
            let socket = directory.join(format!("{name}-reg.sock"));
            if socket.as_os_str().len() > LONGEST_SOCKET {
                let rule =
                    format!("must leave room for {name}-reg.sock within {LONGEST_SOCKET} bytes");
                self.wrong("registration-dir", rule);
            }
            if !is_plain(&endpoint) || endpoint.as_os_str().len() > LONGEST_SOCKET {
                self.wrong(
                    FLAG,
                    format!(
                        "must be an absolute path of at most {LONGEST_SOCKET} bytes without \"..\""
                    ),
                );
            }
            registrations.push(Some(RegistrationSettings { socket, endpoint }));
        }
        registrations
    }
}

/// The path of a `unix://` endpoint, or the rule it breaks. As with ceph-csi what follows is
/// absolute even without a third slash.
pub(super) fn socket(endpoint: &str) -> Result<PathBuf, String> {
    if endpoint.starts_with("tcp://") {
        return Err(
            "must be unix://<path>: a TCP port has no access control, and whoever reaches it \
             could delete volumes"
                .to_owned(),
        );
    }
    let rest = endpoint.strip_prefix("unix://").unwrap_or_default();
    if rest.is_empty() {
        return Err("must be unix://<absolute path>".to_owned());
    }
    let path = PathBuf::from(format!("/{}", rest.trim_start_matches('/')));
    if path.as_os_str().len() > LONGEST_SOCKET {
        return Err(format!(
            "must have a path of at most {LONGEST_SOCKET} bytes"
        ));
    }
    if !is_plain(&path) || path.ends_with("/") {
        return Err("must name a socket by an absolute path without \"..\"".to_owned());
    }
    Ok(path)
}

fn is_plain(path: &Path) -> bool {
    let climbs = |part: Component<'_>| matches!(part, Component::ParentDir);
    path.is_absolute() && !path.components().any(climbs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Given;

    /// The drivers' settings beside their kinds, as if each kind of `--type` were served.
    fn read(arguments: &[&str]) -> (Vec<DriverName>, Vec<PathBuf>, Vec<String>) {
        let given = Given::parse(arguments.iter().map(|&argument| argument.to_owned()));
        let mut check = Check {
            given: &given,
            wrong: Vec::new(),
        };
        let (names, sockets) = (check.names(2), check.sockets(2));
        let wrong = check.wrong.iter().map(ToString::to_string).collect();
        (names, sockets, wrong)
    }

    #[test]
    fn several_drivers_are_lists_in_the_order_of_their_kinds() {
        let (names, sockets, wrong) = read(&[
            "--drivername=a.x, b.x",
            "--endpoint=unix:///a.sock,unix:///b.sock",
        ]);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(
            names.iter().map(DriverName::as_str).collect::<Vec<_>>(),
            ["a.x", "b.x"]
        );
        assert_eq!(sockets, [Path::new("/a.sock"), Path::new("/b.sock")]);
    }

    #[test]
    fn lists_are_complete_and_their_members_differ() {
        let (_, _, wrong) = read(&["--drivername=a.x", "--endpoint=unix:///a,unix:////a"]);
        assert_eq!(
            wrong,
            [
                "--drivername must have 2 values separated by commas, one for each driver of \
                 --type, got \"a.x\"",
                "--endpoint must be another socket for each driver, got \"unix:///a,unix:////a\"",
            ]
        );
        let (_, _, wrong) = read(&["--drivername=a.x,", "--endpoint=unix:///a,tcp://b:1"]);
        assert!(
            wrong[0].starts_with("--drivername is required"),
            "{wrong:?}"
        );
        assert!(
            wrong[1].contains("a TCP port has no access control"),
            "{wrong:?}"
        );
    }
}
