//! Which names this process has been asked for before. A guess, for speed alone: nothing is decided
//! by it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many names are remembered.
const MOST: u16 = 4096;

/// The names asked for last. A new one takes the place of one with which it shares a slot.
#[derive(Debug)]
pub(crate) struct AskedNames {
    hashes: RandomState,
    slots: Box<[AtomicU64]>,
}

impl Default for AskedNames {
    fn default() -> Self {
        Self {
            hashes: RandomState::new(),
            slots: (0..MOST).map(|_| AtomicU64::new(0)).collect(),
        }
    }
}

impl AskedNames {
    /// Remembers a name; answers whether it has been asked for before, as far as is known.
    pub(crate) fn note(&self, name: &impl Hash) -> bool {
        let hash = self.hashes.hash_one(name);
        let slot = usize::try_from(hash % u64::from(MOST)).unwrap_or(0);
        let slot = self.slots.get(slot);
        slot.is_some_and(|slot| slot.swap(hash, Ordering::Relaxed) == hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_from_the_second_time_on() {
        let asked = AskedNames::default();
        assert_eq!([asked.note(&"a"), asked.note(&"a")], [false, true]);
        assert!(asked.note(&"a"));
    }

    #[test]
    fn the_last_of_very_many_names_is_known() {
        let asked = AskedNames::default();
        for number in 0..3 * u32::from(MOST) {
            assert!(!asked.note(&number), "{number}");
        }
        assert!(asked.note(&(3 * u32::from(MOST) - 1)));
    }
}
