//! The driver under measurement: operations over its socket, and what its process uses.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cuttle_testbed::ProcessUse;
use tonic::Status;

use super::figures::Samples;
use crate::Failure;
use crate::rpc::Rpc;
use crate::workload::Workload;

/// The size of every volume: small, so that Ceph's work after a delete does not fill the run.
pub(crate) const BYTES: i64 = 64 << 20;

/// A driver's socket with the workload for it.
#[derive(Debug, Clone)]
pub(crate) struct Contender {
    rpc: Rpc,
    workload: Arc<Workload>,
    pid: i32,
}

impl Contender {
    /// A driver that serves on a socket, in the process `pid`.
    pub(crate) fn new(rpc: Rpc, workload: Workload, pid: i32) -> Self {
        Self {
            rpc,
            workload: Arc::new(workload),
            pid,
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// What its process uses now.
    pub(crate) fn process_use(&self) -> Result<ProcessUse, Failure> {
        Ok(ProcessUse::of(self.pid)?)
    }

    /// Creates these volumes, `in_flight` at once, and gives their handles in the same order.
    pub(crate) fn create(
        &self,
        names: &[String],
        in_flight: usize,
    ) -> Result<(Samples, Vec<String>), Failure> {
        self.each(
            "CreateVolume",
            names,
            in_flight,
            &async |contender: &Self, name: String| {
                let request = contender.workload.create(&name, BYTES);
                let answer = contender.rpc.controller().create_volume(request).await?;
                Ok(answer.into_inner().volume.unwrap_or_default().volume_id)
            },
        )
    }

    /// Deletes volumes.
    pub(crate) fn delete(&self, handles: &[String], in_flight: usize) -> Result<Samples, Failure> {
        let done = self.each(
            "DeleteVolume",
            handles,
            in_flight,
            &async |contender: &Self, handle: String| {
                let request = contender.workload.delete(&handle);
                contender.rpc.controller().delete_volume(request).await?;
                Ok(String::new())
            },
        )?;
        Ok(done.0)
    }

    /// Grows each volume to `bytes`.
    pub(crate) fn expand(&self, handles: &[String], bytes: i64) -> Result<Samples, Failure> {
        let name = "ControllerExpandVolume";
        let done = self.each(
            name,
            handles,
            1,
            &async |contender: &Self, handle: String| {
                let request = contender.workload.expand(&handle, bytes);
                contender
                    .rpc
                    .controller()
                    .controller_expand_volume(request)
                    .await?;
                Ok(String::new())
            },
        )?;
        Ok(done.0)
    }

    /// Runs an operation for each item, `in_flight` at once.
    fn each<F>(
        &self,
        name: &str,
        items: &[String],
        in_flight: usize,
        operation: &F,
    ) -> Result<(Samples, Vec<String>), Failure>
    where
        F: AsyncFn(&Self, String) -> Result<String, Status>,
    {
        let next = AtomicUsize::new(0);
        let start = Instant::now();
        let worker = async || -> Result<Vec<(usize, Duration, String)>, Status> {
            let mut done = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = items.get(place) else {
                    return Ok(done);
                };
                let begin = Instant::now();
                let result = operation(self, item.clone()).await?;
                done.push((place, begin.elapsed(), result));
            }
        };
        let workers: Vec<_> = (0..in_flight).map(|_| worker()).collect();
        let joined = self.rpc.join(workers);
        let wall = start.elapsed();
        let mut done = Vec::with_capacity(items.len());
        for worker in joined {
            done.extend(worker.map_err(|status| {
                Failure::new(format!("{name}: {:?}: {}", status.code(), status.message()))
            })?);
        }
        done.sort_by_key(|(place, _, _)| *place);
        let times = done.iter().map(|(_, time, _)| *time).collect();
        let results = done.into_iter().map(|(_, _, result)| result).collect();
        Ok((Samples::new(times, wall), results))
    }
}

/// The process that listens on a socket, by the kernel's word.
pub(crate) fn process_behind(socket: &Path) -> Result<i32, Failure> {
    let unreachable = |error: &dyn std::error::Error| {
        Failure::because(format!("cannot ask {}", socket.display()), error)
    };
    let stream = UnixStream::connect(socket).map_err(|error| unreachable(&error))?;
    let peer =
        rustix::net::sockopt::socket_peercred(&stream).map_err(|error| unreachable(&error))?;
    Ok(peer.pid.as_raw_nonzero().get())
}
