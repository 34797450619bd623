//! The command line of `cuttle doctor`, checked as a whole.

use std::fmt;
use std::path::{Path, PathBuf};

use cuttle_doctor::{ClusterPlan, NodePlan, Purpose};
use cuttle_model::{ClusterId, ClusterSettings, Credentials, FsName, NameError, PoolName, UserId};

use super::output::Form;
use crate::key_file::read_key;

/// How to call it.
pub const USAGE: &str = "\
Usage: cuttle doctor cluster [--cluster=<id>] [--pool=<name>]… [--data-pool=<name>]… [--fs=<name>]…
                     [--user=<name> --key-file=<file>|--credentials=<directory>]
                     [--for=provisioner|node] [--config=<file>] [-o table|json]
       cuttle doctor node [--kubelet-dir=<directory>] [--registration-dir=<directory>]
                     [--ceph-conf=<file>] [-o table|json]
       cuttle doctor class <file>|- [--config=<file>] [-o table|json]

Exit status: 0 when nothing is worse than a warning, 1 when something will fail, 2 when something
could not be looked at, 64 for a wrong command line. docs/doctor.md lists all checks.
";

const CONFIG: &str = "/etc/ceph-csi-config/config.json";

/// What is to be looked at, and how it is told.
#[derive(Debug, Clone)]
pub struct DoctorCommand {
    /// The thing.
    pub subject: Subject,
    /// Where the clusters are configured.
    pub config: PathBuf,
    /// The form of the answer.
    pub form: Form,
}

/// What is to be looked at.
#[derive(Debug, Clone)]
pub enum Subject {
    /// Clusters of the configuration.
    Cluster(Box<Wanted>),
    /// This node.
    Node(NodePlan),
    /// The classes in a file.
    Class(PathBuf),
}

/// What of clusters is to be looked at.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// One cluster, or all.
    pub id: Option<ClusterId>,
    credentials: Option<Credentials>,
    purpose: Purpose,
    pools: Vec<PoolName>,
    data_pools: Vec<PoolName>,
    file_systems: Vec<FsName>,
}

impl Wanted {
    /// The plan for one of the clusters.
    #[must_use]
    pub fn plan(&self, settings: ClusterSettings) -> ClusterPlan {
        ClusterPlan {
            settings,
            credentials: self.credentials.clone(),
            purpose: self.purpose,
            pools: self.pools.clone(),
            data_pools: self.data_pools.clone(),
            file_systems: self.file_systems.clone(),
        }
    }
}

/// All mistakes of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    mistakes: Vec<String>,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.mistakes.join("\n  "))
    }
}

impl std::error::Error for UsageError {}

impl DoctorCommand {
    /// Reads the arguments after `doctor`; `None` when help is asked for.
    ///
    /// # Errors
    /// All mistakes together.
    ///
    /// # Blocking
    /// Reads the key, if a file is named.
    pub fn read(arguments: &[String]) -> Result<Option<Self>, UsageError> {
        if arguments
            .iter()
            .any(|one| matches!(one.as_str(), "-h" | "--help" | "help"))
        {
            return Ok(None);
        }
        let mut check = Check::default();
        let given = check.given(arguments);
        let form = check.form(&given);
        let config = check.path(&given, "--config", CONFIG);
        let subject = match given.words.split_first() {
            Some((&"cluster", [])) => check.cluster(&given),
            Some((&"node", [])) => check.node(&given),
            Some((&"class", [file])) => {
                check.allow(&given, &["--config"]);
                Some(Subject::Class(PathBuf::from(file)))
            }
            Some((&"class", _)) => {
                check.wrong("class needs one file, or - for standard input");
                None
            }
            Some((&("cluster" | "node"), [extra, ..])) => {
                check.wrong(format!("\"{extra}\" means nothing here"));
                None
            }
            _ => {
                check.wrong("the first argument must be cluster, node or class");
                None
            }
        };
        match subject {
            Some(subject) if check.mistakes.is_empty() => Ok(Some(Self {
                subject,
                config,
                form,
            })),
            _ => Err(UsageError {
                mistakes: check.mistakes,
            }),
        }
    }
}

/// The arguments as given: words, and options with their values.
#[derive(Debug, Default)]
struct Given<'a> {
    words: Vec<&'a str>,
    options: Vec<(&'a str, &'a str)>,
}

impl<'a> Given<'a> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.options
            .iter()
            .filter(move |(given, _)| *given == name)
            .map(|(_, value)| *value)
    }

    fn last(&self, name: &str) -> Option<&'a str> {
        self.all(name).last()
    }
}

/// Reads and gathers what is wrong.
#[derive(Debug, Default)]
struct Check {
    mistakes: Vec<String>,
}

impl Check {
    fn wrong(&mut self, mistake: impl Into<String>) {
        self.mistakes.push(mistake.into());
    }

    fn given<'a>(&mut self, arguments: &'a [String]) -> Given<'a> {
        let mut given = Given::default();
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            if argument == "-" || !argument.starts_with('-') {
                given.words.push(argument);
                continue;
            }
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (argument, arguments.next()),
            };
            match value {
                Some(value) => given.options.push((name, value)),
                None => self.wrong(format!("{name} needs a value")),
            }
        }
        given
    }

    /// Complains of options that are not among these and not for all subjects.
    fn allow(&mut self, given: &Given<'_>, known: &[&str]) {
        for (name, _) in &given.options {
            if !known.contains(name) && !matches!(*name, "-o" | "--output") {
                let shown = cuttle_model::names::shorten(name);
                self.wrong(format!("{shown} is not known here"));
            }
        }
    }

    fn form(&mut self, given: &Given<'_>) -> Form {
        match given.last("-o").or_else(|| given.last("--output")) {
            None | Some("table") => Form::Table,
            Some("json") => Form::Json,
            Some(_) => {
                self.wrong("-o must be table or json");
                Form::Table
            }
        }
    }

    fn path(&mut self, given: &Given<'_>, name: &str, usual: &str) -> PathBuf {
        PathBuf::from(given.last(name).unwrap_or(usual))
    }

    fn name<T>(
        &mut self,
        option: &str,
        value: &str,
        read: fn(String) -> Result<T, NameError>,
    ) -> Option<T> {
        match read(value.to_owned()) {
            Ok(name) => Some(name),
            Err(error) => {
                self.wrong(format!("{option}: {}", error.rule()));
                None
            }
        }
    }

    fn names<T>(
        &mut self,
        given: &Given<'_>,
        option: &str,
        read: fn(String) -> Result<T, NameError>,
    ) -> Vec<T> {
        let names = given
            .all(option)
            .map(|value| self.name(option, value, read));
        names.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    fn node(&mut self, given: &Given<'_>) -> Option<Subject> {
        self.allow(
            given,
            &["--kubelet-dir", "--registration-dir", "--ceph-conf"],
        );
        let usual = NodePlan::default();
        let kubelet = given.last("--kubelet-dir").map(PathBuf::from);
        let registration = given.last("--registration-dir").map(PathBuf::from);
        let below = kubelet
            .as_ref()
            .map(|kubelet| kubelet.join("plugins_registry"));
        // Where our manifests mount it.
        let mounted = Some(PathBuf::from("/registration")).filter(|path| path.exists());
        Some(Subject::Node(NodePlan {
            kubelet: kubelet.unwrap_or(usual.kubelet),
            registration: registration
                .or(mounted)
                .or(below)
                .unwrap_or(usual.registration),
            ceph_conf: given
                .last("--ceph-conf")
                .map_or(usual.ceph_conf, PathBuf::from),
        }))
    }

    fn cluster(&mut self, given: &Given<'_>) -> Option<Subject> {
        self.allow(
            given,
            &[
                "--cluster",
                "--pool",
                "--data-pool",
                "--fs",
                "--user",
                "--key-file",
                "--credentials",
                "--for",
                "--config",
            ],
        );
        let id = given
            .last("--cluster")
            .map(|id| self.name("--cluster", id, ClusterId::new));
        let purpose = match given.last("--for") {
            None | Some("provisioner") => Purpose::Provisioner,
            Some("node") => Purpose::Node,
            Some(_) => {
                self.wrong("--for must be provisioner or node");
                Purpose::Provisioner
            }
        };
        let file_systems = self.names(given, "--fs", FsName::new);
        Some(Subject::Cluster(Box::new(Wanted {
            id: id.flatten(),
            credentials: self.credentials(given, purpose, !file_systems.is_empty()),
            purpose,
            pools: self.names(given, "--pool", PoolName::new),
            data_pools: self.names(given, "--data-pool", PoolName::new),
            file_systems,
        })))
    }

    fn credentials(
        &mut self,
        given: &Given<'_>,
        purpose: Purpose,
        is_for_files: bool,
    ) -> Option<Credentials> {
        let (user, key) = match (
            given.last("--credentials"),
            given.last("--user"),
            given.last("--key-file"),
        ) {
            (None, None, None) => return None,
            (None, Some(user), Some(key)) => (Ok(user.to_owned()), key.to_owned()),
            (Some(directory), None, None) => {
                let directory = Path::new(directory);
                let admin = directory.join("adminID");
                let by_admin = is_for_files && purpose == Purpose::Provisioner && admin.exists();
                let (id, key) = if by_admin || !directory.join("userID").exists() {
                    ("adminID", "adminKey")
                } else {
                    ("userID", "userKey")
                };
                let user = read_text(&directory.join(id));
                (user, directory.join(key).display().to_string())
            }
            _ => {
                self.wrong("give --user and --key-file, or --credentials alone");
                return None;
            }
        };
        let user = match user {
            Ok(user) => self.name("--user", &user, UserId::new),
            Err(error) => {
                self.wrong(format!("--credentials: {error}"));
                None
            }
        };
        match read_key(&key) {
            Ok(key) => Some(Credentials { user: user?, key }),
            Err(error) => {
                self.wrong(format!("the key cannot be read: {error}"));
                None
            }
        }
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    Ok(std::fs::read_to_string(path)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Option<DoctorCommand>, String> {
        let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
        DoctorCommand::read(&arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let error = read(&["cluster", "more", "--for=both", "-o", "yaml"]).unwrap_err();
        assert!(error.contains("\"more\" means nothing here"), "{error}");
        assert!(error.contains("-o must be table or json"), "{error}");
        let error = read(&[
            "cluster",
            "--for=both",
            "--pool=",
            "--user=a",
            "--kubelet-dir=/",
        ]);
        let error = error.unwrap_err();
        for word in [
            "--for must be",
            "--pool:",
            "give --user and",
            "--kubelet-dir is not known",
        ] {
            assert!(error.contains(word), "{word}: {error}");
        }
        for wrong in [
            &["class"][..],
            &["class", "a", "b"],
            &[],
            &["everything"],
            &["node", "--fs"],
        ] {
            read(wrong).unwrap_err();
        }
    }

    #[test]
    fn options_take_their_value_in_both_ways_and_some_repeat() {
        let command = read(&[
            "cluster",
            "--pool=a",
            "--pool",
            "b",
            "--cluster=x",
            "-o=json",
        ]);
        let command = command.unwrap().unwrap();
        assert_eq!(command.form, Form::Json);
        assert_eq!(command.config, Path::new(CONFIG));
        let Subject::Cluster(wanted) = command.subject else {
            panic!("no cluster");
        };
        assert_eq!(wanted.pools.len(), 2);
        assert_eq!(wanted.id, Some(ClusterId::new("x").unwrap()));
        assert!(read(&["node", "--help"]).unwrap().is_none());
    }

    #[test]
    fn kubelet_s_directory_tells_where_plugins_register() {
        let command = read(&["node", "--kubelet-dir=/k"]).unwrap().unwrap();
        let Subject::Node(plan) = command.subject else {
            panic!("no node");
        };
        assert_eq!(plan.registration, Path::new("/k/plugins_registry"));
    }
}
