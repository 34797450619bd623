//! The context of the job a thread works for: whose request, until when, at which step.
//!
//! A lane enters the context before it runs a job; doors read the deadline from it and write the
//! step into it. Nothing is passed by hand through the layers between.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

thread_local! {
    static CURRENT: RefCell<Option<JobContext>> = const { RefCell::new(None) };
}

/// What a job's threads know about it.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// The request's id, as in the logs.
    pub request_id: String,
    /// When the job is out of time; from then on doors refuse its calls with ETIMEDOUT.
    pub deadline: Option<Instant>,
    /// Where the job's present step is told.
    pub progress: Progress,
}

/// The present step of a job. Clones share it, so that others can ask what a job is doing.
#[derive(Debug, Clone)]
pub struct Progress {
    step: Arc<Mutex<(String, Instant)>>,
}

impl Progress {
    /// A job that has not reached a step yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            step: Arc::new(Mutex::new(("starting".to_owned(), Instant::now()))),
        }
    }

    /// Names the step the job is at from now on.
    pub fn set(&self, step: impl Into<String>) {
        let new = (step.into(), Instant::now());
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// The present step and for how long the job has been at it.
    #[must_use]
    pub fn step(&self) -> (String, Duration) {
        let step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        (step.0.clone(), step.1.elapsed())
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps a job's context on the thread; dropping it brings back the one before.
#[derive(Debug)]
#[must_use = "the context leaves the thread when the guard is dropped"]
pub struct Guard {
    previous: Option<JobContext>,
    // The guard must be dropped on the thread that made it.
    not_send: PhantomData<*const ()>,
}

/// Makes `context` the calling thread's until the guard is dropped.
pub fn enter(context: JobContext) -> Guard {
    let previous = CURRENT.with(|current| current.replace(Some(context)));
    Guard {
        previous,
        not_send: PhantomData,
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        CURRENT.with(|current| current.replace(self.previous.take()));
    }
}

/// The calling thread's context, if it works for a job.
#[must_use]
pub fn current() -> Option<JobContext> {
    CURRENT.with(|current| current.borrow().clone())
}

/// How long the calling thread's job may still run; `None` without a job or a deadline.
#[must_use]
pub fn remaining() -> Option<Duration> {
    CURRENT.with(|current| {
        let deadline = current.borrow().as_ref()?.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    })
}

/// Gives the calling thread's job at least `extra` from now until the guard is dropped: for the
/// few calls that make good what a call that came back late has done.
pub fn overtime(extra: Duration) -> Option<Guard> {
    let mut context = current()?;
    let later = Instant::now().checked_add(extra);
    context.deadline = context.deadline.max(later);
    Some(enter(context))
}

/// Names the step of the calling thread's job; the text is made only if there is a job.
pub(crate) fn at_step(step: impl FnOnce() -> String) {
    CURRENT.with(|current| {
        if let Some(context) = current.borrow().as_ref() {
            context.progress.set(step());
        }
    });
}

/// Starts a named thread that works for the caller's job: same context, same tracing span.
///
/// # Errors
/// As [`thread::Builder::spawn`]: the system has no room for another thread.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    let (context, span) = (current(), tracing::Span::current());
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _guard = context.map(enter);
        span.in_scope(work)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(request_id: &str) -> JobContext {
        JobContext {
            request_id: request_id.to_owned(),
            deadline: None,
            progress: Progress::new(),
        }
    }

    #[test]
    fn contexts_nest_and_are_given_back() {
        let id = || current().map(|context| context.request_id);
        assert_eq!(id(), None);
        let outer = enter(context("outer"));
        {
            let _inner = enter(context("inner"));
            assert_eq!(id().as_deref(), Some("inner"));
        }
        assert_eq!(id().as_deref(), Some("outer"));
        drop(outer);
        assert_eq!(id(), None);
    }

    #[test]
    fn overtime_moves_the_deadline_for_a_while() {
        assert!(overtime(Duration::from_secs(60)).is_none());
        let late = JobContext {
            deadline: Some(Instant::now()),
            ..context("late")
        };
        let _job = enter(late);
        let minute = Duration::from_secs(60);
        let over = overtime(minute);
        assert!(remaining().is_some_and(|left| left > minute / 2));
        // Never shortened.
        drop(overtime(Duration::ZERO));
        assert!(remaining().is_some_and(|left| left > minute / 2));
        drop(over);
        assert_eq!(remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn helpers_work_for_the_same_job() {
        let context = context("parent");
        let _guard = enter(context.clone());
        let helper = spawn("helper", || {
            at_step(|| "helping".to_owned());
            current().map(|context| context.request_id)
        });
        assert_eq!(helper.unwrap().join().unwrap().as_deref(), Some("parent"));
        assert_eq!(context.progress.step().0, "helping");
    }
}
