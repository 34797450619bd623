//! CephFS volumes through the real binary: beside RBD in one process, killed at every call, in a
//! storm, with a daemon that stands still, with bad input, and searched for keys.

mod bad_input;
mod crash;
mod hang;
mod secrets;
mod storm;

use std::collections::{BTreeMap, BTreeSet};

use cuttle_csi::v1;
use cuttle_testbed::Cluster;
use tonic::Code;

use crate::calls::{Client, GIB, MIB};
use crate::world::{Running, World};

const META: &str = "cephfs.meta";

/// A world with a subvolume group, a journal namespace and a user for CephFS.
pub(crate) struct FsWorld {
    pub(crate) world: World,
    pub(crate) group: String,
    pub(crate) key: String,
}

impl FsWorld {
    pub(crate) fn new() -> Self {
        Self::in_world(World::new())
    }

    /// The same, on a cluster of the test's own.
    fn on(cluster: Cluster) -> Self {
        Self::in_world(World::on(cluster))
    }

    fn in_world(world: World) -> Self {
        let group = world.namespace.clone();
        world.cluster.subvolume_group(&group).unwrap();
        let mds = format!(
            "allow r fsname=cephfs path=/volumes, allow rws fsname=cephfs path=/volumes/{group}"
        );
        let caps = [
            ("mon", "allow r fsname=cephfs"),
            ("mgr", "allow rw"),
            (
                "osd",
                "allow rw tag cephfs metadata=cephfs, allow rw tag cephfs data=cephfs",
            ),
            ("mds", mds.as_str()),
        ];
        let key = world.cluster.user(&format!("fs-{group}"), &caps).unwrap();
        let fs = Self { world, group, key };
        fs.world.write_config(&[fs.config_entry()]);
        fs
    }

    /// This world's entry of `config.json`.
    fn config_entry(&self) -> serde_json::Value {
        let mut entry = self.world.config_entry();
        entry["cephFS"] =
            serde_json::json!({"subvolumeGroup": self.group, "radosNamespace": self.group});
        entry
    }

    /// A driver that serves CephFS alone.
    fn start_named(&self, name: &str, more: &[&str]) -> Running {
        let mut arguments = vec![
            "--type=cephfs",
            "--drivername=cephfs.csi.ceph.com",
            "--nodeserver=false",
            "--setmetadata=false",
        ];
        arguments.extend(more);
        self.world.start_named(name, &arguments)
    }

    /// A driver that serves CephFS on a node, too.
    pub(crate) fn start_node(&self, name: &str, more: &[&str]) -> Running {
        let mut arguments = vec!["--nodeserver=true"];
        arguments.extend(more);
        self.start_named(name, &arguments)
    }

    pub(crate) fn secrets(&self) -> BTreeMap<String, String> {
        [
            ("adminID", format!("fs-{}", self.group)),
            ("adminKey", self.key.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    pub(crate) fn create_request(&self, name: &str, bytes: i64) -> v1::CreateVolumeRequest {
        v1::CreateVolumeRequest {
            parameters: [
                ("clusterID", self.world.cluster_id.as_str()),
                ("fsName", "cephfs"),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
            secrets: self.secrets(),
            ..self.world.create_request(name, bytes)
        }
    }

    fn delete_request(&self, handle: &str) -> v1::DeleteVolumeRequest {
        v1::DeleteVolumeRequest {
            secrets: self.secrets(),
            ..self.world.delete_request(handle)
        }
    }

    fn expand_request(&self, handle: &str, bytes: i64) -> v1::ControllerExpandVolumeRequest {
        v1::ControllerExpandVolumeRequest {
            secrets: self.secrets(),
            volume_capability: None,
            ..self.world.expand_request(handle, bytes)
        }
    }

    pub(crate) fn delete(&self, client: &Client, handle: &str) {
        client.delete_volume(self.delete_request(handle)).unwrap();
    }

    fn subvolumes(&self) -> BTreeSet<String> {
        self.world.cluster.subvolume_names(&self.group).unwrap()
    }

    /// Exactly these volumes: a subvolume, a record and a name each.
    #[track_caller]
    pub(crate) fn assert_exactly(&self, when: &str, volumes: &[(&str, &v1::Volume)]) {
        let cluster = &self.world.cluster;
        let contents = cluster.rbd_namespace_contents(META, &self.group).unwrap();
        let mut objects = contents.objects.clone();
        objects.retain(|object| !object.starts_with("csi.volumes."));
        let uuid = |volume: &v1::Volume| {
            let handle = &volume.volume_id;
            handle.get(handle.len() - 36..).unwrap().to_owned()
        };
        let records: BTreeSet<String> = volumes
            .iter()
            .map(|(_, volume)| format!("csi.volume.{}", uuid(volume)))
            .collect();
        assert_eq!(objects, records, "{when}");
        let names: BTreeSet<String> = volumes
            .iter()
            .map(|(name, _)| format!("csi.volume.{name}"))
            .collect();
        let keys = contents.omap_keys.get("csi.volumes.default");
        assert_eq!(keys.cloned().unwrap_or_default(), names, "{when}");
        let subvolumes: BTreeSet<String> = volumes
            .iter()
            .map(|(_, volume)| volume.volume_context["subvolumeName"].clone())
            .collect();
        assert_eq!(self.subvolumes(), subvolumes, "{when}");
        for (name, volume) in volumes {
            let subvolume = &volume.volume_context["subvolumeName"];
            let seen = self
                .world
                .cluster
                .subvolume(&self.group, subvolume)
                .unwrap();
            let quota = seen.quota.map(|quota| i64::try_from(quota).unwrap());
            assert_eq!(quota, Some(volume.capacity_bytes), "{when}: {name}");
            assert_eq!(seen.path, volume.volume_context["subvolumePath"], "{when}");
        }
    }
}

impl Drop for FsWorld {
    fn drop(&mut self) {
        let cluster = &self.world.cluster;
        drop(cluster.json(&["auth", "rm", &format!("client.fs-{}", self.group)]));
        drop(cluster.json(&["fs", "subvolumegroup", "rm", "cephfs", &self.group]));
    }
}

#[test]
fn one_process_serves_both_kinds() {
    let fs = FsWorld::new();
    let (rbd, cephfs) = (fs.world.path("driver.sock"), fs.world.path("cephfs.sock"));
    let endpoint = format!(
        "--endpoint=unix://{},unix://{}",
        rbd.display(),
        cephfs.display()
    );
    let running = fs.world.start(&[
        "--type=rbd,cephfs",
        "--drivername=rbd.csi.ceph.com,cephfs.csi.ceph.com",
        &endpoint,
    ]);
    let client = Client::connect(&cephfs);
    let name = |client: &Client| {
        let info = client.get_plugin_info(v1::GetPluginInfoRequest {});
        info.unwrap().name
    };
    assert_eq!(name(&running.client), "rbd.csi.ceph.com");
    assert_eq!(name(&client), "cephfs.csi.ceph.com");

    let request = fs.create_request("pvc-1", 20 * MIB);
    let volume = client.create(request.clone()).unwrap();
    assert_eq!(volume.capacity_bytes, 20 * MIB);
    fs.assert_exactly("created", &[("pvc-1", &volume)]);
    assert_eq!(client.create(request).unwrap(), volume);
    let other = client.create(fs.create_request("pvc-1", GIB)).unwrap_err();
    assert_eq!(other.code(), Code::AlreadyExists, "{other}");
    assert!(
        other.message().contains("20 MiB") && other.message().contains("1 GiB"),
        "{other}"
    );

    let expand = fs.expand_request(&volume.volume_id, GIB);
    let expanded = client.controller_expand_volume(expand).unwrap();
    assert_eq!(
        (expanded.capacity_bytes, expanded.node_expansion_required),
        (GIB, false)
    );
    let grown = v1::Volume {
        capacity_bytes: GIB,
        ..volume.clone()
    };
    fs.assert_exactly("expanded", &[("pvc-1", &grown)]);
    fs.delete(&client, &volume.volume_id);
    fs.delete(&client, &volume.volume_id);
    fs.assert_exactly("deleted", &[]);
    // The key is in no file and no log.
    let log = std::fs::read_to_string(running.driver.log_path()).unwrap();
    assert!(!log.contains(&fs.key), "the log has the key");
}

#[test]
fn mistakes_of_a_request_are_told_together() {
    let fs = FsWorld::new();
    let running = fs.start_named("driver", &[]);
    let mut request = fs.create_request("", 20 * MIB);
    request.parameters.remove("fsName");
    request
        .parameters
        .insert("mounter".to_owned(), "rbd".to_owned());
    request.volume_capabilities = vec![crate::calls::block_capability()];
    request.secrets.remove("adminKey");
    let refused = running.client.create(request).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for part in ["name", "fsName", "mounter", "block", "adminKey"] {
        assert!(refused.message().contains(part), "{part}: {refused}");
    }
    let limit = v1::CreateVolumeRequest {
        capacity_range: Some(v1::CapacityRange {
            required_bytes: 2 * GIB - MIB,
            limit_bytes: 2 * GIB - 1,
        }),
        ..fs.create_request("pvc-1", MIB)
    };
    let refused = running.client.create(limit).unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    let mut absent = fs.create_request("pvc-1", MIB);
    absent
        .parameters
        .insert("fsName".to_owned(), "no-such-fs".to_owned());
    let refused = running.client.create(absent).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("CUTTLE-1480"), "{refused}");
    fs.assert_exactly("at the end", &[]);
}
