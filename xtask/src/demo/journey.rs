//! The volume's life: each step as kubelet or a sidecar would take it, and what it shows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cuttle_csi::v1;

use super::ledger::Ledger;
use super::payload;
use crate::Failure;
use crate::installation::{Installation, Role};
use crate::rpc::Rpc;
use crate::workload::Workload;

const GIB: i64 = 1 << 30;

/// A node as kubelet sees it: the plugin's socket and the two paths.
#[derive(Debug)]
struct Node {
    rpc: Rpc,
    staging: PathBuf,
    target: PathBuf,
}

/// A volume's way through its life.
#[derive(Debug)]
pub(crate) struct Journey {
    controller: Rpc,
    first: Node,
    second: Node,
    workload: Workload,
    name: String,
}

impl Journey {
    /// Connects to the three processes.
    pub(crate) fn begin(installation: &Installation) -> Result<Self, Failure> {
        let patience = Duration::from_secs(10);
        let connect = |role| Rpc::connect(&installation.places.socket(role), patience);
        let node = |role| -> Result<Node, Failure> {
            Ok(Node {
                rpc: connect(role)?,
                staging: installation.places.staging(role),
                target: installation.places.target(role),
            })
        };
        Ok(Self {
            controller: connect(Role::Controller)?,
            first: node(Role::NodeA)?,
            second: node(Role::NodeB)?,
            workload: installation.workload(),
            name: "pvc-7f3c0f9e-0d3a-4b53-8c6e-demo".to_owned(),
        })
    }

    /// Leads the volume from its creation to its end.
    pub(crate) fn run(&self, ledger: &mut Ledger<'_>) -> Result<(), Failure> {
        self.greet(ledger)?;
        let volume = self.create(ledger)?;
        let handle = &volume.volume_id;
        self.look_around(ledger, handle)?;

        self.attach(ledger, &self.first, "node-a", &volume)?;
        let checksum = ledger.step("write 16 MiB, fsync", || {
            let checksum = payload::write(&self.first.target)?;
            let detail = format!("sha256 {}", short(&checksum));
            Ok((checksum, detail))
        })?;
        self.measure(ledger, handle)?;
        self.expand(ledger, handle)?;
        self.detach(ledger, &self.first, "node-a", handle)?;

        self.attach(ledger, &self.second, "node-b", &volume)?;
        ledger.step("read the file on node-b", || {
            let read = payload::read(&self.second.target)?;
            if read != checksum {
                return Err(Failure::new(format!(
                    "sha256 {read}, but {checksum} was written"
                )));
            }
            Ok(((), format!("sha256 {}, as written on node-a", short(&read))))
        })?;
        self.detach(ledger, &self.second, "node-b", handle)?;

        self.delete(ledger, handle)
    }

    fn greet(&self, ledger: &mut Ledger<'_>) -> Result<(), Failure> {
        ledger.step("Probe, GetPluginInfo", || {
            let rpc = &self.controller;
            rpc.wait("Probe", rpc.identity().probe(v1::ProbeRequest {}))?;
            let request = v1::GetPluginInfoRequest {};
            let info = rpc.wait("GetPluginInfo", rpc.identity().get_plugin_info(request))?;
            Ok(((), format!("{} {}", info.name, info.vendor_version)))
        })?;
        ledger.step("NodeGetInfo", || {
            let mut names = Vec::new();
            for node in [&self.first, &self.second] {
                let request = v1::NodeGetInfoRequest {};
                let info = node
                    .rpc
                    .wait("NodeGetInfo", node.rpc.node().node_get_info(request))?;
                names.push(info.node_id);
            }
            Ok(((), names.join(", ")))
        })
    }

    fn create(&self, ledger: &mut Ledger<'_>) -> Result<v1::Volume, Failure> {
        let create = || -> Result<v1::Volume, Failure> {
            let rpc = &self.controller;
            let request = self.workload.create(&self.name, GIB);
            let answer = rpc.wait("CreateVolume", rpc.controller().create_volume(request))?;
            answer
                .volume
                .ok_or_else(|| Failure::new("CreateVolume answered without a volume"))
        };
        let volume = ledger.step("CreateVolume", || {
            let volume = create()?;
            expect_bytes("the volume", volume.capacity_bytes, GIB)?;
            let detail = format!("1 GiB, handle {}", tail(&volume.volume_id));
            Ok((volume, detail))
        })?;
        ledger.step("CreateVolume again", || {
            let again = create()?;
            if again.volume_id != volume.volume_id {
                return Err(Failure::new(format!("another handle: {}", again.volume_id)));
            }
            Ok(((), "the same handle".to_owned()))
        })?;
        Ok(volume)
    }

    fn look_around(&self, ledger: &mut Ledger<'_>, handle: &str) -> Result<(), Failure> {
        let rpc = &self.controller;
        ledger.step("GetCapacity", || {
            let request = v1::GetCapacityRequest {
                parameters: self.workload.parameters.clone(),
                ..v1::GetCapacityRequest::default()
            };
            let answer = rpc.wait("GetCapacity", rpc.controller().get_capacity(request))?;
            let bytes = u64::try_from(answer.available_capacity).unwrap_or(0);
            Ok(((), format!("{} available", mebibytes(bytes))))
        })?;
        ledger.step("ListVolumes", || {
            let request = v1::ListVolumesRequest::default();
            let answer = rpc.wait("ListVolumes", rpc.controller().list_volumes(request))?;
            let listed = answer
                .entries
                .iter()
                .filter_map(|entry| entry.volume.as_ref());
            if !listed.clone().any(|volume| volume.volume_id == handle) {
                return Err(Failure::new("the volume is not in the list"));
            }
            Ok(((), format!("{} volume, ours", listed.count())))
        })
    }

    fn attach(
        &self,
        ledger: &mut Ledger<'_>,
        node: &Node,
        name: &str,
        volume: &v1::Volume,
    ) -> Result<(), Failure> {
        ledger.step(&format!("NodeStageVolume on {name}"), || {
            make_dir(&node.staging)?;
            let request = self.workload.stage(volume, &node.staging);
            node.rpc.wait(
                "NodeStageVolume",
                node.rpc.node().node_stage_volume(request),
            )?;
            Ok(((), format!("{}, mounter fuse", self.workload.fs_type)))
        })?;
        ledger.step(&format!("NodePublishVolume on {name}"), || {
            make_dir(node.target.parent().unwrap_or(&node.target))?;
            let request = self.workload.publish(volume, &node.staging, &node.target);
            node.rpc.wait(
                "NodePublishVolume",
                node.rpc.node().node_publish_volume(request),
            )?;
            Ok(((), format!("{} free", mebibytes(free_bytes(&node.target)?))))
        })
    }

    fn measure(&self, ledger: &mut Ledger<'_>, handle: &str) -> Result<(), Failure> {
        ledger.step("NodeGetVolumeStats", || {
            let Node {
                rpc,
                staging,
                target,
            } = &self.first;
            let request = Workload::stats(handle, staging, target);
            let answer = rpc.wait(
                "NodeGetVolumeStats",
                rpc.node().node_get_volume_stats(request),
            )?;
            let bytes = answer
                .usage
                .iter()
                .find(|usage| usage.unit() == v1::volume_usage::Unit::Bytes)
                .ok_or_else(|| Failure::new("no figures in bytes"))?;
            let written = i64::try_from(payload::BYTES).unwrap_or(i64::MAX);
            if bytes.used < written {
                return Err(Failure::new(format!("only {} bytes used", bytes.used)));
            }
            let used = u64::try_from(bytes.used).unwrap_or(0);
            let total = u64::try_from(bytes.total).unwrap_or(0);
            Ok((
                (),
                format!("{} of {} used", mebibytes(used), mebibytes(total)),
            ))
        })
    }

    fn expand(&self, ledger: &mut Ledger<'_>, handle: &str) -> Result<(), Failure> {
        let rpc = &self.controller;
        ledger.step("ControllerExpandVolume", || {
            let request = self.workload.expand(handle, 2 * GIB);
            let call = "ControllerExpandVolume";
            let answer = rpc.wait(call, rpc.controller().controller_expand_volume(request))?;
            expect_bytes("the volume", answer.capacity_bytes, 2 * GIB)?;
            if !answer.node_expansion_required {
                return Err(Failure::new(
                    "the node is not asked to grow the file system",
                ));
            }
            Ok(((), "2 GiB, while mounted".to_owned()))
        })?;
        ledger.step("NodeExpandVolume", || {
            let Node {
                rpc,
                staging,
                target,
            } = &self.first;
            let before = total_bytes(target)?;
            let request = self.workload.node_expand(handle, staging, target, 2 * GIB);
            rpc.wait("NodeExpandVolume", rpc.node().node_expand_volume(request))?;
            let after = total_bytes(target)?;
            if after < before + before / 2 {
                return Err(Failure::new(format!(
                    "the file system has {after} bytes, had {before}"
                )));
            }
            Ok((
                (),
                format!("file system {} -> {}", mebibytes(before), mebibytes(after)),
            ))
        })
    }

    fn detach(
        &self,
        ledger: &mut Ledger<'_>,
        node: &Node,
        name: &str,
        handle: &str,
    ) -> Result<(), Failure> {
        ledger.step(&format!("NodeUnpublishVolume on {name}"), || {
            let request = Workload::unpublish(handle, &node.target);
            node.rpc.wait(
                "NodeUnpublishVolume",
                node.rpc.node().node_unpublish_volume(request),
            )?;
            if node.target.exists() {
                return Err(Failure::new(format!(
                    "{} is still there",
                    node.target.display()
                )));
            }
            Ok(((), "target path removed".to_owned()))
        })?;
        ledger.step(&format!("NodeUnstageVolume on {name}"), || {
            let request = Workload::unstage(handle, &node.staging);
            node.rpc.wait(
                "NodeUnstageVolume",
                node.rpc.node().node_unstage_volume(request),
            )?;
            let left = std::fs::read_dir(&node.staging)
                .into_iter()
                .flatten()
                .count();
            if left > 0 {
                return Err(Failure::new(format!(
                    "{left} files left at {}",
                    node.staging.display()
                )));
            }
            Ok(((), "flushed, unmounted, detached".to_owned()))
        })
    }

    fn delete(&self, ledger: &mut Ledger<'_>, handle: &str) -> Result<(), Failure> {
        let rpc = &self.controller;
        for name in ["DeleteVolume", "DeleteVolume again"] {
            ledger.step(name, || {
                let request = self.workload.delete(handle);
                rpc.wait("DeleteVolume", rpc.controller().delete_volume(request))?;
                let again = name.ends_with("again");
                Ok((
                    (),
                    if again { "still OK" } else { "into the trash" }.to_owned(),
                ))
            })?;
        }
        Ok(())
    }
}

fn expect_bytes(what: &str, got: i64, wanted: i64) -> Result<(), Failure> {
    if got == wanted {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{what} has {got} bytes, not {wanted}"
    )))
}

fn make_dir(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::because(format!("cannot make {}", dir.display()), &error))
}

fn total_bytes(path: &Path) -> Result<u64, Failure> {
    statvfs(path).map(|s| s.f_blocks.saturating_mul(s.f_frsize))
}

fn free_bytes(path: &Path) -> Result<u64, Failure> {
    statvfs(path).map(|s| s.f_bavail.saturating_mul(s.f_frsize))
}

fn statvfs(path: &Path) -> Result<rustix::fs::StatVfs, Failure> {
    rustix::fs::statvfs(path)
        .map_err(|error| Failure::because(format!("cannot measure {}", path.display()), &error))
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// The part of a handle that differs between volumes.
fn tail(handle: &str) -> String {
    let start = handle.len().saturating_sub(36);
    format!("…{}", handle.get(start..).unwrap_or(handle))
}

fn short(checksum: &str) -> String {
    format!("{}…", checksum.get(..16).unwrap_or(checksum))
}
