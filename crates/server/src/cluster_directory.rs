//! The configured clusters as they are now; a watcher replaces them while calls go on.

use std::sync::{Arc, PoisonError, RwLock};

use cuttle_model::ClusterTable;

/// The current table of clusters. Clones are the same directory.
#[derive(Debug, Clone, Default)]
pub struct ClusterDirectory {
    table: Arc<RwLock<ClusterTable>>,
}

impl ClusterDirectory {
    /// A directory with these clusters.
    #[must_use]
    pub fn new(table: ClusterTable) -> Self {
        Self {
            table: Arc::new(RwLock::new(table)),
        }
    }

    /// The clusters now. A request works with one snapshot from beginning to end.
    #[must_use]
    pub fn snapshot(&self) -> ClusterTable {
        self.table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts other clusters in place for all requests to come.
    pub fn replace(&self, table: ClusterTable) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
    }
}
