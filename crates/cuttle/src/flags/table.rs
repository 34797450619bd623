//! Every flag: its name, kind, default, meaning, and whether it has an effect.

use super::parse_duration;

/// The form of a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// True or false; alone it means true.
    Switch,
    /// A whole number that may be negative.
    Number,
    /// A whole number from 0.
    Count,
    /// A duration in Go's form.
    Duration,
}

impl Kind {
    /// Checks a value; the error is the rule it breaks.
    pub(super) fn check(self, value: &str) -> Result<(), String> {
        let broken = match self {
            Self::Text => None,
            Self::Switch => switch(value).is_none().then_some("must be true or false"),
            Self::Number => number(value).is_none().then_some("must be a whole number"),
            Self::Count => number(value)
                .is_none_or(|number| number < 0)
                .then_some("must be a whole number from 0"),
            Self::Duration => parse_duration(value).err(),
        };
        broken.map_or(Ok(()), |rule| Err(rule.to_owned()))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Switch => "switch",
            Self::Number | Self::Count => "number",
            Self::Duration => "duration",
        }
    }
}

/// A truth value as Go's `strconv.ParseBool` reads it.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A whole number as Go's `strconv.ParseInt` with base 0 reads it: decimal, or with 0x, 0o, 0b.
pub(super) fn number(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((radix, lower.strip_prefix(prefix)?)))
        .unwrap_or((10, &lower));
    if !digits.chars().next()?.is_ascii_alphanumeric() {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// Whether a flag changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does what its meaning says.
    Acted,
    /// It is accepted and changes nothing, for this reason.
    None(&'static str),
}

/// One flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// The form of its value.
    pub kind: Kind,
    /// The value when it is not given.
    pub default: &'static str,
    /// What it is for.
    pub meaning: &'static str,
    /// Whether it does that.
    pub effect: Effect,
    /// Whether it is one of our own and unknown to ceph-csi.
    pub own: bool,
    /// Whether help leaves it out.
    pub hidden: bool,
}

const LATER: Effect = Effect::None("this is not supported yet");
const KERNEL_CEPHFS: Effect =
    Effect::None("nodes mount CephFS by ceph-fuse alone; the kernel's client is not supported yet");
const TOPOLOGY: Effect = Effect::None("topology and read affinity are not supported yet");
const FLATTEN_ON_NODE: Effect =
    Effect::None("a node never flattens: it refuses an image with features that its kernel lacks");
const PROFILING: Effect =
    Effect::None("there are no such pages; it serves --metricspath as --metricsport does");
const CONTROLLER: Effect = Effect::None("--type=controller is not supported yet");
const ADDONS: Effect = Effect::None("CSI-Addons is not supported yet");
const KLOG: Effect = Effect::None("logs go to standard error; see --v and --log-format");

const fn flag(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    effect: Effect,
    meaning: &'static str,
) -> Flag {
    Flag {
        name,
        kind,
        default,
        meaning,
        effect,
        own: false,
        hidden: false,
    }
}

const fn own(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Flag {
    Flag {
        name,
        kind,
        default,
        meaning,
        effect: Effect::Acted,
        own: true,
        hidden: false,
    }
}

/// All flags, in alphabetical order.
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    flag("add_dir_header", Kind::Switch, "false", KLOG, "klog: file directory in log headers"),
    flag("alsologtostderr", Kind::Switch, "false", KLOG, "klog: log to files and standard error"),
    own("ceph-timeout", Kind::Duration, "30s", "longest time one call to Ceph may take; at least 1s"),
    flag("clustername", Kind::Text, "", Effect::Acted, "name of the Kubernetes cluster, written on images as csi.ceph.com/cluster/name"),
    own("config", Kind::Text, "/etc/ceph-csi-config/config.json", "the file that lists the Ceph clusters"),
    flag("controllerserver", Kind::Switch, "false", Effect::Acted, "serve the Controller service; with neither this nor --nodeserver both are served"),
    flag("crush-location-labels", Kind::Text, "", TOPOLOGY, "node labels that make up the CRUSH location"),
    flag("csi-addons-endpoint", Kind::Text, "unix:///tmp/csi-addons.sock", ADDONS, "listen address of the CSI-Addons service"),
    flag("domainlabels", Kind::Text, "", TOPOLOGY, "node labels that form the topology"),
    own("drain-timeout", Kind::Duration, "25s", "how long running work may take to end after SIGTERM"),
    flag("drivername", Kind::Text, "", Effect::Acted, "CSI name of the driver; required. For several drivers of --type, a list with commas in their order; so with --endpoint and --kubelet-registration-path"),
    flag("drivernamespace", Kind::Text, "default", CONTROLLER, "namespace of the leader election's Lease"),
    flag("enableprofiling", Kind::Switch, "false", PROFILING, "serve Go's profiling pages"),
    flag("enable-read-affinity", Kind::Switch, "false", TOPOLOGY, "read from near OSDs"),
    flag("endpoint", Kind::Text, "unix:///tmp/csi.sock", Effect::Acted, "listen address, unix://<absolute path>"),
    flag("forcecephkernelclient", Kind::Switch, "false", KERNEL_CEPHFS, "use the kernel's CephFS client on old kernels"),
    flag("fusemountoptions", Kind::Text, "", Effect::Acted, "mount options of ceph-fuse, for clusters whose entry has no cephFS.fuseMountOptions"),
    Flag { hidden: true, ..own("inject-fault", Kind::Text, "", "testing only: faults at the n-th outside call, such as kill@7 or fail@3:rbd.create=EIO") },
    flag("instanceid", Kind::Text, "default", Effect::Acted, "suffix of the journal's directory objects"),
    own("job-timeout", Kind::Duration, "15m", "longest time one operation may take; at least 1s"),
    flag("kernelmountoptions", Kind::Text, "", KERNEL_CEPHFS, "mount options of the kernel's CephFS client"),
    own("kubelet-registration-path", Kind::Text, "", "the driver's socket by the path that kubelet knows it by; <pluginpath>/<drivername>/csi.sock when not given"),
    own("lane-size", Kind::Count, "16", "operations that run at once for each Ceph cluster, 1 to 256"),
    flag("log_backtrace_at", Kind::Text, "", KLOG, "klog: backtrace at file:line"),
    flag("log_dir", Kind::Text, "", KLOG, "klog: directory of log files"),
    flag("log_file", Kind::Text, "", KLOG, "klog: log file"),
    flag("log_file_max_size", Kind::Count, "1800", KLOG, "klog: largest log file in MiB"),
    own("log-format", Kind::Text, "text", "text or json"),
    flag("logslowopinterval", Kind::Duration, "30s", LATER, "repeat interval of the log lines about slow calls"),
    flag("logtostderr", Kind::Switch, "true", KLOG, "klog: log to standard error"),
    flag("maxsnapshotsonimage", Kind::Count, "450", Effect::Acted, "snapshots that an image may have, 1 to 500; another one is refused until clones are flattened"),
    flag("metricspath", Kind::Text, "/metrics", Effect::Acted, "HTTP path of the metrics"),
    flag("metricsport", Kind::Number, "8080", Effect::Acted, "HTTP port of metrics and health; a driver serves them only when this is given"),
    flag("minsnapshotsonimage", Kind::Count, "250", Effect::Acted, "snapshots on an image from which on the clones of the oldest are flattened, at most --maxsnapshotsonimage"),
    flag("nodeid", Kind::Text, "", Effect::Acted, "name of this node; required"),
    flag("nodeserver", Kind::Switch, "false", Effect::Acted, "serve the Node service"),
    flag("one_output", Kind::Switch, "false", KLOG, "klog: write to the exact severity's file only"),
    flag("pidlimit", Kind::Number, "0", LATER, "process limit of the cgroup; -1 for the most"),
    flag("pluginpath", Kind::Text, "/var/lib/kubelet/plugins", Effect::Acted, "directory of kubelet's plugins, by kubelet's path; see --kubelet-registration-path"),
    flag("polltime", Kind::Duration, "60s", Effect::Acted, "interval of the liveness probe"),
    flag("radosnamespacecephfs", Kind::Text, "", Effect::None("cephFS.radosNamespace in config.json counts, as for current ceph-csi"), "RADOS namespace of the CephFS journal"),
    flag("rbdhardmaxclonedepth", Kind::Count, "8", Effect::Acted, "clone depth at which a flatten must end first, 1 to 14"),
    flag("rbdsoftmaxclonedepth", Kind::Count, "4", Effect::Acted, "clone depth at which flattening begins, at most --rbdhardmaxclonedepth"),
    own("registration-dir", Kind::Text, "", "the directory in which kubelet looks for plugins; when given, the node's drivers are registered with kubelet"),
    Flag { effect: Effect::None("no such file is kept so far"), ..own("rundir", Kind::Text, "/run/cuttle", "directory for files that last until the next boot") },
    flag("setmetadata", Kind::Switch, "false", Effect::Acted, "write the names of claim and volume on images"),
    flag("skipforceflatten", Kind::Switch, "false", FLATTEN_ON_NODE, "no flattening for kernels without deep-flatten"),
    flag("skip_headers", Kind::Switch, "false", KLOG, "klog: no headers in log lines"),
    flag("skip_log_headers", Kind::Switch, "false", KLOG, "klog: no headers in log files"),
    flag("stagingpath", Kind::Text, "/var/lib/kubelet/plugins/kubernetes.io/csi/", LATER, "root of staging paths, for healing rbd-nbd volumes"),
    flag("stderrthreshold", Kind::Text, "2", KLOG, "klog: severity that goes to standard error"),
    flag("timeout", Kind::Duration, "3s", Effect::Acted, "time-out of a probe: of --type=liveness, and of /healthz and /readyz"),
    flag("type", Kind::Text, "", Effect::Acted, "drivers to serve, separated by commas: rbd, cephfs; or liveness alone; nfs and controller are not supported yet"),
    flag("v", Kind::Number, "0", Effect::Acted, "verbosity: 0 to 3 information, 4 and 5 each outside call, from 6 everything"),
    flag("version", Kind::Switch, "false", Effect::Acted, "print versions and exit"),
    flag("vmodule", Kind::Text, "", KLOG, "klog: verbosity of single files"),
];

/// The page `docs/flags.md`, which a test holds against [`FLAGS`].
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(HEAD);
    for (title, wanted) in [("ceph-csi's flags", false), ("Cuttle's own flags", true)] {
        page.push_str(&format!(
            "\n## {title}\n\n| Flag | Kind | Default | Meaning | Effect |\n|---|---|---|---|---|\n"
        ));
        for flag in FLAGS.iter().filter(|flag| flag.own == wanted) {
            let default = if flag.default.is_empty() {
                String::from("empty")
            } else {
                format!("`{}`", flag.default)
            };
            let effect = match flag.effect {
                Effect::Acted if flag.hidden => "yes (testing only, not in `--help`)",
                Effect::Acted => "yes",
                Effect::None(reason) => reason,
            };
            page.push_str(&format!(
                "| `--{}` | {} | {default} | {} | {effect} |\n",
                flag.name,
                flag.kind.name(),
                flag.meaning,
            ));
        }
    }
    page
}

const HEAD: &str = "\
# Flags

`cuttle serve <flags>` takes the command line of ceph-csi unchanged. The same happens when the program is called
`cephcsi` or when flags come first (`cuttle --type=rbd …`), so that a manifest needs nothing but another image.

Flags are written as Go writes them: one dash or two, `--name=value` or `--name value`. A switch takes its value only
after `=`; alone it means true. Numbers may be decimal, `0x…`, `0o…` or `0b…`; durations are written as `1m30s` or
`500ms`. The last of several counts. Unlike Go, an argument that is no flag is a mistake rather than the end of the
flags.

All mistakes of a command line are told at once, and the program ends with exit status 64. A flag whose effect column
does not say \"yes\" is accepted and changes nothing; when it is given with another value than its default, a warning
at start says so.

This page is made from the table in the program by `UPDATE_DOCS=1 cargo nextest run -p cuttle reference_page`.
";
