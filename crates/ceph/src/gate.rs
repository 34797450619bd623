//! The way to the manager: so many commands at once and no more, and equal questions asked once.
//!
//! A manager carries out the commands of one module one after the other, so sending more does not
//! make it faster; it only hides how long each of them waits and keeps other clients' commands out.
//!
//! ```text
//!  ask ─▶ an equal question waits here? ── yes ─▶ take its answer
//!          │ no
//!          ▼
//!         wait for a place, and for an equal question under way to end ─▶ send ─▶ answer all
//! ```
//!
//! A question that has been sent is never joined: its answer may be older than what the joiner has
//! just changed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Counts the commands under way and holds back what exceeds the number.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    most: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    under_way: usize,
    /// Questions under way.
    asked: HashSet<String>,
    /// Questions that wait for their turn, with the place for their answer.
    waiting: HashMap<String, Arc<Mutex<Outcome<T>>>>,
}

/// What became of a question that others have joined.
#[derive(Debug)]
enum Outcome<T> {
    Open,
    Answered(T),
    /// Who was to ask it has run out of time.
    GivenUp,
}

/// The time to wait for a place has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoPlace;

/// A place among the commands under way, given back on drop.
#[derive(Debug)]
pub(crate) struct Place<T> {
    gate: Arc<Gate<T>>,
    question: Option<String>,
}

impl<T> Drop for Place<T> {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.under_way = state.under_way.saturating_sub(1);
        if let Some(question) = &self.question {
            state.asked.remove(question);
        }
        drop(state);
        self.gate.changed.notify_all();
    }
}

impl<T: Clone> Gate<T> {
    /// A gate with that many places; at least one.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            state: Mutex::new(State {
                under_way: 0,
                asked: HashSet::new(),
                waiting: HashMap::new(),
            }),
            changed: Condvar::new(),
        }
    }

    /// Waits for a place for a command.
    ///
    /// # Errors
    /// [`NoPlace`] when there is none within `limit`.
    pub(crate) fn enter(self: &Arc<Self>, limit: Duration) -> Result<Place<T>, NoPlace> {
        let full = |state: &mut State<T>| state.under_way >= self.most;
        let waited = self.changed.wait_timeout_while(self.state(), limit, full);
        let (mut state, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.under_way >= self.most {
            return Err(NoPlace);
        }
        state.under_way = state.under_way.saturating_add(1);
        Ok(Place {
            gate: Arc::clone(self),
            question: None,
        })
    }

    /// A place for a command if one is free at once. Who holds a place already may ask for another
    /// only so: were all to wait for their second one, nobody would ever go on.
    pub(crate) fn try_enter(self: &Arc<Self>) -> Option<Place<T>> {
        self.enter(Duration::ZERO).ok()
    }

    /// Asks a question, or takes the answer to an equal one that had not been sent yet. `ask` gets
    /// the time that is left of `limit`.
    ///
    /// # Errors
    /// [`NoPlace`] when its turn does not come within `limit`.
    pub(crate) fn ask(
        self: &Arc<Self>,
        question: &str,
        limit: Duration,
        ask: impl FnOnce(Duration) -> T,
    ) -> Result<T, NoPlace> {
        let begun = Instant::now();
        let left = || limit.saturating_sub(begun.elapsed());
        loop {
            let mut state = self.state();
            if let Some(mine) = state.waiting.get(question) {
                let mine = Arc::clone(mine);
                drop(state);
                match self.join(&mine, left()) {
                    Some(answer) => return Ok(answer),
                    None if left().is_zero() => return Err(NoPlace),
                    None => continue,
                }
            }
            let slot = Arc::new(Mutex::new(Outcome::Open));
            state.waiting.insert(question.to_owned(), Arc::clone(&slot));
            let blocked = |state: &mut State<T>| {
                state.under_way >= self.most || state.asked.contains(question)
            };
            let waited = self.changed.wait_timeout_while(state, left(), blocked);
            let (mut state, _timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            state.waiting.remove(question);
            if blocked(&mut state) {
                *lock(&slot) = Outcome::GivenUp;
                drop(state);
                self.changed.notify_all();
                return Err(NoPlace);
            }
            state.under_way = state.under_way.saturating_add(1);
            state.asked.insert(question.to_owned());
            drop(state);
            let place = Place {
                gate: Arc::clone(self),
                question: Some(question.to_owned()),
            };
            let answer = ask(left());
            *lock(&slot) = Outcome::Answered(answer.clone());
            // Wakes those who have joined, too.
            drop(place);
            return Ok(answer);
        }
    }

    /// The answer to a question that somebody else is about to ask; `None` when they gave up or the
    /// time is over.
    fn join(&self, slot: &Mutex<Outcome<T>>, limit: Duration) -> Option<T> {
        let open = |_state: &mut State<T>| matches!(*lock(slot), Outcome::Open);
        let waited = self.changed.wait_timeout_while(self.state(), limit, open);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        match &*lock(slot) {
            Outcome::Answered(answer) => Some(answer.clone()),
            Outcome::Open | Outcome::GivenUp => None,
        }
    }
}

impl<T> Gate<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn until(mut look: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !look() {
            assert!(begun.elapsed() < LONG, "it never came");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn no_more_than_the_number_are_under_way() {
        let gate = Arc::new(Gate::<()>::new(2));
        let (under_way, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let place = gate.enter(LONG).unwrap();
                    most.fetch_max(
                        under_way.fetch_add(1, Ordering::SeqCst) + 1,
                        Ordering::SeqCst,
                    );
                    thread::yield_now();
                    under_way.fetch_sub(1, Ordering::SeqCst);
                    drop(place);
                });
            }
        });
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
        assert_eq!(gate.state().under_way, 0);
    }

    #[test]
    fn who_waits_too_long_is_told() {
        let gate = Arc::new(Gate::<u8>::new(1));
        let place = gate.enter(LONG).unwrap();
        let short = Duration::from_millis(1);
        assert_eq!(gate.enter(short).map(drop), Err(NoPlace));
        assert_eq!(gate.ask("q", short, |_| 1), Err(NoPlace));
        drop(place);
        assert_eq!(gate.ask("q", LONG, |_| 2), Ok(2));
        assert!(gate.state().waiting.is_empty() && gate.state().asked.is_empty());
    }

    #[test]
    fn a_place_that_is_not_free_at_once_is_not_waited_for() {
        let gate = Arc::new(Gate::<u8>::new(2));
        let first = gate.try_enter().unwrap();
        let second = gate.try_enter().unwrap();
        assert!(gate.try_enter().is_none());
        drop(first);
        assert!(gate.try_enter().is_some());
        drop(second);
        assert_eq!(gate.state().under_way, 0);
    }

    #[test]
    fn equal_questions_that_wait_are_asked_once_and_sent_ones_are_not_joined() {
        let gate = Arc::new(Gate::<usize>::new(8));
        let asked = AtomicUsize::new(0);
        let (go, held) = mpsc::channel::<()>();
        let answers = Mutex::new(Vec::new());
        thread::scope(|scope| {
            let ask = |hold: Option<mpsc::Receiver<()>>| {
                let answer = gate.ask("q", LONG, |_| {
                    let number = asked.fetch_add(1, Ordering::SeqCst);
                    if let Some(held) = hold {
                        held.recv().unwrap();
                    }
                    number
                });
                lock(&answers).push(answer.unwrap());
            };
            scope.spawn(move || ask(Some(held)));
            until(|| asked.load(Ordering::SeqCst) == 1);
            for _ in 0..5 {
                scope.spawn(move || ask(None));
            }
            // All five are here: one waits for its turn, the others for it.
            until(|| {
                let state = gate.state();
                let waiting = state.waiting.get("q");
                waiting.is_some_and(|slot| Arc::strong_count(slot) == 6)
            });
            assert_eq!(gate.ask("other", LONG, |_| 7), Ok(7));
            go.send(()).unwrap();
        });
        let mut answers = answers.into_inner().unwrap();
        answers.sort_unstable();
        assert_eq!(answers, [0, 1, 1, 1, 1, 1]);
        assert_eq!(gate.state().under_way, 0);
    }
}
