//! The rim of every call: request id, span, deadline, the line in the log and the status.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cuttle_model::{Class, Explain, chain};
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};
use tracing::{Instrument, Span, field};

use crate::dispatch::{Ask, Dispatcher, Failure, Fingerprint, Hold, Key, LaneName};
use crate::figures::CallFigures;
use crate::rpc::Rpc;
use crate::status::{Doing, status};

/// How long a caller without a deadline of its own waits; the sidecars' usual limit.
const DEFAULT_WAIT: Duration = Duration::from_secs(150);

/// Gives every request an id that no other request of any process has.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: String,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids for this process.
    pub(crate) fn new() -> Self {
        // The first field of a version 4 UUID is random throughout.
        let random = uuid::Uuid::new_v4();
        Self {
            process: format!("{:08x}", random.as_fields().0),
            next: AtomicU64::new(1),
        }
    }

    fn next(&self) -> Arc<str> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Arc::from(format!("{}-{number}", self.process))
    }
}

/// Why a call has no reply: what it was doing, and the failure.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) doing: Doing,
    pub(crate) error: Failure,
    /// Another request's job failed, and that request's line tells about it.
    pub(crate) told_elsewhere: bool,
}

impl Failed {
    /// A failure of this request itself.
    pub(crate) fn new(doing: Doing, error: impl Explain) -> Self {
        Self {
            doing,
            error: Arc::new(error),
            told_elsewhere: false,
        }
    }
}

/// What the work of a call needs to know about it.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) rpc: Rpc,
    pub(crate) request_id: Arc<str>,
    /// When the caller stops listening; the answer is sent a little before.
    pub(crate) deadline: Option<Instant>,
}

/// One call on its way through the server.
pub(crate) struct Call {
    visit: Visit,
    meter: Meter,
    started: Instant,
    span: Span,
    answered: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("visit", &self.visit)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// Begins a call: gives it an id, a span and a deadline.
    pub(crate) fn begin(shared: &Shared, rpc: Rpc, metadata: &MetadataMap) -> Self {
        let started = Instant::now();
        let request_id = shared.ids.next();
        shared.meter.figures.begun(&shared.meter.driver, rpc);
        let span = tracing::info_span!(
            "rpc",
            rpc.method = rpc.name(),
            req.id = &*request_id,
            volume.name = field::Empty,
            volume.handle = field::Empty,
        );
        Self {
            visit: Visit {
                rpc,
                request_id,
                deadline: started.checked_add(wait(metadata)),
            },
            meter: shared.meter.clone(),
            started,
            span,
            answered: false,
        }
    }

    /// Notes in the span which volume the call is about.
    pub(crate) fn about(&self, field: &'static str, text: &str) {
        self.span.record(field, cuttle_model::names::shorten(text));
    }

    /// The call as its work sees it.
    pub(crate) fn visit(&self) -> Visit {
        self.visit.clone()
    }

    /// Runs the call's work inside its span, writes its line and makes the reply.
    pub(crate) async fn answer<R>(
        mut self,
        work: impl Future<Output = Result<R, Failed>>,
    ) -> Result<Response<R>, Status> {
        let result = work.instrument(self.span.clone()).await;
        self.answered = true;
        let _entered = self.span.enter();
        let took = self.started.elapsed();
        let duration_us = micros(took);
        match result {
            Ok(reply) => {
                self.meter.ended(self.visit.rpc, Code::Ok, took);
                if self.visit.rpc.is_mutating() {
                    tracing::info!(code = "OK", duration_us, "finished");
                } else {
                    tracing::debug!(code = "OK", duration_us, "finished");
                }
                Ok(Response::new(reply))
            }
            Err(failed) => {
                let status = status(self.visit.rpc, &failed.doing, failed.error.as_ref());
                self.meter.ended(self.visit.rpc, status.code(), took);
                log_failure(&failed, status.code(), duration_us);
                Err(status)
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // tonic drops the future of a call whose client has hung up.
        if !self.answered {
            let took = self.started.elapsed();
            self.meter.ended(self.visit.rpc, Code::Cancelled, took);
            let duration_us = micros(took);
            self.span
                .in_scope(|| tracing::info!(duration_us, "the caller left before the answer"));
        }
    }
}

/// `error` asks somebody to act, `warn` tells of what mends itself or is the caller's to mend.
fn log_failure(failed: &Failed, code: Code, duration_us: u64) {
    let error = failed.error.as_ref();
    let (code, number) = (code_name(code), error.code());
    if failed.told_elsewhere {
        tracing::info!(code, error.code = %number, duration_us, "failed with the job it joined");
        return;
    }
    let told = chain(error);
    let doing = &failed.doing;
    if error.class() == Class::Bug {
        tracing::error!(code, error.code = %number, duration_us, %doing, error = told, "failed");
    } else {
        tracing::warn!(code, error.code = %number, duration_us, %doing, error = told, "failed");
    }
}

/// The code's name as in the gRPC documents.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How long to wait for a job: the caller's time-out less the time to tell it.
fn wait(metadata: &MetadataMap) -> Duration {
    let timeout = metadata
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok())
        .and_then(grpc_timeout)
        .map_or(DEFAULT_WAIT, |timeout| timeout.min(DEFAULT_WAIT * 24));
    timeout.saturating_sub((timeout / 10).min(Duration::from_millis(200)))
}

/// gRPC's notation: up to eight digits and a unit.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(count.checked_mul(3600)?),
        'M' => Duration::from_secs(count.checked_mul(60)?),
        'S' => Duration::from_secs(count),
        'm' => Duration::from_millis(count),
        'u' => Duration::from_micros(count),
        'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// What all services of a driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The whole process's.
    pub(crate) ids: Arc<RequestIds>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) meter: Meter,
}

/// Where the calls of one driver are counted.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub(crate) driver: Arc<str>,
    pub(crate) figures: CallFigures,
}

impl Meter {
    fn ended(&self, rpc: Rpc, code: Code, took: Duration) {
        self.figures.ended(&self.driver, rpc, code_name(code), took);
    }
}

/// Where and with which claims a call's work runs.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the call is doing, for messages.
    pub(crate) doing: Doing,
    /// Everything the work holds.
    pub(crate) keys: Vec<(Key, Hold)>,
    /// Where it runs.
    pub(crate) lane: LaneName,
    /// The request's content.
    pub(crate) fingerprint: Fingerprint,
}

impl Shared {
    /// Runs blocking work on its lane, or joins the same request's, and waits for the outcome.
    pub(crate) async fn run<T, E>(
        &self,
        visit: &Visit,
        plan: Plan,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<Arc<T>, Failed>
    where
        T: Send + Sync + 'static,
        E: Explain,
    {
        let Plan {
            doing,
            keys,
            lane,
            fingerprint,
        } = plan;
        let ask = Ask {
            rpc: visit.rpc,
            request_id: Arc::clone(&visit.request_id),
            keys,
            fingerprint,
            lane,
        };
        let submitted = self.dispatcher.submit(ask, move || {
            work().map_err(|error| -> Failure { Arc::new(error) })
        });
        let ticket = match submitted {
            Ok(ticket) => ticket,
            Err(refusal) => return Err(Failed::new(doing, refusal)),
        };
        let joined = ticket.joined();
        if joined {
            tracing::debug!(job = ticket.job_request_id(), "joined a running request");
        }
        let outcome = ticket.wait(visit.deadline).await;
        outcome.map_err(|error| Failed {
            told_elsewhere: joined && error.class() != Class::Late,
            doing,
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("150S", Some(Duration::from_secs(150))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("7n", Some(Duration::from_nanos(7))),
            ("123456789m", None),
            ("S", None),
            ("", None),
            ("1s", None),
            ("-1S", None),
            ("1é", None),
        ] {
            assert_eq!(grpc_timeout(text), expected, "{text}");
        }
    }

    #[test]
    fn the_answer_goes_out_before_the_caller_stops_listening() {
        let mut metadata = MetadataMap::new();
        assert_eq!(wait(&metadata), Duration::from_millis(149_800));
        metadata.insert("grpc-timeout", "1S".parse().unwrap());
        assert_eq!(wait(&metadata), Duration::from_millis(900));
        metadata.insert("grpc-timeout", "99999999H".parse().unwrap());
        assert!(wait(&metadata) < Duration::from_secs(4000));
    }

    #[test]
    fn ids_are_unique() {
        let (a, b) = (RequestIds::new(), RequestIds::new());
        let ids: std::collections::BTreeSet<_> =
            (0..100).flat_map(|_| [a.next(), b.next()]).collect();
        assert_eq!(ids.len(), 200);
    }
}
