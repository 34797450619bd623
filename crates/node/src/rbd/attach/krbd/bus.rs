//! Mapping through the kernel's own interface, without a program.
//!
//! The program `rbd` does the same after it has loaded Ceph's libraries and made a connection of
//! its own, which costs ten times what the mapping does. It is left what only it can do: monitors
//! that are host names, options of its own, a kernel that keeps no keys.

use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cuttle_door::job;
use cuttle_host::{Answer, Errno, Error as HostError, Host, RbdMap};
use cuttle_model::SecretBytes;

use super::monitors::{self, Choice, Monitor, Protocol};
use super::words;
use crate::host_failure::HostFailure;
use crate::rbd::attach::error::MapEnd;
use crate::rbd::attach::{AttachError, AttachOrder};

/// How long monitors may take to say their first words.
const FIRST_WORDS: Duration = Duration::from_secs(4);

/// How long the kernel waits for a monitor that has just spoken, in seconds; its own default of 60
/// outlasts what callers wait.
const MOUNT_TIMEOUT: u32 = 30;

/// Who speaks of mapping in the kernel's log.
const SPEAKERS: [&str; 2] = ["libceph", "rbd"];

/// Everything the kernel is told of an image.
#[derive(Debug)]
pub(super) struct BusMap<'a> {
    order: &'a AttachOrder<'a>,
    options: Vec<String>,
    monitors: Vec<Monitor>,
    asked: Option<Protocol>,
    key: SecretBytes,
    /// What names the key, and through it this mapping.
    mark: String,
}

impl<'a> BusMap<'a> {
    /// What to tell the kernel; `None` when this is work for the program.
    pub(super) fn of(order: &'a AttachOrder<'a>, options: &str) -> Option<Self> {
        let image = &order.stash.image;
        let words = [
            order.credentials.user.as_str(),
            image.pool.as_str(),
            image.namespace.as_str(),
            image.image.as_str(),
        ];
        // The kernel splits what it is told at spaces, and options at commas.
        let is_plain = |word: &&str| !word.contains(|c: char| c.is_whitespace() || c == ',');
        if !words.iter().all(is_plain) {
            return None;
        }
        let options: Vec<String> = options
            .split(',')
            .map(str::trim)
            // These are the program's own.
            .filter(|option| !["", "udev", "noudev"].contains(option))
            .map(str::to_owned)
            .collect();
        let asked = monitors::asked_for(&options.join(","));
        let monitors = monitors::read(&order.cluster.monitors)?;
        Some(Self {
            order,
            monitors: monitors::worth_asking(&monitors, asked),
            options,
            asked,
            key: order.credentials.key.decoded()?,
            mark: mark(),
        })
    }

    /// How the mapping can be told from others of the same image.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    /// Maps the image. `false` when the kernel keeps no keys, so that the program must do it.
    pub(super) fn run(&self, host: &Host, limit: Duration) -> Result<bool, AttachError> {
        let image = &self.order.stash.image;
        let namespace = self.order.cluster.rbd.net_namespace_file.as_deref();
        let choice = self.choice(host)?;
        let line = self.line(&choice);
        let key_name = CString::new(self.mark.as_str()).unwrap_or_default();
        let map = RbdMap {
            line: &line,
            key_name: &key_name,
            key: self.key.expose(),
            network_namespace: namespace,
            limit,
        };
        let mut log = host.kernel_log();
        let error = match host.rbd_add(image, &map) {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        let HostError::Call { step, errno, .. } = &error else {
            return Err(HostFailure::at("map", image)(error).into());
        };
        match *step {
            "add_key" => return Ok(false),
            "write" => {}
            _ => return Err(HostFailure::at("map", image)(error).into()),
        }
        let lines = log.since(&SPEAKERS);
        let (image, said) = (image.to_string(), words::shown(&lines));
        Err(match words::lacking(&lines) {
            Some(lacking) => AttachError::ProtocolTooOld {
                image,
                lacking: lacking.to_string(),
                remedy: lacking.remedy(),
                said,
            },
            None => AttachError::MapFailed {
                image,
                end: MapEnd::Kernel(*errno),
                said,
            },
        })
    }

    /// Asks the monitors which protocol they speak. The kernel itself would wait a minute for one
    /// that does not answer, and say nothing.
    fn choice(&self, host: &Host) -> Result<Choice, AttachError> {
        let image = &self.order.stash.image;
        let addresses: Vec<_> = self.monitors.iter().map(|one| one.address).collect();
        let limit = job::remaining().map_or(FIRST_WORDS, |left| left.min(FIRST_WORDS));
        let answers = host.first_words(
            &addresses,
            self.order.cluster.rbd.net_namespace_file.as_deref(),
            limit,
            monitors::enough(self.asked),
        );
        let answers: Vec<Answer> = answers.map_err(HostFailure::at("map", image))?;
        monitors::choose(&self.monitors, &answers, self.asked).ok_or_else(|| {
            AttachError::MonitorsMute {
                image: image.to_string(),
                answers: monitors::told(&self.monitors, &answers),
                others_speak: answers.iter().any(|one| matches!(one, Answer::Said(_))),
            }
        })
    }

    /// `monitors options pool image snapshot`, as Documentation/ABI/testing/sysfs-bus-rbd has it.
    fn line(&self, choice: &Choice) -> String {
        let image = &self.order.stash.image;
        let each = choice.addresses.iter().map(ToString::to_string);
        let monitors = each.collect::<Vec<_>>().join(",");
        let user = self.order.credentials.user.as_str();
        let mut options = vec![format!("name={user}"), format!("key={}", self.mark)];
        options.extend(self.options.iter().cloned());
        if self.asked.is_none() && choice.protocol == Protocol::Second {
            options.push("ms_mode=prefer-crc".to_owned());
        }
        let has = |name: &str| self.options.iter().any(|option| option.starts_with(name));
        if !has("mount_timeout=") {
            options.push(format!("mount_timeout={MOUNT_TIMEOUT}"));
        }
        if self.order.read_only {
            options.push("read_only".to_owned());
        }
        if !image.namespace.as_str().is_empty() {
            options.push(format!("_pool_ns={}", image.namespace));
        }
        let options = options.join(",");
        format!("{monitors} {options} {} {} -", image.pool, image.image)
    }
}

/// Whether the kernel can unmap with these options.
#[must_use]
pub(super) fn unmaps_with(options: &str) -> Option<bool> {
    let mut force = false;
    for option in options.split(',').map(str::trim) {
        match option {
            "force" => force = true,
            "" | "udev" | "noudev" => {}
            _ => return None,
        }
    }
    Some(force)
}

/// What an unmapping that the kernel refused ended with.
pub(super) fn refused(error: &HostError) -> Option<Errno> {
    let HostError::Call { step, errno, .. } = error else {
        return None;
    };
    (*step == "write").then_some(*errno)
}

/// A name that no other mapping of this machine has.
fn mark() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = since.unwrap_or_default().as_nanos();
    format!("cuttle-{}-{now:x}-{number}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_force_reaches_the_kernel_when_it_unmaps() {
        assert_eq!(unmaps_with(""), Some(false));
        assert_eq!(unmaps_with("noudev,force"), Some(true));
        assert_eq!(unmaps_with("force,options=x"), None);
    }

    #[test]
    fn marks_differ() {
        assert_ne!(mark(), mark());
    }
}
