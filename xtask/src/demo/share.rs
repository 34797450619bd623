//! A CephFS volume's life in the same processes: its quota refuses a write, grows, and lets go on.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cuttle_csi::v1;
use cuttle_testbed::until;

use super::ledger::Ledger;
use crate::Failure;
use crate::installation::{Installation, Role};
use crate::rpc::Rpc;
use crate::workload::Workload;

const MIB: i64 = 1 << 20;

/// What Linux answers to a write past a quota.
const EDQUOT: i32 = 122;

/// A CephFS volume's way through its life.
#[derive(Debug)]
pub(crate) struct Share {
    controller: Rpc,
    node: Rpc,
    staging: PathBuf,
    target: PathBuf,
    workload: Workload,
}

impl Share {
    /// Connects to the sockets of the driver for CephFS.
    pub(crate) fn begin(installation: &Installation) -> Result<Self, Failure> {
        let patience = Duration::from_secs(10);
        let places = &installation.places;
        let connect = |role| Rpc::connect(&places.cephfs_socket(role), patience);
        let beside = |path: PathBuf| path.with_file_name("share");
        Ok(Self {
            controller: connect(Role::Controller)?,
            node: connect(Role::NodeA)?,
            staging: beside(places.staging(Role::NodeA)),
            target: beside(places.target(Role::NodeA)),
            workload: installation.cephfs_workload(),
        })
    }

    /// Leads the volume from its creation to its end.
    pub(crate) fn run(&self, ledger: &mut Ledger<'_>) -> Result<(), Failure> {
        let volume = ledger.step("CephFS: CreateVolume", || {
            let rpc = &self.controller;
            let request = self.workload.create("pvc-share-demo", 20 * MIB);
            let answer = rpc.wait("CreateVolume", rpc.controller().create_volume(request))?;
            let volume = answer.volume;
            let volume =
                volume.ok_or_else(|| Failure::new("CreateVolume answered without a volume"))?;
            Ok((volume, "20 MiB, a subvolume with a quota".to_owned()))
        })?;
        self.attach(ledger, &volume)?;
        let mut file = File::create(self.target.join("file"))
            .map_err(|error| Failure::because("cannot make a file".to_owned(), &error))?;
        ledger.step("CephFS: write past the quota", || {
            let (written, refused) = write(&mut file, 64 * MIB);
            if refused != Some(EDQUOT) {
                return Err(Failure::new(format!(
                    "{written} bytes were written, then errno {refused:?}, not EDQUOT"
                )));
            }
            let detail = format!("EDQUOT after {} MiB of 20", written / MIB);
            Ok(((), detail))
        })?;
        self.grow(ledger, &volume.volume_id)?;
        ledger.step("CephFS: write on", || {
            let (written, refused) = write(&mut file, 10 * MIB);
            match refused {
                None => Ok(((), format!("{} MiB more", written / MIB))),
                Some(errno) => Err(Failure::new(format!("errno {errno} after {written} bytes"))),
            }
        })?;
        drop(file);
        self.detach(ledger, &volume.volume_id)
    }

    fn attach(&self, ledger: &mut Ledger<'_>, volume: &v1::Volume) -> Result<(), Failure> {
        ledger.step("CephFS: NodeStageVolume, NodePublishVolume", || {
            std::fs::create_dir_all(&self.staging).map_err(|error| {
                Failure::because("cannot make the staging path".to_owned(), &error)
            })?;
            let node = &self.node;
            let request = self.workload.stage(volume, &self.staging);
            node.wait("NodeStageVolume", node.node().node_stage_volume(request))?;
            let request = self.workload.publish(volume, &self.staging, &self.target);
            node.wait(
                "NodePublishVolume",
                node.node().node_publish_volume(request),
            )?;
            Ok(((), "ceph-fuse, kept alive by a keeper".to_owned()))
        })
    }

    fn grow(&self, ledger: &mut Ledger<'_>, handle: &str) -> Result<(), Failure> {
        ledger.step("CephFS: ControllerExpandVolume", || {
            let rpc = &self.controller;
            let request = self.workload.expand(handle, 40 * MIB);
            let mut controller = rpc.controller();
            let call = controller.controller_expand_volume(request);
            let grown = rpc.wait("ControllerExpandVolume", call)?;
            if grown.node_expansion_required {
                return Err(Failure::new("a node is to grow it, which nobody can"));
            }
            until(
                "the client has the new quota",
                Duration::from_secs(60),
                || {
                    let total = total(&self.target).map_err(|error| error.to_string())?;
                    match i64::try_from(total) {
                        Ok(total) if total == 40 * MIB => Ok(()),
                        _ => Err(format!("{total} bytes")),
                    }
                },
            )?;
            Ok(((), "40 MiB, seen in the mount".to_owned()))
        })
    }

    fn detach(&self, ledger: &mut Ledger<'_>, handle: &str) -> Result<(), Failure> {
        ledger.step("CephFS: NodeUnpublish-, NodeUnstage-, DeleteVolume", || {
            let node = &self.node;
            let request = Workload::unpublish(handle, &self.target);
            node.wait(
                "NodeUnpublishVolume",
                node.node().node_unpublish_volume(request),
            )?;
            let request = Workload::unstage(handle, &self.staging);
            node.wait(
                "NodeUnstageVolume",
                node.node().node_unstage_volume(request),
            )?;
            let rpc = &self.controller;
            let request = self.workload.delete(handle);
            rpc.wait("DeleteVolume", rpc.controller().delete_volume(request))?;
            Ok(((), "ceph-fuse and its keeper have ended".to_owned()))
        })
    }
}

/// Writes a mebibyte at a time; answers how much was written, and the errno that ended it.
fn write(file: &mut File, most: i64) -> (i64, Option<i32>) {
    let block = vec![b'x'; 1 << 20];
    let mut written = 0;
    while written < most {
        match file.write_all(&block).and_then(|()| file.sync_data()) {
            Ok(()) => written += MIB,
            Err(error) => return (written, Some(error.raw_os_error().unwrap_or(-1))),
        }
    }
    (written, None)
}

fn total(path: &Path) -> Result<u64, rustix::io::Errno> {
    rustix::fs::statvfs(path).map(|seen| seen.f_blocks.saturating_mul(seen.f_frsize))
}
