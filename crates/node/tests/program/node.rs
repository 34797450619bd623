//! One node operation in a process of its own, so that tests can kill it at any outside call.
//!
//! `image-export` exports an image, as the product's hidden subcommand does. Without an argument,
//! an [`Order`] is read from standard input and its outcome written to standard output as JSON.

use std::error::Error;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ceph::{Clusters, ConnectOptions};
use cuttle_door::job::{JobContext, Progress, enter};
use cuttle_door::{Doors, FaultPlan};
use cuttle_host::Host;
use cuttle_model::{
    Access, AccessMode, AttachParameters, ByteSize, ClusterId, ClusterSettings, Credentials,
    Explain, FsType, ImageName, Monitors, Mounter, PoolName, RadosNamespace, Secret, StaticImage,
    UserId, VolumeCapability, chain,
};
use cuttle_node::rbd::{
    ExpandVolume, PublishVolume, RbdNode, StageVolume, UnpublishVolume, UnstageVolume, Volume,
};
use cuttle_node::{ExportProgram, NodeSettings, VolumeId};
use serde::Deserialize;
use serde_json::{Value, json};

/// What is to be done, to what, and what is to go wrong.
#[derive(Deserialize)]
struct Order {
    operation: String,
    faults: String,
    within_ms: u64,
    monitors: String,
    key: String,
    namespace: String,
    image: String,
    staging: PathBuf,
    target: PathBuf,
    /// A filesystem type; a raw block volume without.
    fs_type: Option<String>,
    /// How large an expanded volume must be at least.
    required_mib: Option<u64>,
}

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("image-export") {
        return cuttle_image_export::main_from_stdin();
    }
    let outcome = read_order().and_then(|order| carry_out(&order));
    let (outcome, exit) = match outcome {
        Ok(outcome) => (outcome, ExitCode::SUCCESS),
        Err(error) => (json!({"wrong_order": error.to_string()}), ExitCode::FAILURE),
    };
    match writeln!(std::io::stdout(), "{outcome}") {
        Ok(()) => exit,
        Err(_nobody_reads) => ExitCode::FAILURE,
    }
}

fn read_order() -> Result<Order, Box<dyn Error>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

fn carry_out(order: &Order) -> Result<Value, Box<dyn Error>> {
    let doors = Doors::new(order.faults.parse::<FaultPlan>()?);
    let program = ExportProgram {
        path: std::env::current_exe()?,
        arguments: vec!["image-export".to_owned()],
    };
    let mut settings = NodeSettings::new(program);
    // An export must not keep this process's outputs open when it is killed.
    settings.export_log.file = Some(order.staging.with_file_name("export.log"));
    let node = RbdNode::new(
        Host::new(doors.host.clone()),
        Clusters::new(doors.ceph.clone(), ConnectOptions::default()),
        settings,
    );
    let _guard = enter(JobContext {
        request_id: "test".to_owned(),
        deadline: Some(Instant::now() + Duration::from_millis(order.within_ms)),
        progress: Progress::new(),
    });
    let error = operate(&node, order)?;
    Ok(json!({
        "calls": doors.ledger().total(),
        "error": error.map(|error| json!({
            "code": error.code().to_string(),
            "class": format!("{:?}", error.class()),
            "left": format!("{:?}", error.left()),
            "message": chain(error.as_ref()),
        })),
    }))
}

fn operate(node: &RbdNode, order: &Order) -> Result<Option<Box<dyn Explain>>, Box<dyn Error>> {
    fn told<E: Explain>(outcome: Result<(), E>) -> Option<Box<dyn Explain>> {
        outcome
            .err()
            .map(|error| -> Box<dyn Explain> { Box::new(error) })
    }
    let id = VolumeId::new(order.image.clone())?;
    let staging_path = order.staging.clone();
    let target_path = order.target.clone();
    Ok(match order.operation.as_str() {
        "stage" => told(node.stage(&stage_request(order)?)),
        "unstage" => told(node.unstage(&UnstageVolume { id, staging_path })),
        "publish" => told(node.publish(&PublishVolume {
            id,
            staging_path,
            target_path,
            capability: capability(order)?,
            read_only: false,
        })),
        "unpublish" => told(node.unpublish(&UnpublishVolume { id, target_path })),
        "expand" => told(
            node.expand(&ExpandVolume {
                id,
                volume_path: target_path,
                staging_path: Some(staging_path),
                required: order
                    .required_mib
                    .map(|mib| ByteSize::from_bytes(mib << 20)),
            })
            .map(|_expanded| ()),
        ),
        other => return Err(format!("no operation {other}").into()),
    })
}

fn capability(order: &Order) -> Result<VolumeCapability, Box<dyn Error>> {
    let access = match &order.fs_type {
        None => Access::Block,
        Some(name) => Access::Filesystem {
            fs_type: Some(FsType::new(name.clone())?),
            mount_flags: Vec::new(),
        },
    };
    let mode = AccessMode::SingleNodeWriter;
    Ok(VolumeCapability { access, mode })
}

fn stage_request(order: &Order) -> Result<StageVolume, Box<dyn Error>> {
    let monitors = Monitors::new(vec![order.monitors.clone()])?;
    let id = ClusterId::new("test")?;
    let mut settings = ClusterSettings::new(id.clone(), monitors);
    settings.rbd.namespace = RadosNamespace::new(order.namespace.clone())?;
    Ok(StageVolume {
        id: VolumeId::new(order.image.clone())?,
        volume: Volume::Static(StaticImage {
            cluster: id,
            pool: PoolName::new("rbd")?,
            image: ImageName::new(order.image.clone())?,
        }),
        cluster: Arc::new(settings),
        credentials: Credentials {
            user: UserId::new("admin")?,
            key: Secret::new(order.key.clone()),
        },
        staging_path: order.staging.clone(),
        capability: capability(order)?,
        parameters: AttachParameters {
            mounter: Mounter::Fuse,
            ..AttachParameters::default()
        },
    })
}
