//! A volume of a test in a guest: the calls that kubelet would make for it, and what the kernel
//! shows of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cuttle_csi::v1;
use cuttle_csi::v1::volume_usage::Unit;
use tonic::Status;

use crate::calls::{publish_request, stats_request, text, unpublish_request, unstage_request};
use crate::world::{POOL, Running, World};

/// The corner of the cluster that all tests in this guest share.
pub(super) fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

/// A volume, and where it is staged and published.
pub(super) struct Volume<'a> {
    world: &'a World,
    pub(super) volume: v1::Volume,
    pub(super) capability: v1::VolumeCapability,
    pub(super) staging: PathBuf,
    pub(super) target: PathBuf,
}

impl<'a> Volume<'a> {
    /// Creates a volume of this name with `more` parameters of its StorageClass.
    pub(super) fn create(
        on: &Running,
        name: &str,
        bytes: i64,
        capability: v1::VolumeCapability,
        more: &[(&str, &str)],
    ) -> Volume<'a> {
        let world = world();
        let mut request = world.create_request(name, bytes);
        request.volume_capabilities = vec![capability.clone()];
        request.parameters.extend(owned(more));
        let volume = on.client.create(request).expect("a volume");
        Volume {
            world,
            volume,
            capability,
            staging: world.make_dir(&format!("{name}/staging")),
            target: world.path(&format!("{name}/pod/volume")),
        }
    }

    /// The same volume in another staging directory, for another pod.
    pub(super) fn elsewhere(&self, place: &str) -> Volume<'a> {
        Volume {
            world: self.world,
            volume: self.volume.clone(),
            capability: self.capability.clone(),
            staging: self.world.make_dir(&format!("{place}/staging")),
            target: self.world.path(&format!("{place}/pod/volume")),
        }
    }

    /// What its image is called.
    pub(super) fn image(&self) -> String {
        let name = &self.volume.volume_context["imageName"];
        format!("{POOL}/{}/{name}", self.world.namespace)
    }

    pub(super) fn stage(&self, on: &Running) -> Result<(), Status> {
        let request =
            self.world
                .stage_request(&self.volume, &self.staging, self.capability.clone());
        on.client.node_stage_volume(request).map(drop)
    }

    pub(super) fn publish(&self, on: &Running, readonly: bool) -> Result<(), Status> {
        std::fs::create_dir_all(self.target.parent().unwrap()).unwrap();
        let mut request = publish_request(
            &self.volume,
            &self.staging,
            &self.target,
            self.capability.clone(),
        );
        request.readonly = readonly;
        on.client.node_publish_volume(request).map(drop)
    }

    /// Stages and publishes.
    pub(super) fn bring_up(&self, on: &Running) {
        self.stage(on).expect("a staging");
        self.publish(on, false).expect("a publication");
    }

    pub(super) fn unpublish(&self, on: &Running) -> Result<(), Status> {
        let request = unpublish_request(&self.volume.volume_id, &self.target);
        on.client.node_unpublish_volume(request).map(drop)
    }

    pub(super) fn unstage(&self, on: &Running) -> Result<(), Status> {
        let request = unstage_request(&self.volume.volume_id, &self.staging);
        on.client.node_unstage_volume(request).map(drop)
    }

    /// Unpublishes and unstages.
    pub(super) fn take_down(&self, on: &Running) {
        self.unpublish(on).expect("an end of the publication");
        self.unstage(on).expect("an end of the staging");
    }

    /// Expands it, online: first the image, then what is on this node.
    pub(super) fn expand(&self, on: &Running, bytes: i64) {
        let mut request = self.world.expand_request(&self.volume.volume_id, bytes);
        request.volume_capability = Some(self.capability.clone());
        on.client
            .controller_expand_volume(request)
            .expect("a bigger image");
        on.client
            .node_expand_volume(v1::NodeExpandVolumeRequest {
                volume_id: self.volume.volume_id.clone(),
                volume_path: text(&self.target),
                staging_target_path: text(&self.staging),
                volume_capability: Some(self.capability.clone()),
                ..v1::NodeExpandVolumeRequest::default()
            })
            .expect("a bigger device");
    }

    /// How many bytes kubelet is told that it has.
    pub(super) fn total_bytes(&self, on: &Running) -> i64 {
        let stats = self.stats(on).expect("figures");
        let bytes = i32::from(Unit::Bytes);
        let usage = stats.usage.iter().find(|usage| usage.unit == bytes);
        usage.expect("bytes").total
    }

    pub(super) fn stats(&self, on: &Running) -> Result<v1::NodeGetVolumeStatsResponse, Status> {
        let request = stats_request(&self.volume.volume_id, &self.target, &self.staging);
        on.client.node_get_volume_stats(request)
    }

    pub(super) fn delete(&self, on: &Running) {
        on.client
            .delete_volume(self.world.delete_request(&self.volume.volume_id))
            .expect("a deletion");
    }

    /// The image's mappings, as the kernel numbers them.
    pub(super) fn mappings(&self) -> Vec<u32> {
        let image = &self.volume.volume_context["imageName"];
        mapped()
            .into_iter()
            .filter(|number| &attribute(*number, "name") == image)
            .collect()
    }

    /// Demands that the kernel has the image mapped no more.
    pub(super) fn assert_unmapped(&self) {
        let mapped = self.mappings();
        assert!(mapped.is_empty(), "still mapped: {mapped:?}");
    }

    /// The image's only mapping.
    pub(super) fn mapping(&self) -> u32 {
        match self.mappings().as_slice() {
            [one] => *one,
            other => panic!("mapped as {other:?}"),
        }
    }
}

pub(super) fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// The numbers of all images that the kernel has mapped.
fn mapped() -> Vec<u32> {
    let mut numbers: Vec<u32> = std::fs::read_dir("/sys/bus/rbd/devices")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// What the kernel says of a mapped image.
pub(super) fn attribute(number: u32, name: &str) -> String {
    let path = format!("/sys/bus/rbd/devices/{number}/{name}");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.trim_end().to_owned()
}

/// What the block layer says of a device.
pub(super) fn of_disk(device: &str, name: &str) -> String {
    let path = format!("/sys/block/{device}/{name}");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.trim_end().to_owned()
}

/// What is mounted at a path: source and type.
pub(super) fn mounted_at(path: &Path) -> (String, String) {
    let mounts = cuttle_testbed::host_residue(&[path], &[]).mounts;
    let mount = mounts.into_iter().find(|mount| mount.target == path);
    let mount = mount.unwrap_or_else(|| panic!("nothing is mounted at {}", path.display()));
    (mount.source, mount.file_system)
}
