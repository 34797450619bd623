//! Making a volume.
//!
//! ```text
//!           name free
//!  reserve ──────────▶ record ▶ subvolume ‖ name still ours? ▶ commit ‖ quota read back ▶ done
//!     │ name taken        │ record is another's
//!     ▼                   ▼
//!  take up ◀──────────────┘
//!     ├─ committed, fitting ──────────────────────────────────────────────────────────▶ done
//!     ├─ committed, not fitting ─────────────────────────────────────────────▶ Incompatible
//!     ├─ committed, subvolume gone: name freed, from the start
//!     ├─ no record: written, and made as above
//!     └─ another is the maker: watched; when it stands still, its subvolume is removed and the
//!        name gets the UUID's successor, from the start
//! ```
//!
//! Who writes the record is the *maker*: its random text in the record says so, nobody else touches
//! the subvolume, and committing demands that it is still there. The manager knows no guards: a
//! command that a paused process sends late is carried out. So a UUID has one maker for ever, and
//! a late command meets a subvolume that nobody will ever use.
//!
//! A failure that is certain is undone; one that may still take effect (ETIMEDOUT) is left for the
//! repeated request.

mod error;
mod existing;
mod fit;
mod make;
mod undo;

use cuttle_journal::{JournalError, Reserved};
use cuttle_model::{
    ByteSize, CapacityRange, CephfsParsed, ClusterTable, CoName, Credentials, FsPath, ObjectUuid,
    SubvolumeName, VolumeCapability, round_for_subvolume,
};

pub use error::CreateError;

use super::capability::refusal_of_empty;
use super::controller::CephfsController;
use super::place::Place;
use crate::existing::Created;

/// How often a creation begins again when others delete or make the same volume meanwhile.
const ATTEMPTS: u32 = 16;

/// A request for a new, empty volume.
#[derive(Debug, Clone)]
pub struct CreateVolume {
    /// The name by which the orchestrator knows the request.
    pub name: CoName,
    /// The allowed sizes; `None` asks for a volume without a quota.
    pub range: Option<CapacityRange>,
    /// How the volume will be used.
    pub capabilities: Vec<VolumeCapability>,
    /// The checked parameters of the StorageClass.
    pub parsed: CephfsParsed,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// One creation under way.
struct Creation<'r> {
    controller: &'r CephfsController,
    request: &'r CreateVolume,
    place: &'r Place,
    /// The quota of a new subvolume.
    quota: Option<ByteSize>,
    /// What tells this creation from all others in the record.
    maker: String,
    /// The metadata of the subvolume, empty when none is to be set.
    metadata: Vec<(String, String)>,
}

/// How one attempt ended.
enum Attempt {
    /// With a volume.
    Done(Created),
    /// With the name free again, or with a state that has changed: look again.
    Again,
}

impl CephfsController {
    /// Makes the volume, or finds it made.
    ///
    /// # Guarantees
    /// Of all requests with one name, in any process, one volume comes, and its quota was read
    /// back from the cluster.
    ///
    /// # Errors
    /// [`CreateError`]. What is left behind: nothing, or what the repeated request completes.
    ///
    /// # Blocking
    /// Two commands to the manager and some round trips; each bounded by the connection's
    /// time-outs.
    ///
    /// # Idempotency
    /// Idempotent, also after a crash at any point.
    pub fn create(
        &self,
        table: &ClusterTable,
        request: &CreateVolume,
    ) -> Result<Created, CreateError> {
        for capability in &request.capabilities {
            if let Some(refusal) = refusal_of_empty(capability) {
                return Err(CreateError::Capability { refusal });
            }
        }
        let quota = request
            .range
            .map(|range| round_for_subvolume(range.required, range.limit))
            .transpose()?;
        let parameters = &request.parsed.parameters;
        let place = self.by_name(
            table,
            &parameters.cluster,
            &parameters.fs,
            &request.credentials,
        )?;
        let creation = Creation {
            controller: self,
            request,
            place: &place,
            quota,
            maker: ObjectUuid::random().to_string(),
            metadata: self.settings.metadata_of(&request.parsed.metadata),
        };
        creation.check_parameters()?;
        creation.run()
    }
}

impl Creation<'_> {
    fn run(&self) -> Result<Created, CreateError> {
        let name = &self.request.name;
        let place = (&self.place.settings.id, self.place.fs.id, name);
        // A name that was asked for before has most likely been taken since: looking is cheaper
        // than a write that is refused, which the OSDs log as an error.
        let mut look_first = self.controller.asked.note(&place);
        for _attempt in 0..ATTEMPTS {
            let offered = ObjectUuid::random();
            let reserved = self.reserve(&offered, look_first);
            look_first = true;
            let attempt = match reserved.map_err(|error| self.journal_failed(error))? {
                Reserved::New => self.make(&offered)?,
                Reserved::Taken(entry) => self
                    .take_up(&entry.uuid)
                    .map_err(|error| error.unfinished(name))?,
            };
            match attempt {
                Attempt::Done(created) => return Ok(created),
                Attempt::Again => {}
            }
        }
        Err(CreateError::Contended { name: name.clone() })
    }

    /// Takes the name for `offered`, or learns who has it.
    fn reserve(&self, offered: &ObjectUuid, look_first: bool) -> Result<Reserved, JournalError> {
        let (journal, name) = (&self.place.journal, &self.request.name);
        if look_first && let Some(entry) = journal.find(name)? {
            return Ok(Reserved::Taken(entry));
        }
        journal.reserve(name, offered)
    }

    fn created(
        &self,
        uuid: &ObjectUuid,
        subvolume: &SubvolumeName,
        path: &FsPath,
        quota: Option<ByteSize>,
    ) -> Created {
        Created {
            handle: cuttle_model::ComposedHandle {
                cluster: self.place.settings.id.clone(),
                location: self.place.fs.id.get(),
                uuid: uuid.clone(),
            },
            // CSI's "unknown" stands for "no limit".
            size: quota.unwrap_or(ByteSize::ZERO),
            context: super::context::volume_context(&self.request.parsed, subvolume, path),
        }
    }

    fn journal_failed(&self, error: JournalError) -> CreateError {
        self.place.journal(error).into()
    }
}
