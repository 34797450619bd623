//! The floor: what the bare library needs for the same work.
//!
//! The calls are those that leave the same things in Ceph, one after the other, as a program
//! without any thought for crashes or other clients would make them:
//!
//! | Operation | Calls |
//! |---|---|
//! | create | guarded key in the directory object; record object; `rbd_create4`; read `rbd_id`; image id into the record and metadata onto the header, together |
//! | delete | read the record; `rbd_trash_move`; `rbd task add trash remove`; key out of the directory; record object |
//! | expand | `rbd_open`, `rbd_resize2`, `rbd_close` |
//!
//! All on one connection with the driver's own options, from as many threads as are in flight.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ceph::{Clusters, ConnectOptions, ImageOptions, Io, OpenMode, WriteOp, header_object};
use cuttle_door::{Doors, FaultPlan};
use cuttle_model::{
    ByteSize, Credentials, ImageName, Monitors, ObjectUuid, PoolName, RadosNamespace, Secret,
    UserId,
};
use cuttle_testbed::Cluster;
use serde_json::json;

use super::contender::BYTES;
use super::figures::Samples;
use crate::Failure;
use crate::workload::Workload;

/// The directory object of the floor's volumes, away from any driver's.
const DIRECTORY: &str = "csi.volumes.floor";

/// The feature bit of layering, which the workload asks for too.
const LAYERING: u64 = 1;

/// A volume that the floor has made.
#[derive(Debug, Clone)]
pub(crate) struct FloorVolume {
    name: String,
    uuid: String,
    image: ImageName,
}

/// A connection for bare calls.
#[derive(Debug)]
pub(crate) struct Floor {
    cluster: ceph::Cluster,
    io: Io,
    pool: String,
}

impl Floor {
    /// Connects as the workload's user to the workload's pool.
    pub(crate) fn connect(testbed: &Cluster, workload: &Workload) -> Result<Self, Failure> {
        let doors = Doors::new(FaultPlan::none());
        let clusters = Clusters::new(doors.ceph, ConnectOptions::default());
        let wrong = |error: &dyn std::error::Error| Failure::because("floor", error);
        let monitors = Monitors::new(vec![testbed.monitors()]).map_err(|error| wrong(&error))?;
        let credentials = Credentials {
            user: UserId::new(&workload.provisioner.user).map_err(|error| wrong(&error))?,
            key: Secret::new(workload.provisioner.key.clone()),
        };
        let pool = workload
            .parameters
            .get("pool")
            .cloned()
            .unwrap_or_else(|| "rbd".to_owned());
        let name = PoolName::new(&pool).map_err(|error| wrong(&error))?;
        let cluster = clusters
            .connect(&monitors, &credentials)
            .map_err(|error| wrong(&error))?;
        let io = cluster
            .io(&name, &RadosNamespace::default())
            .map_err(|error| wrong(&error))?;
        Ok(Self { cluster, io, pool })
    }

    /// Makes volumes, `in_flight` at once.
    pub(crate) fn create(
        &self,
        names: &[String],
        in_flight: usize,
    ) -> Result<(Samples, Vec<FloorVolume>), Failure> {
        self.each(names, in_flight, |name| self.create_one(name))
    }

    /// Removes volumes.
    pub(crate) fn delete(
        &self,
        volumes: &[FloorVolume],
        in_flight: usize,
    ) -> Result<Samples, Failure> {
        Ok(self
            .each(volumes, in_flight, |volume| self.delete_one(volume))?
            .0)
    }

    /// Grows each volume to `bytes`.
    pub(crate) fn expand(&self, volumes: &[FloorVolume], bytes: i64) -> Result<Samples, Failure> {
        let size = size_of(bytes);
        let grow = |volume: &FloorVolume| -> Result<(), ceph::Error> {
            let image = self.io.open_image(&volume.image, OpenMode::ReadWrite)?;
            image.resize(size, false)?;
            image.close()
        };
        Ok(self.each(volumes, 1, |volume| grow(volume))?.0)
    }

    fn create_one(&self, name: &str) -> Result<FloorVolume, ceph::Error> {
        let uuid = ObjectUuid::random().to_string();
        let key = format!("csi.volume.{name}");
        let record = format!("csi.volume.{uuid}");
        let image_name = format!("csi-vol-{uuid}");
        let directory = WriteOp::new()
            .create()
            .compare_omap(&key, None)
            .set_omap(&[(&key, &uuid)]);
        self.io.write(DIRECTORY, directory)?;
        let attributes = [
            ("csi.volname", name),
            ("csi.imagename", &image_name),
            ("csi.volume.owner", "default"),
        ];
        self.io.write(
            &record,
            WriteOp::new().create_exclusive().set_omap(&attributes),
        )?;
        let image = match ImageName::new(&image_name) {
            Ok(image) => image,
            // The name is made of a prefix and a UUID and always valid.
            Err(_) => return self.create_one(name),
        };
        let options = ImageOptions {
            features: Some(LAYERING),
            ..ImageOptions::default()
        };
        self.io.create_image(&image, size_of(BYTES), &options)?;
        if let Some(id) = self.io.image_id(&image)? {
            let commit = WriteOp::new().set_omap(&[("csi.imageid", id.as_str())]);
            let metadata = WriteOp::new().set_image_metadata(&[
                ("csi.storage.k8s.io/pv/name", name),
                ("csi.storage.k8s.io/pvc/name", "demo"),
                ("csi.storage.k8s.io/pvc/namespace", "default"),
            ]);
            let header = header_object(&id);
            let both = [
                (&self.io, record.as_str(), &commit),
                (&self.io, header.as_str(), &metadata),
            ];
            ceph::write_many(&both)
                .into_iter()
                .collect::<Result<Vec<()>, _>>()?;
        }
        Ok(FloorVolume {
            name: name.to_owned(),
            uuid,
            image,
        })
    }

    fn delete_one(&self, volume: &FloorVolume) -> Result<(), ceph::Error> {
        let record = format!("csi.volume.{}", volume.uuid);
        let found = self
            .io
            .omap_get(&record, &["csi.imageid", "csi.imagename", "csi.volname"])?;
        let id = found
            .and_then(|values| values.get("csi.imageid").cloned())
            .unwrap_or_default();
        self.io.trash_move(&volume.image)?;
        let id = String::from_utf8_lossy(&id);
        self.cluster.mgr_command(&json!({
            "prefix": "rbd task add trash remove",
            "image_id_spec": format!("{}/{id}", self.pool),
            "format": "json",
        }))?;
        let key = format!("csi.volume.{}", volume.name);
        self.io
            .write(DIRECTORY, WriteOp::new().remove_omap_keys(&[&key]))?;
        self.io.remove(&record).map(drop)
    }

    /// Runs an operation for each item on `in_flight` threads.
    fn each<I: Sync, R: Send>(
        &self,
        items: &[I],
        in_flight: usize,
        operation: impl Fn(&I) -> Result<R, ceph::Error> + Sync,
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
                                lock(&failed).get_or_insert(Failure::because("floor", &error));
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
}

fn size_of(bytes: i64) -> ByteSize {
    ByteSize::from_bytes(u64::try_from(bytes).unwrap_or(0))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
