//! RBD: an image with its record in the journal.
//!
//! | Operation | Calls |
//! |---|---|
//! | create | guarded key in the directory object; record object; `rbd_create4`; read `rbd_id`; image id into the record and metadata onto the header, together |
//! | delete | read the record; `rbd_trash_move`; `rbd task add trash remove`; key out of the directory; record object |
//! | expand | `rbd_open`, `rbd_resize2`, `rbd_close` |

use ceph::{ImageOptions, Io, OpenMode, WriteOp, header_object};
use cuttle_model::{ByteSize, ImageName, ObjectUuid, PoolName, RadosNamespace};
use cuttle_testbed::Cluster;
use serde_json::json;

use super::{Floor, connect, size_of, wrong};
use crate::Failure;
use crate::bench::contender::BYTES;
use crate::workload::Workload;

/// The directory object of the floor's volumes, away from any driver's.
const DIRECTORY: &str = "csi.volumes.floor";

/// The feature bit of layering, which the workload asks for too.
const LAYERING: u64 = 1;

/// An image with its record.
#[derive(Debug)]
pub(crate) struct FloorVolume {
    name: String,
    uuid: String,
    image: ImageName,
}

/// The pool of a workload.
#[derive(Debug)]
pub(crate) struct Images {
    cluster: ceph::Cluster,
    io: Io,
    pool: String,
}

impl Images {
    /// Connects as the workload's user to the workload's pool.
    pub(crate) fn connect(testbed: &Cluster, workload: &Workload) -> Result<Self, Failure> {
        let cluster = connect(testbed, &workload.provisioner)?;
        let pool = workload
            .parameters
            .get("pool")
            .cloned()
            .unwrap_or_else(|| "rbd".to_owned());
        let name = PoolName::new(&pool).map_err(|error| wrong(&error))?;
        let io = cluster
            .io(&name, &RadosNamespace::default())
            .map_err(|error| wrong(&error))?;
        Ok(Self { cluster, io, pool })
    }

    fn make(&self, name: &str) -> Result<FloorVolume, ceph::Error> {
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
            Err(_) => return self.make(name),
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

    fn remove(&self, volume: &FloorVolume) -> Result<(), ceph::Error> {
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

    fn grow(&self, volume: &FloorVolume, size: ByteSize) -> Result<(), ceph::Error> {
        let image = self.io.open_image(&volume.image, OpenMode::ReadWrite)?;
        image.resize(size, false)?;
        image.close()
    }
}

impl Floor for Images {
    type Made = FloorVolume;

    fn create_one(&self, name: &str) -> Result<FloorVolume, Failure> {
        self.make(name).map_err(|error| wrong(&error))
    }

    fn delete_one(&self, volume: &FloorVolume) -> Result<(), Failure> {
        self.remove(volume).map_err(|error| wrong(&error))
    }

    fn expand_one(&self, volume: &FloorVolume, size: ByteSize) -> Result<(), Failure> {
        self.grow(volume, size).map_err(|error| wrong(&error))
    }

    fn quiet(&self, cluster: &Cluster) -> Result<(), String> {
        let tasks = cluster
            .json(&["rbd", "task", "list"])
            .map_err(|error| error.to_string())?;
        match tasks.as_array().map(Vec::len) {
            Some(0) => Ok(()),
            count => Err(format!("{count:?} tasks")),
        }
    }
}
