//! `cargo xtask csi`: CSI calls by hand, against the driver that `make demo KEEP=1` left running
//! or any other driver's socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use cuttle_csi::v1;
use serde_json::{Value, json};

use crate::installation::{Installation, Places, Role};
use crate::rpc::Rpc;
use crate::screen::Screen;
use crate::workload::Workload;
use crate::{Failure, down};

/// Which driver to call, and what.
#[derive(Debug, Args)]
pub(crate) struct CsiOptions {
    /// The installation [default: target/demo].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The socket [default: the installation's controller, or node-a for calls to a node].
    #[arg(long)]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    call: Call,
}

/// One call, to the process that can answer it.
#[derive(Debug, Subcommand)]
enum Call {
    #[command(flatten)]
    Controller(ControllerCall),
    #[command(flatten)]
    Node(NodeCall),
}

/// One call to the controller.
#[derive(Debug, Subcommand)]
enum ControllerCall {
    /// Identity.Probe
    Probe,
    /// Identity.GetPluginInfo and its capabilities
    Info,
    /// CreateVolume
    Create {
        /// The name that external-provisioner would choose.
        name: String,
        /// The size, as 1GiB or in bytes.
        #[arg(long, default_value = "1GiB")]
        size: Size,
        /// A StorageClass parameter, `name=value`; an empty value removes one of the defaults.
        #[arg(long = "parameter")]
        parameters: Vec<String>,
    },
    /// ControllerExpandVolume
    Expand { handle: String, size: Size },
    /// DeleteVolume
    Delete { handle: String },
    /// GetCapacity
    Capacity,
    /// ListVolumes
    List,
}

/// One call to a node.
#[derive(Debug, Subcommand)]
enum NodeCall {
    /// NodeStageVolume
    Stage { handle: String, staging: PathBuf },
    /// NodePublishVolume
    Publish {
        handle: String,
        staging: PathBuf,
        target: PathBuf,
    },
    /// NodeGetVolumeStats
    Stats {
        handle: String,
        staging: PathBuf,
        target: PathBuf,
    },
    /// NodeExpandVolume
    Grow {
        handle: String,
        staging: PathBuf,
        target: PathBuf,
        size: Size,
    },
    /// NodeUnpublishVolume
    Unpublish { handle: String, target: PathBuf },
    /// NodeUnstageVolume
    Unstage { handle: String, staging: PathBuf },
}

/// A size in bytes, read from `1GiB`, `512MiB` or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size(i64);

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(split).unwrap_or((text, ""));
        let factor: i64 = match unit.trim_end_matches("iB").trim_end_matches('i') {
            "" => 1,
            "M" => 1 << 20,
            "G" => 1 << 30,
            "T" => 1 << 40,
            _ => return Err(format!("unknown unit `{unit}`; use MiB, GiB, TiB or none")),
        };
        let number: i64 = number
            .parse()
            .map_err(|error| format!("`{number}`: {error}"))?;
        number
            .checked_mul(factor)
            .map(Self)
            .ok_or_else(|| "too large".to_owned())
    }
}

/// Makes the call and prints the answer as JSON.
pub(crate) fn run(options: CsiOptions, screen: &mut Screen) -> Result<(), Failure> {
    let dir = options.dir.unwrap_or_else(down::demo_dir);
    let places = Places { dir: dir.clone() };
    let role = match &options.call {
        Call::Controller(_) => Role::Controller,
        Call::Node(_) => Role::NodeA,
    };
    let socket = options.socket.unwrap_or_else(|| places.socket(role));
    if !socket.exists() {
        return Err(Failure::new(format!(
            "no socket at {}; `make demo KEEP=1` leaves a driver running",
            socket.display()
        )));
    }
    let rpc = Rpc::connect(&socket, Duration::from_secs(5))?;
    let workload = Installation::find(&dir)?.workload();
    let answer = match options.call {
        Call::Controller(call) => controller(&rpc, workload, call)?,
        Call::Node(call) => node(&rpc, &workload, call)?,
    };
    screen.json(&answer);
    Ok(())
}

fn controller(rpc: &Rpc, mut workload: Workload, call: ControllerCall) -> Result<Value, Failure> {
    match call {
        ControllerCall::Probe => {
            let answer = rpc.wait("Probe", rpc.identity().probe(v1::ProbeRequest {}))?;
            Ok(json!({ "ready": answer.ready }))
        }
        ControllerCall::Info => {
            let request = v1::GetPluginInfoRequest {};
            let info = rpc.wait("GetPluginInfo", rpc.identity().get_plugin_info(request))?;
            Ok(json!({ "name": info.name, "vendor_version": info.vendor_version }))
        }
        ControllerCall::Create {
            name,
            size,
            parameters,
        } => {
            for parameter in &parameters {
                workload.set_parameter(parameter);
            }
            let request = workload.create(&name, size.0);
            let answer = rpc.wait("CreateVolume", rpc.controller().create_volume(request))?;
            let volume = answer.volume.unwrap_or_default();
            Ok(json!({
                "volume_id": volume.volume_id,
                "capacity_bytes": volume.capacity_bytes,
                "volume_context": volume.volume_context,
            }))
        }
        ControllerCall::Expand { handle, size } => {
            let request = workload.expand(&handle, size.0);
            let name = "ControllerExpandVolume";
            let answer = rpc.wait(name, rpc.controller().controller_expand_volume(request))?;
            Ok(json!({
                "capacity_bytes": answer.capacity_bytes,
                "node_expansion_required": answer.node_expansion_required,
            }))
        }
        ControllerCall::Delete { handle } => {
            let request = workload.delete(&handle);
            rpc.wait("DeleteVolume", rpc.controller().delete_volume(request))?;
            Ok(json!({}))
        }
        ControllerCall::Capacity => {
            let request = v1::GetCapacityRequest {
                parameters: workload.parameters,
                ..v1::GetCapacityRequest::default()
            };
            let answer = rpc.wait("GetCapacity", rpc.controller().get_capacity(request))?;
            Ok(json!({ "available_capacity": answer.available_capacity }))
        }
        ControllerCall::List => {
            let request = v1::ListVolumesRequest::default();
            let answer = rpc.wait("ListVolumes", rpc.controller().list_volumes(request))?;
            let volumes = answer.entries.into_iter().filter_map(|entry| entry.volume);
            let volumes: Vec<Value> = volumes
                .map(|volume| json!({ "volume_id": volume.volume_id, "capacity_bytes": volume.capacity_bytes }))
                .collect();
            Ok(json!({ "volumes": volumes, "next_token": answer.next_token }))
        }
    }
}

fn node(rpc: &Rpc, workload: &Workload, call: NodeCall) -> Result<Value, Failure> {
    match call {
        NodeCall::Stage { handle, staging } => {
            make_dir(&staging)?;
            let request = workload.stage(&volume(handle, workload), &staging);
            rpc.wait("NodeStageVolume", rpc.node().node_stage_volume(request))?;
        }
        NodeCall::Publish {
            handle,
            staging,
            target,
        } => {
            make_dir(target.parent().unwrap_or(&target))?;
            let request = workload.publish(&volume(handle, workload), &staging, &target);
            rpc.wait("NodePublishVolume", rpc.node().node_publish_volume(request))?;
        }
        NodeCall::Stats {
            handle,
            staging,
            target,
        } => {
            let request = Workload::stats(&handle, &staging, &target);
            let answer = rpc.wait(
                "NodeGetVolumeStats",
                rpc.node().node_get_volume_stats(request),
            )?;
            let usage = answer.usage.iter().map(|usage| {
                json!({
                    "unit": usage.unit().as_str_name(),
                    "total": usage.total, "used": usage.used, "available": usage.available,
                })
            });
            return Ok(json!({ "usage": usage.collect::<Vec<_>>() }));
        }
        NodeCall::Grow {
            handle,
            staging,
            target,
            size,
        } => {
            let request = workload.node_expand(&handle, &staging, &target, size.0);
            let answer = rpc.wait("NodeExpandVolume", rpc.node().node_expand_volume(request))?;
            return Ok(json!({ "capacity_bytes": answer.capacity_bytes }));
        }
        NodeCall::Unpublish { handle, target } => {
            let request = Workload::unpublish(&handle, &target);
            rpc.wait(
                "NodeUnpublishVolume",
                rpc.node().node_unpublish_volume(request),
            )?;
        }
        NodeCall::Unstage { handle, staging } => {
            let request = Workload::unstage(&handle, &staging);
            rpc.wait("NodeUnstageVolume", rpc.node().node_unstage_volume(request))?;
        }
    }
    Ok(json!({}))
}

/// What the PersistentVolume would say: the handle, and the class's parameters as its context.
fn volume(handle: String, workload: &Workload) -> v1::Volume {
    v1::Volume {
        volume_id: handle,
        volume_context: workload.parameters.clone(),
        ..v1::Volume::default()
    }
}

fn make_dir(dir: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(dir)
        .map_err(|error| Failure::because(format!("cannot make {}", dir.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!("1GiB".parse(), Ok(Size(1 << 30)));
        assert_eq!("512Mi".parse(), Ok(Size(512 << 20)));
        assert_eq!("2T".parse(), Ok(Size(2 << 40)));
        assert_eq!("77".parse(), Ok(Size(77)));
        for wrong in ["", "GiB", "1KB", "-1", "99999999999T"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }
}
