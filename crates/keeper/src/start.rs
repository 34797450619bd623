//! Starting ceph-fuse, and telling when its mount works.
//!
//! ceph-fuse mounts before it has reached the cluster, so a mount in the table is not enough: it
//! must answer a question about its root. What ceph-fuse prints decides nothing.

use std::time::{Duration, Instant};

use cuttle_host::{
    AttendedProgram, DeviceNumber, Error as HostError, Exit, Host, Limits, Mount, Program,
    RunningProgram,
};
use cuttle_model::chain;

use crate::PROBE_ATTRIBUTE;
use crate::order::Order;
use crate::status::Refused;
use crate::surroundings::Surroundings;

/// What ceph-fuse calls its file systems in the mount table.
pub(crate) const FILE_SYSTEM: &str = "fuse.ceph-fuse";

/// How long one look at a mount may take while it gets ready.
const LOOK: Duration = Duration::from_millis(500);

/// How long is waited between two looks at a mount that does not answer.
const PAUSE: Duration = Duration::from_millis(50);

/// A ceph-fuse whose mount answers.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) program: RunningProgram,
    pub(crate) device: DeviceNumber,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum StartFailure {
    /// It did not get ready.
    Refused(Refused),
    /// Somebody wants the start to be given up.
    Disturbed,
}

impl StartFailure {
    fn of(error: &HostError) -> Self {
        Self::Refused(Refused {
            why: chain(error),
            said: String::new(),
            late: error.is_late(),
        })
    }
}

/// Starts ceph-fuse and waits until its mount works. When it does not, the process is killed, and
/// whatever it has mounted is taken away.
///
/// # Errors
/// [`StartFailure`].
pub(crate) fn start(
    host: &Host,
    order: &Order,
    session: Option<&str>,
    within: Duration,
    around: &mut dyn Surroundings,
) -> Result<Started, StartFailure> {
    let program = Program::new(&order.program)
        .args(&order.arguments)
        .args(session.map(|uuid| format!("--client_metadata=uuid={uuid}")))
        .stdin_file(order.key.expose().trim());
    let attended = AttendedProgram::new(program).in_network(order.network.as_ref());
    let mut program = host
        .start("host.ceph_fuse", &attended)
        .map_err(|error| StartFailure::of(&error))?;
    around.started(program.pid());
    let ready = wait_ready(host, order, within, &mut program, around);
    // It has read the key, or will not need it any more.
    let taken_back = program.take_back_stdin();
    match ready.and_then(|device| {
        let taken_back = taken_back.map_err(|error| StartFailure::of(&error));
        taken_back.map(|()| device)
    }) {
        Ok(device) => Ok(Started { program, device }),
        Err(failure) => {
            give_up(host, order, &mut program, around);
            Err(failure)
        }
    }
}

fn wait_ready(
    host: &Host,
    order: &Order,
    within: Duration,
    program: &mut RunningProgram,
    around: &mut dyn Surroundings,
) -> Result<DeviceNumber, StartFailure> {
    let deadline = Instant::now() + within;
    let looking = host.limited(Limits {
        look: LOOK,
        ..host.limits()
    });
    loop {
        program.listen();
        if let Some(exit) = program.ended() {
            program.listen();
            return Err(StartFailure::Refused(refused(order, program, exit)));
        }
        if around.is_disturbed() {
            return Err(StartFailure::Disturbed);
        }
        if Instant::now() >= deadline {
            return Err(StartFailure::Refused(Refused {
                why: format!("ceph-fuse was not ready within {} s", within.as_secs_f32()),
                said: said(order, program),
                late: true,
            }));
        }
        let mounted = mounted(host, order).map_err(|error| StartFailure::of(&error))?;
        let Some(mount) = mounted else {
            around.wait(program, deadline);
            continue;
        };
        match looking.attribute(&order.mountpoint, PROBE_ATTRIBUTE) {
            Ok(_answered) => return Ok(mount.device),
            // Its end, or its answer later.
            Err(_not_yet) => around.wait(program, deadline.min(Instant::now() + PAUSE)),
        }
    }
}

/// The mount of ceph-fuse at the mountpoint. The place was free before, so it is the new one.
fn mounted(host: &Host, order: &Order) -> Result<Option<Mount>, HostError> {
    let table = host.mount_table()?;
    let mount = table.at(&order.mountpoint);
    Ok(mount.filter(|mount| mount.fs_type == FILE_SYSTEM).cloned())
}

fn refused(order: &Order, program: &RunningProgram, exit: Exit) -> Refused {
    Refused {
        why: format!("ceph-fuse {exit}"),
        said: said(order, program),
        late: false,
    }
}

/// What ceph-fuse has said, without the key: it prints keys that it cannot decode.
pub(crate) fn said(order: &Order, program: &RunningProgram) -> String {
    program.words().replace(order.key.expose().trim(), "<key>")
}

fn give_up(
    host: &Host,
    order: &Order,
    program: &mut RunningProgram,
    around: &mut dyn Surroundings,
) {
    program.kill();
    let deadline = Instant::now() + Duration::from_secs(5);
    while program.ended().is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    // Its mount is dead now, and nobody was told of it.
    if let Ok(Some(mount)) = mounted(host, order) {
        around.left(mount.device);
        let _tried_again_by_who_mounts_next = host.unmount_lazily(&order.mountpoint);
    }
}
