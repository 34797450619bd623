//! Whether the process is ready to serve: a latch that opens when every part has let go.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ready when nobody holds it. Clones are the same latch.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    held: Arc<Mutex<BTreeSet<&'static str>>>,
}

/// Keeps the process from being ready until dropped.
#[derive(Debug)]
#[must_use = "the process is ready as soon as this is dropped"]
pub struct Hold {
    readiness: Readiness,
    part: &'static str,
}

impl Readiness {
    /// A latch that nobody holds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds the latch for a part that has still to start, such as `configuration`. A part that
    /// already holds it lets go with the first of its holds.
    pub fn hold(&self, part: &'static str) -> Hold {
        self.parts().insert(part);
        Hold {
            readiness: self.clone(),
            part,
        }
    }

    /// Whether every part has started.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.parts().is_empty()
    }

    /// The parts that have not started yet.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<&'static str> {
        self.parts().iter().copied().collect()
    }

    fn parts(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.readiness.parts().remove(self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_when_all_parts_have_let_go() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let configuration = readiness.hold("configuration");
        let socket = readiness.hold("socket");
        assert_eq!(readiness.waiting_for(), ["configuration", "socket"]);
        drop(configuration);
        assert!(!readiness.is_ready());
        drop(socket);
        assert!(readiness.is_ready());
    }
}
