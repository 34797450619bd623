//! The command line and environment of `cuttle share`, checked as a whole.
//!
//! ```text
//!  cuttle share create -n SHARE -u USER [-s BYTES]      cephfs_provisioner -n SHARE -u USER [-s BYTES]
//!  cuttle share delete -n SHARE -u USER                 cephfs_provisioner -r -n SHARE -u USER
//!  cuttle share list [--all-groups]
//! ```

use std::fmt;

use cuttle_door::FaultPlan;
use cuttle_model::{
    ByteSize, Class, Code, Credentials, Explain, Monitors, Secret, ShareGroup, ShareName,
    ShareRoot, UserId,
};
use cuttle_volumes::share::SharePlace;

use crate::key_file::read_key;

/// The name by which the caller knows the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// `cuttle share <action>`.
    Cuttle,
    /// `cephfs_provisioner`, the old tool, whose arguments name no action.
    OldTool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make a share, or give an existing one to a user.
    Create {
        /// The share.
        share: ShareName,
        /// Its user.
        user: UserId,
        /// Its quota.
        size: Option<ByteSize>,
        /// Whether its data gets a RADOS namespace of its own.
        isolated: bool,
    },
    /// Remove a share, and its user's right to it.
    Delete {
        /// The share.
        share: ShareName,
        /// Its user.
        user: UserId,
    },
    /// List shares.
    List {
        /// Those of all groups.
        every_group: bool,
    },
}

/// A checked command.
#[derive(Debug, Clone)]
pub struct ShareCommand {
    /// What is to be done.
    pub action: Action,
    /// Where the shares are.
    pub place: SharePlace,
    /// The cluster's monitors.
    pub monitors: Monitors,
    /// Who asks.
    pub credentials: Credentials,
    /// The name of the cluster's file in `/etc/ceph`.
    pub cluster_name: String,
    /// Faults to inject; for tests.
    pub faults: FaultPlan,
}

/// All mistakes of a command line and its environment.
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

impl Explain for UsageError {
    fn code(&self) -> Code {
        Code::new(1109)
    }

    fn class(&self) -> Class {
        Class::Invalid
    }

    fn remedy(&self) -> Option<std::borrow::Cow<'static, str>> {
        Some("docs/shares.md explains arguments and environment".into())
    }
}

impl ShareCommand {
    /// Reads the arguments after the program's name (and `share`), and the environment.
    ///
    /// # Errors
    /// All mistakes together.
    ///
    /// # Blocking
    /// Reads the key file, if one is named.
    pub fn read(
        caller: Caller,
        arguments: &[String],
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, UsageError> {
        let mut check = Check {
            mistakes: Vec::new(),
            environment,
        };
        let words = check.words(caller, arguments);
        let action = check.action(&words);
        let place = check.place();
        let monitors = check.monitors();
        let credentials = check.credentials(words.key_file.as_deref());
        let cluster_name = check.cluster_name();
        let faults = match FaultPlan::parse(words.faults.as_deref().unwrap_or_default()) {
            Ok(faults) => faults,
            Err(error) => {
                check.wrong(format!("--inject-fault is no plan of faults ({error})"));
                FaultPlan::none()
            }
        };
        match (action, place, monitors, credentials) {
            (Some(action), Some(place), Some(monitors), Some(credentials))
                if check.mistakes.is_empty() =>
            {
                Ok(Self {
                    action,
                    place,
                    monitors,
                    credentials,
                    cluster_name,
                    faults,
                })
            }
            _ => Err(UsageError {
                mistakes: check.mistakes,
            }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Create,
    Delete,
    List,
}

/// The arguments as given.
#[derive(Debug, Default)]
struct Words {
    verb: Option<Verb>,
    share: Option<String>,
    user: Option<String>,
    size: Option<String>,
    key_file: Option<String>,
    faults: Option<String>,
    every_group: bool,
}

/// Reads and gathers what is wrong.
struct Check<'a> {
    mistakes: Vec<String>,
    environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Check<'_> {
    fn wrong(&mut self, mistake: impl Into<String>) {
        self.mistakes.push(mistake.into());
    }

    /// A checked value, or a noted mistake.
    fn take<T, E: fmt::Display>(&mut self, name: &str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(format!("{name}: {error}"));
                None
            }
        }
    }

    fn words(&mut self, caller: Caller, arguments: &[String]) -> Words {
        let mut words = Words::default();
        let mut arguments = arguments.iter().map(String::as_str);
        if caller == Caller::OldTool {
            words.verb = Some(Verb::Create);
        } else {
            words.verb = match arguments.next() {
                Some("create") => Some(Verb::Create),
                Some("delete") => Some(Verb::Delete),
                Some("list") => Some(Verb::List),
                _ => {
                    self.wrong("the first argument must be create, delete or list");
                    None
                }
            };
        }
        while let Some(argument) = arguments.next() {
            self.word(caller, &mut words, argument, &mut arguments);
        }
        words
    }

    fn word<'a>(
        &mut self,
        caller: Caller,
        words: &mut Words,
        argument: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) {
        match argument {
            "-r" | "--remove" if caller == Caller::OldTool => {
                words.verb = Some(Verb::Delete);
                return;
            }
            "--all-groups" => {
                words.every_group = true;
                return;
            }
            _ => {}
        }
        let long = [
            ("--key-file=", &mut words.key_file),
            ("--inject-fault=", &mut words.faults),
        ];
        for (prefix, place) in long {
            if let Some(value) = argument.strip_prefix(prefix) {
                *place = Some(value.to_owned());
                return;
            }
        }
        let short = [
            ("-n", &mut words.share),
            ("-u", &mut words.user),
            ("-s", &mut words.size),
        ];
        for (name, place) in short {
            // As with getopt the value may follow without a space.
            let Some(value) = argument.strip_prefix(name) else {
                continue;
            };
            match Some(value)
                .filter(|value| !value.is_empty())
                .or_else(|| rest.next())
            {
                Some(value) => *place = Some(value.to_owned()),
                None => self.wrong(format!("{name} needs a value")),
            }
            return;
        }
        let shown = cuttle_model::names::shorten(argument);
        self.wrong(format!("\"{shown}\" is not a known argument"));
    }

    fn action(&mut self, words: &Words) -> Option<Action> {
        let verb = words.verb?;
        if verb == Verb::List {
            for (name, value) in [
                ("-n", &words.share),
                ("-u", &words.user),
                ("-s", &words.size),
            ] {
                if value.is_some() {
                    self.wrong(format!("{name} means nothing to list"));
                }
            }
            return Some(Action::List {
                every_group: words.every_group,
            });
        }
        if words.every_group {
            self.wrong("--all-groups is for list alone");
        }
        let share = self.required("-n", words.share.as_deref(), ShareName::new);
        let user = self.required("-u", words.user.as_deref(), UserId::new);
        let size = words.size.as_deref().and_then(|text| self.size(text));
        Some(match verb {
            Verb::Create => Action::Create {
                share: share?,
                user: user?,
                size,
                // As with the old tool it counts that the variable is there.
                isolated: (self.environment)("CEPH_NAMESPACE_ISOLATION_DISABLED").is_none(),
            },
            Verb::Delete | Verb::List => Action::Delete {
                share: share?,
                user: user?,
            },
        })
    }

    fn required<T, E: fmt::Display>(
        &mut self,
        name: &str,
        value: Option<&str>,
        check: fn(String) -> Result<T, E>,
    ) -> Option<T> {
        match value {
            Some(value) => self.take(name, check(value.to_owned())),
            None => {
                self.wrong(format!("{name} is required"));
                None
            }
        }
    }

    fn size(&mut self, text: &str) -> Option<ByteSize> {
        let bytes: Option<u64> = text.parse().ok().filter(|&bytes| bytes > 0);
        // The quota is a signed number.
        let size = bytes.filter(|&bytes| i64::try_from(bytes).is_ok());
        if size.is_none() {
            self.wrong("-s must be a number of bytes from 1 to 2^63 - 1");
        }
        size.map(ByteSize::from_bytes)
    }

    fn place(&mut self) -> Option<SharePlace> {
        let value = |name, usual: &str| {
            let given = (self.environment)(name);
            given.unwrap_or_else(|| usual.to_owned())
        };
        let (root, group) = (
            value("CEPH_VOLUME_ROOT", "/volumes"),
            value("CEPH_VOLUME_GROUP", "kubernetes"),
        );
        let root = self.take("CEPH_VOLUME_ROOT", ShareRoot::new(root));
        let group = self.take("CEPH_VOLUME_GROUP", ShareGroup::new(group));
        Some(SharePlace {
            root: root?,
            group: group?,
        })
    }

    fn monitors(&mut self) -> Option<Monitors> {
        let Some(text) = (self.environment)("CEPH_MON") else {
            self.wrong("CEPH_MON is required: the monitors' addresses, separated by commas");
            return None;
        };
        let addresses = text.split(',').map(|address| address.trim().to_owned());
        self.take("CEPH_MON", Monitors::new(addresses.collect()))
    }

    fn credentials(&mut self, key_file: Option<&str>) -> Option<Credentials> {
        let user = (self.environment)("CEPH_AUTH_ID");
        let user = self.required("CEPH_AUTH_ID", user.as_deref(), UserId::new);
        let key = match (key_file, (self.environment)("CEPH_AUTH_KEY")) {
            (Some(file), _) => self.take("--key-file", read_key(file)),
            (None, Some(key)) => Some(Secret::new(key)),
            (None, None) => {
                self.wrong("CEPH_AUTH_KEY or --key-file=<path> is required");
                None
            }
        };
        Some(Credentials {
            user: user?,
            key: key?,
        })
    }

    fn cluster_name(&mut self) -> String {
        let name = (self.environment)("CEPH_CLUSTER_NAME").unwrap_or_else(|| "ceph".to_owned());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(is_plain) {
            self.wrong("CEPH_CLUSTER_NAME must be letters, digits, '-', '_' and '.'");
        }
        name
    }
}

#[cfg(test)]
mod tests;
