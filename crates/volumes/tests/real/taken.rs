//! Taking snapshots, restoring and cloning in a setup, and what the witnesses see of it.

use std::collections::BTreeSet;
use std::time::Duration;

use ceph::OpenMode;
use cuttle_model::{ComposedHandle, ImageName, SnapshotParameters};
use cuttle_volumes::rbd::{CreateError, CreateSnapshot, CreateSnapshotError, DeleteError};
use cuttle_volumes::{ContentSource, Created, DeleteSnapshot, Deleted, MadeSnapshot, SourceKind};

use crate::setup::{Setup, co_name, random_name, when_free};

/// The image of a volume.
pub(crate) fn image_of(volume: &Created) -> String {
    volume.context["imageName"].clone()
}

pub(crate) trait Taking {
    /// Makes a volume with that name.
    fn volume(&self, name: &str) -> Created;
    /// The request for a snapshot.
    fn taking(&self, name: &str, source: &ComposedHandle) -> CreateSnapshot;
    fn take(&self, name: &str, volume: &Created) -> Result<MadeSnapshot, CreateSnapshotError>;
    fn drop(&self, snapshot: &MadeSnapshot) -> Result<Deleted, DeleteError>;
    /// Makes a volume of something.
    fn create_from(
        &self,
        name: &str,
        kind: SourceKind,
        handle: &ComposedHandle,
        more: &[(&str, &str)],
    ) -> Result<Created, CreateError>;
    fn restore(
        &self,
        name: &str,
        snapshot: &MadeSnapshot,
        more: &[(&str, &str)],
    ) -> Result<Created, CreateError>;
    fn clone_of(
        &self,
        name: &str,
        volume: &Created,
        more: &[(&str, &str)],
    ) -> Result<Created, CreateError>;
    fn write(&self, image: &str, offset: u64, data: &[u8]);
    /// All of an image's data, by Ceph's own program.
    fn data(&self, image: &str) -> Vec<u8>;
    fn metadata(&self, image: &str) -> serde_json::Value;
    fn image_of_snapshot(&self, snapshot: &MadeSnapshot) -> String;
    /// Exactly these volumes and snapshots may be there, whole and committed; a snapshot has the
    /// name, and the volume it is of.
    fn assert_snapshots(
        &self,
        when: &str,
        volumes: &[&Created],
        snapshots: &[(&str, &MadeSnapshot, &Created)],
    );
}

impl Taking for Setup {
    fn volume(&self, name: &str) -> Created {
        self.create(&self.request(name, &[])).unwrap()
    }

    fn taking(&self, name: &str, source: &ComposedHandle) -> CreateSnapshot {
        let pairs = [
            ("clusterID", "east"),
            ("csi.storage.k8s.io/volumesnapshot/name", name),
        ];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        CreateSnapshot {
            name: co_name(name),
            source: source.clone(),
            parameters: SnapshotParameters::parse(&pairs.into()).unwrap(),
            credentials: self.admin(),
        }
    }

    fn take(&self, name: &str, volume: &Created) -> Result<MadeSnapshot, CreateSnapshotError> {
        let request = self.taking(name, &volume.handle);
        self.controller.create_snapshot(&self.table, &request)
    }

    fn drop(&self, snapshot: &MadeSnapshot) -> Result<Deleted, DeleteError> {
        let request = DeleteSnapshot {
            handle: snapshot.handle.clone(),
            credentials: self.admin(),
        };
        when_free(|| self.controller.delete_snapshot(&self.table, &request))
    }

    fn create_from(
        &self,
        name: &str,
        kind: SourceKind,
        handle: &ComposedHandle,
        more: &[(&str, &str)],
    ) -> Result<Created, CreateError> {
        let mut request = self.request(name, more);
        request.source = Some(ContentSource {
            kind,
            handle: handle.clone(),
        });
        self.create(&request)
    }

    fn restore(
        &self,
        name: &str,
        snapshot: &MadeSnapshot,
        more: &[(&str, &str)],
    ) -> Result<Created, CreateError> {
        self.create_from(name, SourceKind::Snapshot, &snapshot.handle, more)
    }

    fn clone_of(
        &self,
        name: &str,
        volume: &Created,
        more: &[(&str, &str)],
    ) -> Result<Created, CreateError> {
        self.create_from(name, SourceKind::Volume, &volume.handle, more)
    }

    fn write(&self, image: &str, offset: u64, data: &[u8]) {
        let image = ImageName::new(image).unwrap();
        let open = self.io().open_image(&image, OpenMode::ReadWrite).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let done = Box::new(move |done| sender.send(done).unwrap());
        open.aio_write(offset, data.to_vec(), done);
        receiver.recv().unwrap().unwrap();
        open.close().unwrap();
    }

    fn data(&self, image: &str) -> Vec<u8> {
        let file = std::env::temp_dir().join(random_name("cuttle-data"));
        let words = ["export", "--no-progress", &self.spec(image)];
        let words = [&words[..], &[file.to_str().unwrap()]].concat();
        self.witness.rbd(&words).unwrap();
        let data = std::fs::read(&file).unwrap();
        std::fs::remove_file(file).unwrap();
        data
    }

    fn metadata(&self, image: &str) -> serde_json::Value {
        let words = ["image-meta", "list", "--format", "json", &self.spec(image)];
        serde_json::from_str(&self.witness.rbd(&words).unwrap()).unwrap()
    }

    fn image_of_snapshot(&self, snapshot: &MadeSnapshot) -> String {
        format!("csi-snap-{}", snapshot.handle.uuid)
    }

    #[track_caller]
    fn assert_snapshots(
        &self,
        when: &str,
        volumes: &[&Created],
        snapshots: &[(&str, &MadeSnapshot, &Created)],
    ) {
        let look = || compare(self, volumes, snapshots);
        if let Err(error) = cuttle_testbed::until("the images", Duration::from_secs(60), look) {
            panic!("{when}: {error}");
        }
    }
}

/// What a snapshot's record may hold.
const KEYS: [&str; 5] = [
    "csi.imageid",
    "csi.imagename",
    "csi.snapname",
    "csi.source",
    "csi.volume.owner",
];

fn compare(
    setup: &Setup,
    volumes: &[&Created],
    snapshots: &[(&str, &MadeSnapshot, &Created)],
) -> Result<(), String> {
    let contents = setup.contents();
    let mut images: BTreeSet<String> = volumes.iter().map(|volume| image_of(volume)).collect();
    let mut names = BTreeSet::new();
    for (name, snapshot, of) in snapshots {
        let image = setup.image_of_snapshot(snapshot);
        let uuid = &snapshot.handle.uuid;
        let record = setup.io().omap_all(&format!("csi.snap.{uuid}")).unwrap();
        let record = record.ok_or_else(|| format!("{name} has no record"))?;
        let keys: BTreeSet<&str> = record.keys().map(String::as_str).collect();
        if keys != BTreeSet::from(KEYS) {
            return Err(format!("the record of {name} has {keys:?}"));
        }
        let id = setup
            .io()
            .image_id(&ImageName::new(image.clone()).unwrap())
            .unwrap();
        let id = id.ok_or_else(|| format!("{image} is gone"))?;
        for (key, value) in [
            ("csi.imageid", id.as_str()),
            ("csi.imagename", &image),
            ("csi.snapname", name),
            ("csi.source", &image_of(of)),
        ] {
            if record[key] != value.as_bytes() {
                return Err(format!("{key} of {name} is {:?}", record[key]));
            }
        }
        images.insert(image.clone());
        names.insert(format!("csi.snap.{name}"));
        // Its own snapshot, in sight.
        if sighted(setup, &image) != [image.clone()] {
            return Err(format!("{image} has {:?}", sighted(setup, &image)));
        }
    }
    // Nothing in sight on the volumes.
    for volume in volumes {
        let left = sighted(setup, &image_of(volume));
        if !left.is_empty() {
            return Err(format!("{left:?} on {}", image_of(volume)));
        }
    }
    if contents.images != images || !contents.trash.is_empty() {
        return Err(format!(
            "images {:?}, trash {:?}",
            contents.images, contents.trash
        ));
    }
    let directory = contents.omap_keys.get("csi.snaps.default");
    if directory.cloned().unwrap_or_default() != names {
        return Err(format!("directory {directory:?} instead of {names:?}"));
    }
    let records = contents
        .objects
        .iter()
        .filter(|object| object.starts_with("csi.snap."))
        .count();
    if records != snapshots.len() {
        return Err(format!("{records} records of snapshots"));
    }
    Ok(())
}

/// The names of an image's snapshots as `rbd snap ls` shows them.
pub(crate) fn sighted(setup: &Setup, image: &str) -> Vec<String> {
    let words = ["snap", "ls", "--format", "json", &setup.spec(image)];
    let listed: serde_json::Value =
        serde_json::from_str(&setup.witness.rbd(&words).unwrap()).unwrap();
    let names = listed.as_array().unwrap().iter();
    names
        .map(|snapshot| snapshot["name"].as_str().unwrap().to_owned())
        .collect()
}
