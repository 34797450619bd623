//! What a start of ceph-fuse sees of the keeper around it, and what a keeper is made of.

use std::time::Instant;

use cuttle_door::{Doors, FaultPlan};
use cuttle_host::{DeviceNumber, Host, MountWatch, RunningProgram};
use cuttle_model::chain;

use crate::keeper::Keeper;
use crate::order::Order;
use crate::post::Post;
use crate::status::{Phase, Status};

/// What a start sees of the keeper around it.
pub(crate) trait Surroundings {
    /// The program runs.
    fn started(&mut self, pid: u32);
    /// The program has left a dead mount with this number.
    fn left(&mut self, device: DeviceNumber);
    /// Waits for something to happen, to the program or around.
    fn wait(&mut self, program: &RunningProgram, until: Instant);
    /// Whether the start is to be given up.
    fn is_disturbed(&mut self) -> bool;
}

impl Surroundings for Keeper {
    fn started(&mut self, pid: u32) {
        if self.status.apart.is_some() {
            // A child of the keeper is born where the keeper is.
            return;
        }
        let pids = [std::process::id(), pid];
        let description = format!("ceph-fuse at {}", self.order.mountpoint);
        match self.host.set_apart(&self.order.unit, &description, &pids) {
            Ok(apart) => self.status.apart = Some(apart.to_string()),
            Err(error) => self.log.warn(
                "ceph-fuse stays in the driver's cgroup and ends with its container",
                &[("error", &chain(&error))],
            ),
        }
    }

    fn left(&mut self, device: DeviceNumber) {
        self.status.dead.push(device);
    }

    fn wait(&mut self, program: &RunningProgram, until: Instant) {
        Keeper::wait(self, Some(program), until);
    }

    fn is_disturbed(&mut self) -> bool {
        self.hear();
        !self.waiting.is_empty()
    }
}

/// What a keeper is made of beside its order.
pub(crate) struct Parts {
    pub(crate) host: Host,
    pub(crate) post: Post,
    pub(crate) watch: MountWatch,
    pub(crate) status: Status,
}

impl Parts {
    pub(crate) fn of(order: &Order) -> Result<Self, String> {
        let faults = FaultPlan::parse(&order.faults).map_err(|error| chain(&error))?;
        let host = Host::new(Doors::new(faults).host);
        let post = Post::of(&order.directory, &order.volume, &order.mountpoint);
        let post = post.map_err(|error| chain(&error))?;
        let told = |error: cuttle_host::Error| chain(&error);
        let keeper = host.process_identity(std::process::id()).map_err(told)?;
        let keeper = keeper.ok_or_else(|| "this process is not to be seen in /proc".to_owned())?;
        let status = Status {
            volume: order.volume.clone(),
            mountpoint: order.mountpoint.to_string(),
            source: order.source.clone(),
            boot: host.boot_id().map_err(told)?,
            keeper: keeper.into(),
            client: None,
            session: order.dead_session.clone(),
            phase: Phase::Starting,
            device: None,
            dead: Vec::new(),
            apart: None,
            healed: 0,
            trouble: None,
        };
        Ok(Self {
            post,
            watch: host.watch_mounts().map_err(told)?,
            host,
            status,
        })
    }
}
