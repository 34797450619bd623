//! What the command line asks for, checked as a whole.

mod drivers;

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use cuttle_door::FaultPlan;
use cuttle_model::{Class, Code, DriverName, Explain, InstanceId, NameError, NodeId};
use cuttle_volumes::CloneLimits;
use tracing::level_filters::LevelFilter;

use crate::flags::{FlagError, Given};

/// What `cuttle serve` is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The drivers to serve; none with [`Settings::liveness`].
    pub drivers: Vec<DriverSettings>,
    /// The file that lists the clusters.
    pub config: PathBuf,
    /// How to log.
    pub log: LogSettings,
    /// How long one operation may take.
    pub job_timeout: Duration,
    /// How long one call to Ceph may take.
    pub ceph_timeout: Duration,
    /// How long running work may take to end after a signal.
    pub drain_timeout: Duration,
    /// Operations at once for each cluster.
    pub lane_size: u16,
    /// Faults to inject, for tests.
    pub faults: FaultPlan,
    /// Where metrics and health are served; `None` when nobody asked for them.
    pub http: Option<HttpSettings>,
    /// What to probe, when that is all there is to do; there are no drivers then.
    pub liveness: Option<LivenessSettings>,
    /// What deserves a warning at start.
    pub warnings: Vec<String>,
}

/// One driver and where it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverSettings {
    /// The kind of volumes.
    pub kind: DriverKind,
    /// Its CSI name.
    pub name: DriverName,
    /// Its socket.
    pub socket: PathBuf,
    /// The node this process runs on.
    pub node: NodeId,
    /// The suffix of the journal's directory objects.
    pub instance: InstanceId,
    /// Whether the Controller service is served.
    pub controller_service: bool,
    /// Whether the Node service is served.
    pub node_service: bool,
    /// How kubelet learns of it; `None` when something else tells kubelet.
    pub registration: Option<RegistrationSettings>,
    /// The name of the Kubernetes cluster, written on images.
    pub cluster_name: Option<String>,
    /// Whether the names of claim and volume are written on images.
    pub set_metadata: bool,
    /// How deep clones may be stacked, and how many snapshots an image may have.
    pub clone_limits: CloneLimits,
    /// Mount options of ceph-fuse for clusters whose entry has none.
    pub fuse_mount_options: String,
}

/// How kubelet learns of a driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationSettings {
    /// The socket on which kubelet asks, in the directory that kubelet watches.
    pub socket: PathBuf,
    /// The driver's own socket by the path that kubelet knows it by.
    pub endpoint: PathBuf,
}

/// Where metrics and health are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The port.
    pub port: u16,
    /// The path of the metrics.
    pub path: String,
    /// How long a driver may take to say that it is well.
    pub probe_limit: Duration,
}

/// What `--type=liveness` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivenessSettings {
    /// The socket of the driver to probe.
    pub socket: PathBuf,
    /// How often.
    pub period: Duration,
    /// How long it may take to answer.
    pub limit: Duration,
}

/// The kind of volumes a driver makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverKind {
    /// RBD images.
    Rbd,
    /// CephFS subvolumes.
    Cephfs,
}

/// How the program logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// The form of a line.
    pub format: LogFormat,
    /// What is logged.
    pub level: LevelFilter,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// All mistakes of a command line; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLineError {
    mistakes: Vec<FlagError>,
}

impl CommandLineError {
    /// The mistakes, one sentence each.
    #[must_use]
    pub fn mistakes(&self) -> &[FlagError] {
        &self.mistakes
    }
}

impl fmt::Display for CommandLineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mistakes.as_slice() {
            [only] => write!(f, "a mistake on the command line: {only}"),
            all => {
                write!(f, "{} mistakes on the command line:", all.len())?;
                all.iter()
                    .try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}

impl std::error::Error for CommandLineError {}

impl Explain for CommandLineError {
    fn code(&self) -> Code {
        Code::new(1101)
    }
    fn class(&self) -> Class {
        Class::Invalid
    }
    fn remedy(&self) -> Option<std::borrow::Cow<'static, str>> {
        Some("cuttle serve --help lists all flags".into())
    }
}

impl Settings {
    /// Checks the given flags as a whole.
    ///
    /// # Errors
    /// All mistakes together, those of form first.
    pub fn from_flags(given: &Given) -> Result<Self, CommandLineError> {
        let mut check = Check {
            given,
            wrong: given.mistakes().to_vec(),
        };
        let is_liveness = given.text("type") == "liveness";
        let (drivers, liveness) = if is_liveness {
            (Vec::new(), check.liveness())
        } else {
            (drivers::drivers(&mut check), None)
        };
        let http = check.http(is_liveness);
        check_clone_limits(&mut check);
        let settings = Self {
            drivers,
            config: check.path("config"),
            log: LogSettings {
                format: check.log_format(),
                level: level(given.number("v")),
            },
            job_timeout: check.timeout("job-timeout"),
            ceph_timeout: check.timeout("ceph-timeout"),
            drain_timeout: given.duration("drain-timeout"),
            lane_size: check.lane_size(),
            faults: check.faults(),
            http,
            liveness,
            warnings: warnings(given),
        };
        if check.wrong.is_empty() {
            Ok(settings)
        } else {
            Err(CommandLineError {
                mistakes: check.wrong,
            })
        }
    }
}

/// Reads flags and gathers what is wrong with them.
struct Check<'a> {
    given: &'a Given,
    wrong: Vec<FlagError>,
}

impl Check<'_> {
    /// Notes a mistake, unless the flag's form was wrong already: its default is not to blame.
    fn wrong(&mut self, name: &'static str, rule: impl Into<String>) {
        if self.given.is_broken(name) {
            return;
        }
        self.wrong
            .push(FlagError::value(name, rule, self.given.text(name)));
    }

    fn name<T>(
        &mut self,
        flag: &'static str,
        check: fn(String) -> Result<T, NameError>,
    ) -> Option<T> {
        let text = self.given.text(flag);
        match check(text.to_owned()) {
            Ok(name) => Some(name),
            Err(_) if text.is_empty() => {
                self.wrong(flag, "is required");
                None
            }
            Err(error) => {
                self.wrong(flag, error.rule());
                None
            }
        }
    }

    fn path(&mut self, flag: &'static str) -> PathBuf {
        let path = Path::new(self.given.text(flag));
        let climbs = path
            .components()
            .any(|part| matches!(part, Component::ParentDir));
        if !path.is_absolute() || climbs {
            self.wrong(flag, "must be an absolute path without \"..\"");
        }
        path.to_owned()
    }

    fn timeout(&mut self, flag: &'static str) -> Duration {
        let timeout = self.given.duration(flag);
        if timeout < Duration::from_secs(1) {
            self.wrong(
                flag,
                "must be at least 1s: without a limit a call could hang for ever",
            );
        }
        timeout
    }

    fn lane_size(&mut self) -> u16 {
        let size = u16::try_from(self.given.number("lane-size")).unwrap_or(0);
        if !(1..=256).contains(&size) {
            self.wrong("lane-size", "must be 1 to 256");
        }
        size
    }

    fn log_format(&mut self) -> LogFormat {
        match self.given.text("log-format") {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => {
                self.wrong("log-format", "must be text or json");
                LogFormat::Text
            }
        }
    }

    /// The pages, when they were asked for: by the port, by ceph-csi's switch for its own pages, or
    /// because there is nothing else to do.
    fn http(&mut self, is_liveness: bool) -> Option<HttpSettings> {
        let wanted =
            is_liveness || self.given.has("metricsport") || self.given.switch("enableprofiling");
        let port = u16::try_from(self.given.number("metricsport")).unwrap_or(0);
        if port == 0 {
            self.wrong("metricsport", "must be 1 to 65535");
        }
        let path = self.given.text("metricspath");
        if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
            self.wrong("metricspath", "must be a path that begins with '/'");
        } else if matches!(path, "/healthz" | "/readyz") {
            self.wrong("metricspath", "must not be the path of another page");
        }
        wanted.then(|| HttpSettings {
            port,
            path: path.to_owned(),
            probe_limit: self.given.duration("timeout"),
        })
    }

    fn liveness(&mut self) -> Option<LivenessSettings> {
        let (period, limit) = (self.timeout("polltime"), self.given.duration("timeout"));
        if limit.is_zero() {
            self.wrong("timeout", "must be more than 0");
        }
        match drivers::socket(self.given.text("endpoint")) {
            Ok(socket) => Some(LivenessSettings {
                socket,
                period,
                limit,
            }),
            Err(rule) => {
                self.wrong("endpoint", rule);
                None
            }
        }
    }

    fn faults(&mut self) -> FaultPlan {
        match FaultPlan::parse(self.given.text("inject-fault")) {
            Ok(plan) => plan,
            Err(error) => {
                self.wrong("inject-fault", format!("is no plan of faults ({error})"));
                FaultPlan::none()
            }
        }
    }
}

fn check_clone_limits(check: &mut Check<'_>) {
    let number = |name| check.given.number(name);
    let (hard, soft) = (
        number("rbdhardmaxclonedepth"),
        number("rbdsoftmaxclonedepth"),
    );
    let (most, least) = (number("maxsnapshotsonimage"), number("minsnapshotsonimage"));
    if !(1..=14).contains(&hard) {
        check.wrong("rbdhardmaxclonedepth", "must be 1 to 14");
    }
    if soft > hard {
        check.wrong(
            "rbdsoftmaxclonedepth",
            format!("must be at most the hard limit of {hard}"),
        );
    }
    if !(1..=500).contains(&most) {
        check.wrong("maxsnapshotsonimage", "must be 1 to 500");
    }
    if least > most {
        check.wrong(
            "minsnapshotsonimage",
            format!("must be at most --maxsnapshotsonimage, which is {most}"),
        );
    }
}

/// The level for klog's verbosity. ceph-csi's manifests run with 5, its level for traces of single
/// calls, which is what our debug events are.
fn level(verbosity: i64) -> LevelFilter {
    match verbosity {
        ..=3 => LevelFilter::INFO,
        4..=5 => LevelFilter::DEBUG,
        6.. => LevelFilter::TRACE,
    }
}

fn warnings(given: &Given) -> Vec<String> {
    let mut warnings: Vec<String> = given
        .without_effect()
        .map(|(name, reason)| format!("--{name} has no effect: {reason}"))
        .collect();
    if given.has("inject-fault") {
        warnings.push("--inject-fault is given: outside calls fail on purpose".to_owned());
    }
    warnings
}

#[cfg(test)]
mod tests;
