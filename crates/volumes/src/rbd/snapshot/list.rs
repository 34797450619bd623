//! All snapshots, page by page, or those of one volume.

use cuttle_journal::Kind;
use cuttle_model::{ClusterTable, ComposedHandle, Credentials, ImageName, PoolId};

use super::get::{taken, volume_of};
use crate::rbd::controller::RbdController;
use crate::rbd::list::{Finished, ListError, ListSource, look_at};
use crate::reach::{NamedBy, ReachError};
use crate::snapshots::{KnownSnapshot, ListSnapshots, SnapshotPage};

impl RbdController {
    /// Where the snapshots of a volume are: beside it. Nowhere when its pool is gone.
    ///
    /// # Errors
    /// [`ListError`].
    pub fn snapshots_of(
        &self,
        table: &ClusterTable,
        volume: &ComposedHandle,
        credentials: &Credentials,
    ) -> Result<Vec<ListSource>, ListError> {
        let (_settings, cluster) =
            self.connect(table, &volume.cluster, NamedBy::Handle, credentials)?;
        let pool = cluster.pool_name(PoolId::new(volume.location));
        let pool = pool.map_err(|source| ReachError::Ceph {
            doing: format!("look for pool number {}", volume.location),
            source,
        })?;
        let source = pool.map(|pool| ListSource {
            cluster: volume.cluster.clone(),
            pools: vec![pool],
            credentials: credentials.clone(),
        });
        Ok(source.into_iter().collect())
    }

    /// A page of the snapshots in `sources`, in order of source, pool and name. Changes nothing.
    /// One whose image is gone is left out.
    ///
    /// # Errors
    /// [`ListError`].
    ///
    /// # Blocking
    /// Three rounds of reads per page, whatever its size.
    pub fn list_snapshots(
        &self,
        table: &ClusterTable,
        sources: &[ListSource],
        request: &ListSnapshots,
    ) -> Result<SnapshotPage, ListError> {
        let kind = Kind::Snapshot;
        let page = self.page(
            table,
            sources,
            &request.page,
            kind,
            |source, io, entries| {
                let pool = io.pool_id();
                let volume = |image: &ImageName| volume_of(&source.cluster, pool, image);
                let found = look_at(kind, source, io, entries, |record| match &request.of {
                    Some(of) => {
                        let source = record.source.as_ref().and_then(volume);
                        source.is_some_and(|it| it.uuid == of.uuid && it.location == of.location)
                    }
                    None => true,
                })?;
                let known = |found: Finished| {
                    let header = found.header?;
                    Some(KnownSnapshot {
                        handle: ComposedHandle {
                            cluster: source.cluster.clone(),
                            location: pool.get(),
                            uuid: found.uuid,
                        },
                        source: found.record.source.as_ref().and_then(volume),
                        size: header.size,
                        taken: taken(&header),
                    })
                };
                Ok(found.into_iter().filter_map(known).collect())
            },
        );
        let (snapshots, next) = page?;
        Ok(SnapshotPage { snapshots, next })
    }
}
