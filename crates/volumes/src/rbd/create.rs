//! Making a volume.
//!
//! ```text
//!           name free
//!  reserve ──────────▶ record ‖ names ▶ header ▶ commit ─────────────────────────────▶ done
//!     │ name taken        │ record is another's        ▲
//!     ▼                   ▼                            │
//!  take up ◀──────────────┘                            │
//!     ├─ committed, fitting ─────────────────────────────────────────────────────────▶ done
//!     ├─ committed, not fitting ────────────────────────────────────────────▶ Incompatible
//!     ├─ committed, image gone: name freed, from the start
//!     ├─ no record: written ───────────▶ maker ── image adopted or made anew
//!     └─ another is the maker: watched, taken over when it stands still ──▶ maker
//! ```
//!
//! Who writes the record is the *maker*: its random text in the record says so, nobody else touches
//! the image, and committing demands that it is still there. Whoever finds another maker waits for
//! its commit, and takes over by exchanging the text when nothing moves. So any number of processes
//! agree on one volume, and one that was paused at the wrong moment cannot commit late.
//!
//! An everyday image costs four round trips one after the other. A failure that is certain is
//! undone; one that may still take effect (ETIMEDOUT) is left for the repeated request to take up.

mod clone;
mod error;
mod existing;
mod fit;
mod make;
mod undo;

use ceph::{Cluster, Io};
use cuttle_journal::{Journal, Kind, Reserved};
use cuttle_model::parameters::Parsed;
use cuttle_model::{
    ByteSize, CapacityRange, ClusterSettings, ClusterTable, CoName, Credentials, ObjectUuid,
    VolumeCapability, round_for_image,
};

use clone::{Origin, size_of_clone};
pub use error::CreateError;

use crate::existing::Created;
use crate::rbd::capability::{refusal, refusal_of_empty};
use crate::rbd::controller::{RbdController, open_pool};
use crate::rbd::limits::{Burden, Load};
use crate::rbd::source::{SourceError, Wanted};
use crate::reach::{NamedBy, ReachError};
use crate::snapshots::{ContentSource, SourceKind};

/// How often a creation begins again when others delete or make the same volume meanwhile.
const ATTEMPTS: u32 = 16;

/// A request for a new volume.
#[derive(Debug, Clone)]
pub struct CreateVolume {
    /// The name by which the orchestrator knows the request.
    pub name: CoName,
    /// The allowed sizes.
    pub range: CapacityRange,
    /// How the volume will be used.
    pub capabilities: Vec<VolumeCapability>,
    /// What the volume's data comes from; `None` for an empty one.
    pub source: Option<ContentSource>,
    /// The checked parameters of the StorageClass.
    pub parsed: Parsed,
    /// The Ceph user.
    pub credentials: Credentials,
}

/// One creation under way.
pub(crate) struct Creation<'r> {
    controller: &'r RbdController,
    table: &'r ClusterTable,
    request: &'r CreateVolume,
    settings: &'r ClusterSettings,
    cluster: &'r Cluster,
    io: Io,
    journal: Journal,
    /// What the volume shows.
    origin: Origin,
    /// The size of a new image.
    size: ByteSize,
    /// What tells this creation from all others in the record.
    maker: String,
    /// The metadata of the image, empty when none is to be set.
    metadata: Vec<(String, String)>,
}

/// How one attempt ended.
enum Attempt {
    /// With a volume.
    Done(Created),
    /// With the name free again, or with a state that has changed: look again.
    Again,
}

impl RbdController {
    /// Makes the volume, or finds it made.
    ///
    /// # Guarantees
    /// Of all requests with one name, in any process, one volume comes.
    ///
    /// # Errors
    /// [`CreateError`]. What is left behind: nothing, or what the repeated request completes.
    ///
    /// # Blocking
    /// Some dozen round trips; each bounded by the connection's time-outs.
    ///
    /// # Idempotency
    /// Idempotent, also after a crash at any point.
    pub fn create(
        &self,
        table: &ClusterTable,
        request: &CreateVolume,
    ) -> Result<Created, CreateError> {
        for capability in &request.capabilities {
            let refused = match &request.source {
                Some(_) => refusal(capability),
                None => refusal_of_empty(capability),
            };
            if let Some(refusal) = refused {
                return Err(CreateError::Capability { refusal });
            }
        }
        let origin = self.origin(table, request)?;
        let size = match origin.source() {
            Some(source) => size_of_clone(request.range, source.size)?,
            None => round_for_image(request.range.required, request.range.limit)?,
        };
        let largest = request.parsed.parameters.largest_image();
        if size > largest {
            return Err(CreateError::TooLarge { size, largest });
        }
        let parameters = &request.parsed.parameters;
        let (settings, cluster) = self.connect(
            table,
            &parameters.cluster,
            NamedBy::Parameter,
            &request.credentials,
        )?;
        let io = open_pool(&settings, &cluster, &parameters.pool)?;
        let creation = Creation {
            controller: self,
            table,
            request,
            origin,
            settings: &settings,
            cluster: &cluster,
            journal: Journal::new(Kind::Volume, io.clone(), &self.settings.instance),
            io,
            size,
            maker: ObjectUuid::random().to_string(),
            metadata: self.settings.metadata_of(&request.parsed.metadata),
        };
        creation.check_pools()?;
        creation.run()
    }

    /// What the requested volume is to show.
    fn origin(&self, table: &ClusterTable, request: &CreateVolume) -> Result<Origin, CreateError> {
        let Some(ContentSource { kind, handle }) = &request.source else {
            return Ok(Origin::Empty);
        };
        let wanted = Wanted {
            kind: *kind,
            handle,
            asked: &request.parsed.parameters.cluster,
            credentials: &request.credentials,
        };
        match self.source(table, &wanted) {
            Ok(source) => Ok(Origin::Of(Box::new(source))),
            Err(SourceError::Absent { kind, handle }) => Ok(Origin::Gone { kind, handle }),
            Err(error) => Err(error.into()),
        }
    }
}

impl Creation<'_> {
    /// Whether images can be made in the pools. Costs nothing once it is known.
    fn check_pools(&self) -> Result<(), CreateError> {
        let ready = self.io.pool_is_initialised();
        let ready = ready.map_err(|error| self.refused("look at the pool", error))?;
        if !ready {
            let pool = self.io.pool_name().to_owned();
            return Err(ReachError::NotInitialised { pool }.into());
        }
        if let Some(data_pool) = &self.request.parsed.parameters.data_pool {
            let id = self.cluster.pool_id(data_pool);
            let id = id.map_err(|error| self.refused("look for the data pool", error))?;
            if id.is_none() {
                return Err(ReachError::PoolMissing {
                    cluster: self.settings.id.clone(),
                    pool: data_pool.clone(),
                }
                .into());
            }
        }
        Ok(())
    }

    fn run(&self) -> Result<Created, CreateError> {
        let name = &self.request.name;
        let place = (&self.settings.id, self.io.pool_id(), name);
        // A name that was asked for before has most likely been taken since: looking is cheaper
        // than a write that is refused, which the OSDs log as an error.
        let mut look_first = self.controller.asked.note(&place);
        let mut burdens = Vec::new();
        for _attempt in 0..ATTEMPTS {
            let offered = ObjectUuid::random();
            let reserved = self.reserve(&offered, look_first, &mut burdens)?;
            look_first = true;
            let attempt = match reserved {
                Reserved::New => self.make_new(&offered)?,
                Reserved::Taken(entry) => self
                    .take_up(&entry)
                    .map_err(|error| error.unfinished(name))?,
            };
            match attempt {
                Attempt::Done(created) => {
                    burdens.iter().for_each(Burden::order);
                    return Ok(created);
                }
                Attempt::Again => {}
            }
        }
        Err(CreateError::Contended { name: name.clone() })
    }

    /// Takes the name for `offered`, or learns who has it. `burdens` becomes what is to be
    /// flattened once the volume is made.
    fn reserve(
        &self,
        offered: &ObjectUuid,
        look_first: bool,
        burdens: &mut Vec<Burden>,
    ) -> Result<Reserved, CreateError> {
        let name = &self.request.name;
        let failed = |error| self.journal_failed(error);
        if look_first && let Some(entry) = self.journal.find(name).map_err(failed)? {
            return Ok(Reserved::Taken(entry));
        }
        let refused = match self.burdens() {
            Ok(found) => {
                *burdens = found;
                return self.journal.reserve(name, offered).map_err(failed);
            }
            Err(refused) => refused,
        };
        // A volume that was made before is found nevertheless.
        if !look_first && let Some(entry) = self.journal.find(name).map_err(failed)? {
            return Ok(Reserved::Taken(entry));
        }
        Err(refused)
    }

    /// Whether there is something to take data from, and it bears it: what is to be flattened once
    /// the volume is made.
    fn burdens(&self) -> Result<Vec<Burden>, CreateError> {
        if let Some(gone) = self.origin.error() {
            return Err(gone);
        }
        let Some(source) = self.origin.source() else {
            return Ok(Vec::new());
        };
        let load = Load {
            controller: self.controller,
            source,
            credentials: &self.request.credentials,
        };
        let mut burdens = match source.kind {
            SourceKind::Volume => load.of_snapshot()?,
            SourceKind::Snapshot => Vec::new(),
        };
        burdens.extend(load.of_clone()?);
        Ok(burdens)
    }
}
