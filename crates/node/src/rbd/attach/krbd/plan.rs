//! The exact arguments of `rbd` for mapping and unmapping an image through the kernel.
//!
//! Pure: what goes in decides what comes out, so the plan is tested word for word. The key is not
//! among the arguments; `rbd` reads it from the file that the caller names, and whoever lists the
//! processes sees a path.

use std::path::Path;

use crate::rbd::image_spec::ImageSpec;

/// The program that maps images, and the one that enters another network namespace first.
const RBD: &str = "rbd";
const NSENTER: &str = "nsenter";

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// The program, found on the fixed search path.
    pub(super) program: String,
    /// Its arguments, in order.
    pub(super) arguments: Vec<String>,
}

/// Everything that decides how an image is mapped.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapPlan<'a> {
    /// The image.
    pub(super) image: &'a ImageSpec,
    /// The Ceph user, without `client.`.
    pub(super) user: &'a str,
    /// The monitors, joined by commas.
    pub(super) monitors: &'a str,
    /// A file from which `rbd` reads the user's key.
    pub(super) key_file: &'a Path,
    /// Map options for krbd (`lock_on_read,queue_depth=1024`); empty for none.
    pub(super) options: &'a str,
    /// Map read-only.
    pub(super) read_only: bool,
    /// A network namespace to map in.
    pub(super) network_namespace: Option<&'a Path>,
}

/// The command that maps an image; it prints the device's path.
#[must_use]
pub(super) fn map(plan: &MapPlan<'_>) -> CommandLine {
    let mut arguments = vec![
        "--id".to_owned(),
        plan.user.to_owned(),
        "-m".to_owned(),
        plan.monitors.to_owned(),
        format!("--keyfile={}", plan.key_file.display()),
        "map".to_owned(),
        plan.image.to_string(),
        "--device-type".to_owned(),
        "krbd".to_owned(),
        // Without udev in the container `rbd` would wait for it for ever, with the image mapped.
        "--options".to_owned(),
        "noudev".to_owned(),
    ];
    if !plan.options.is_empty() {
        arguments.extend(["--options".to_owned(), plan.options.to_owned()]);
    }
    if plan.read_only {
        arguments.push("--read-only".to_owned());
    }
    match plan.network_namespace {
        None => CommandLine {
            program: RBD.to_owned(),
            arguments,
        },
        Some(namespace) => {
            let mut entered = vec![
                format!("--net={}", namespace.display()),
                "--".to_owned(),
                RBD.to_owned(),
            ];
            entered.append(&mut arguments);
            CommandLine {
                program: NSENTER.to_owned(),
                arguments: entered,
            }
        }
    }
}

/// The command that unmaps a device.
///
/// It names the device rather than the image: the same image may be mapped twice (read-only), and
/// after a change of the pool's name only the device is still right.
#[must_use]
pub(super) fn unmap(device: &Path, options: &str) -> CommandLine {
    let mut arguments = vec![
        "unmap".to_owned(),
        device.display().to_string(),
        "--device-type".to_owned(),
        "krbd".to_owned(),
        "--options".to_owned(),
        "noudev".to_owned(),
    ];
    if !options.is_empty() {
        arguments.extend(["--options".to_owned(), options.to_owned()]);
    }
    CommandLine {
        program: RBD.to_owned(),
        arguments,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbd::image_spec::for_test;

    fn image(namespace: &str) -> ImageSpec {
        for_test("replicapool", namespace, "csi-vol-1", None)
    }

    fn words(command: &CommandLine) -> String {
        let mut words = vec![command.program.clone()];
        words.extend(command.arguments.iter().cloned());
        words.join(" ")
    }

    #[test]
    fn a_plain_map() {
        let image = image("");
        let plan = MapPlan {
            image: &image,
            user: "csi-rbd-node",
            monitors: "10.0.0.1:6789,10.0.0.2:6789",
            key_file: Path::new("/proc/self/fd/0"),
            options: "",
            read_only: false,
            network_namespace: None,
        };
        assert_eq!(
            words(&map(&plan)),
            "rbd --id csi-rbd-node -m 10.0.0.1:6789,10.0.0.2:6789 --keyfile=/proc/self/fd/0 \
             map replicapool/csi-vol-1 --device-type krbd --options noudev"
        );
    }

    #[test]
    fn a_map_with_everything() {
        let image = image("tenant");
        let plan = MapPlan {
            image: &image,
            user: "node",
            monitors: "mon",
            key_file: Path::new("/proc/self/fd/0"),
            options: "lock_on_read,queue_depth=1024",
            read_only: true,
            network_namespace: Some(Path::new("/run/netns/storage")),
        };
        assert_eq!(
            words(&map(&plan)),
            "nsenter --net=/run/netns/storage -- rbd --id node -m mon --keyfile=/proc/self/fd/0 \
             map replicapool/tenant/csi-vol-1 --device-type krbd --options noudev \
             --options lock_on_read,queue_depth=1024 --read-only"
        );
    }

    #[test]
    fn unmapping() {
        let device = Path::new("/dev/rbd3");
        assert_eq!(
            words(&unmap(device, "")),
            "rbd unmap /dev/rbd3 --device-type krbd --options noudev"
        );
        assert_eq!(
            words(&unmap(device, "force")),
            "rbd unmap /dev/rbd3 --device-type krbd --options noudev --options force"
        );
    }
}
