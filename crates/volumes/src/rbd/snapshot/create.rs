//! Taking a snapshot.
//!
//! ```text
//!  source looked up ▶ name reserved ▶ record ▶ snapshot of the source (‖ a number) ▶ image:
//!  names, header, links, own snapshot ▶ the source's snapshot to the trash ▶ commit
//! ```
//!
//! Names, records and makers are those of volumes (see [`create`](crate::rbd::create)): one maker
//! makes the image, whoever finds another one watches it and takes over when it stands still, and
//! what certainly failed is undone.
//!
//! A committed snapshot has left nothing on its source but a snapshot in the trash.

mod error;
mod existing;
mod make;

use cuttle_journal::{Journal, Kind, Reserved};
use cuttle_model::{
    ClusterId, ClusterTable, CoName, ComposedHandle, Credentials, ObjectUuid, SnapshotParameters,
};

pub use error::CreateSnapshotError;

use crate::rbd::controller::RbdController;
use crate::rbd::limits::{Burden, Load};
use crate::rbd::source::{Source, Wanted};
use crate::snapshots::{MadeSnapshot, SourceKind};

/// How often a creation begins again when others delete or make the same snapshot meanwhile.
const ATTEMPTS: u32 = 16;

/// A request for a snapshot.
#[derive(Debug, Clone)]
pub struct CreateSnapshot {
    /// The name by which the orchestrator knows the request.
    pub name: CoName,
    /// The volume.
    pub source: ComposedHandle,
    /// The checked parameters of the VolumeSnapshotClass.
    pub parameters: SnapshotParameters,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// One creation under way.
struct Creation<'r> {
    controller: &'r RbdController,
    request: &'r CreateSnapshot,
    source: Source,
    /// The cluster in the snapshot's handle.
    cluster: ClusterId,
    journal: Journal,
    /// What tells this creation from all others in the record.
    maker: String,
    /// The metadata of the image that tells whom the snapshot is for.
    labels: Vec<(String, String)>,
}

/// How one attempt ended.
enum Attempt {
    /// With a snapshot.
    Done(MadeSnapshot),
    /// With the name free again, or with a state that has changed: look again.
    Again,
}

impl RbdController {
    /// Takes the snapshot, or finds it taken.
    ///
    /// # Guarantees
    /// Of all requests with one name and source, in any process, one snapshot comes.
    ///
    /// # Errors
    /// [`CreateSnapshotError`]. What is left behind: nothing, or what the repeated request
    /// completes.
    ///
    /// # Blocking
    /// One round of the monitors (up to 1 s by default), and some two dozen round trips.
    ///
    /// # Idempotency
    /// Idempotent, also after a crash at any point.
    pub fn create_snapshot(
        &self,
        table: &ClusterTable,
        request: &CreateSnapshot,
    ) -> Result<MadeSnapshot, CreateSnapshotError> {
        let wanted = Wanted {
            kind: SourceKind::Volume,
            handle: &request.source,
            asked: &request.parameters.cluster,
            credentials: &request.credentials,
        };
        let source = self.source(table, &wanted)?;
        let instance = &self.settings.instance;
        let journal = source
            .located
            .journal_of(Kind::Snapshot, &source.settings, instance)?;
        // As ceph-csi: the class's, unless its entry leads to another namespace.
        let asked = table.find(&request.parameters.cluster);
        let namespace = &source.settings.rbd.namespace;
        let cluster = match asked {
            Some(asked) if asked.rbd.namespace == *namespace => asked.id.clone(),
            Some(_) | None => source.settings.id.clone(),
        };
        let creation = Creation {
            controller: self,
            request,
            cluster,
            source,
            journal,
            maker: ObjectUuid::random().to_string(),
            labels: self.settings.labels(request.parameters.metadata.entries()),
        };
        creation.run()
    }
}

impl Creation<'_> {
    fn run(&self) -> Result<MadeSnapshot, CreateSnapshotError> {
        let name = &self.request.name;
        let mut burdens = Vec::new();
        for _attempt in 0..ATTEMPTS {
            let offered = ObjectUuid::random();
            let attempt = match self.reserve(&offered, &mut burdens)? {
                Reserved::New => {
                    let made = self.make_new(&offered)?;
                    burdens.extend(self.load().after_snapshot(&self.image_name(&offered)));
                    made
                }
                Reserved::Taken(entry) => self
                    .take_up(&entry)
                    .map_err(|error| error.unfinished(name))?,
            };
            match attempt {
                Attempt::Done(made) => {
                    burdens.iter().for_each(Burden::order);
                    return Ok(made);
                }
                Attempt::Again => {}
            }
        }
        Err(CreateSnapshotError::Contended { name: name.clone() })
    }

    /// Takes the name for `offered`, or learns who has it. `burdens` becomes what is to be
    /// flattened once the snapshot is taken.
    fn reserve(
        &self,
        offered: &ObjectUuid,
        burdens: &mut Vec<Burden>,
    ) -> Result<Reserved, CreateSnapshotError> {
        let name = &self.request.name;
        let failed = |error| self.journal_failed(error);
        match self.load().of_snapshot() {
            Ok(found) => {
                *burdens = found;
                self.journal.reserve(name, offered).map_err(failed)
            }
            // A snapshot that was taken before is found nevertheless.
            Err(refused) => match self.journal.find(name).map_err(failed)? {
                Some(entry) => Ok(Reserved::Taken(entry)),
                None => Err(refused.into()),
            },
        }
    }

    fn load(&self) -> Load<'_> {
        Load {
            controller: self.controller,
            source: &self.source,
            credentials: &self.request.credentials,
        }
    }
}
