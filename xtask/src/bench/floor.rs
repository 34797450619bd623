//! The floor: what the bare library needs for the same work.
//!
//! The calls are those that leave the same things in Ceph, one after the other, as a program
//! without any thought for crashes or other clients would make them ([`images`], [`subvolumes`]).
//! All on one connection with the driver's own options, from as many threads as are in flight.

mod images;
mod subvolumes;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ceph::{Clusters, ConnectOptions};
use cuttle_door::{Doors, FaultPlan};
use cuttle_model::{ByteSize, Credentials, Monitors, Secret, UserId};
use cuttle_testbed::Cluster;

pub(crate) use self::images::Images;
pub(crate) use self::subvolumes::SubvolumesOfGroup;
use super::figures::Samples;
use crate::Failure;
use crate::workload::Secrets;

/// Bare calls for one kind of volume.
pub(crate) trait Floor: Sync {
    /// A volume that the floor has made.
    type Made: Sync + Send;

    /// Makes one volume.
    fn create_one(&self, name: &str) -> Result<Self::Made, Failure>;

    /// Removes it.
    fn delete_one(&self, made: &Self::Made) -> Result<(), Failure>;

    /// Grows it.
    fn expand_one(&self, made: &Self::Made, size: ByteSize) -> Result<(), Failure>;

    /// Fails with what Ceph still does in the background, which would disturb the next block.
    fn quiet(&self, cluster: &Cluster) -> Result<(), String>;

    /// Makes volumes, `in_flight` at once.
    fn create(
        &self,
        names: &[String],
        in_flight: usize,
    ) -> Result<(Samples, Vec<Self::Made>), Failure> {
        each(names, in_flight, |name| self.create_one(name))
    }

    /// Removes volumes.
    fn delete(&self, volumes: &[Self::Made], in_flight: usize) -> Result<Samples, Failure> {
        Ok(each(volumes, in_flight, |volume| self.delete_one(volume))?.0)
    }

    /// Grows each volume to `bytes`.
    fn expand(&self, volumes: &[Self::Made], bytes: i64) -> Result<Samples, Failure> {
        let size = size_of(bytes);
        Ok(each(volumes, 1, |volume| self.expand_one(volume, size))?.0)
    }
}

/// A connection as this user.
fn connect(testbed: &Cluster, user: &Secrets) -> Result<ceph::Cluster, Failure> {
    let doors = Doors::new(FaultPlan::none());
    let clusters = Clusters::new(doors.ceph, ConnectOptions::default());
    let monitors = Monitors::new(vec![testbed.monitors()]).map_err(|error| wrong(&error))?;
    let credentials = Credentials {
        user: UserId::new(&user.user).map_err(|error| wrong(&error))?,
        key: Secret::new(user.key.clone()),
    };
    clusters
        .connect(&monitors, &credentials)
        .map_err(|error| wrong(&error))
}

fn wrong(error: &dyn std::error::Error) -> Failure {
    Failure::because("floor", error)
}

/// Runs an operation for each item on `in_flight` threads.
fn each<I: Sync, R: Send>(
    items: &[I],
    in_flight: usize,
    operation: impl Fn(&I) -> Result<R, Failure> + Sync,
) -> Result<(Samples, Vec<R>), Failure> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..in_flight {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { return };
                    let begin = Instant::now();
                    match operation(item) {
                        Ok(result) => lock(&done).push((place, begin.elapsed(), result)),
                        Err(error) => {
                            lock(&failed).get_or_insert(error);
                            return;
                        }
                    }
                }
            });
        }
    });
    let wall = start.elapsed();
    if let Some(failure) = lock(&failed).take() {
        return Err(failure);
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _, _)| *place);
    let times = done.iter().map(|(_, time, _)| *time).collect();
    Ok((
        Samples::new(times, wall),
        done.into_iter().map(|(_, _, result)| result).collect(),
    ))
}

fn size_of(bytes: i64) -> ByteSize {
    ByteSize::from_bytes(u64::try_from(bytes).unwrap_or(0))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
