//! Metrics and health over HTTP: `/metrics`, `/healthz`, `/readyz`.
//!
//! `/healthz` and `/readyz` ask each driver over its own socket, so that a driver that no longer
//! takes connections is not called healthy because another part of the process is.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cuttle_model::chain;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::probe::probe;

/// Connections at once. A further one takes the place of the oldest that nothing is being done for.
const MOST_CONNECTIONS: usize = 32;

/// How long a client may take to send its request, and as long again to take the answer.
const SLOWEST_CLIENT: Duration = Duration::from_secs(30);

/// The form of metrics that is served.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Makes the text of the metrics.
pub type Exposition = Arc<dyn Fn() -> String + Send + Sync>;

/// What is served over HTTP.
#[derive(Clone)]
pub struct Pages {
    /// The path of the metrics.
    pub metrics_path: String,
    /// Their text.
    pub metrics: Exposition,
    /// The drivers' sockets.
    pub sockets: Vec<PathBuf>,
    /// How long a driver may take to say that it is well.
    pub probe_limit: Duration,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("metrics_path", &self.metrics_path)
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}

/// Serves the pages until the future is dropped.
pub async fn serve_pages(listener: TcpListener, pages: Pages) {
    let pages = Arc::new(pages);
    let mut clients = Clients::default();
    loop {
        clients.make_room().await;
        match listener.accept().await {
            Ok((stream, _peer)) => clients.serve(stream, &pages),
            Err(error) => {
                tracing::warn!(%error, "an HTTP connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The connections that there are. Dropping them ends them.
#[derive(Default)]
struct Clients {
    tasks: JoinSet<()>,
    /// The oldest first.
    known: VecDeque<Client>,
}

struct Client {
    task: AbortHandle,
    /// Whether it has asked and an answer is being made.
    is_answering: Arc<AtomicBool>,
}

impl Clients {
    /// Returns when one more client may come. Clients that are slow to ask, or to take their
    /// answer, cannot keep others out, least of all kubelet.
    async fn make_room(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        while self.tasks.len() >= MOST_CONNECTIONS {
            let idle = |client: &Client| {
                !client.is_answering.load(Ordering::Acquire) && !client.task.is_finished()
            };
            if let Some(oldest) = self.known.iter().find(|client| idle(client)) {
                oldest.task.abort();
            }
            // Without an idle one all are being answered, each within its limit.
            let _ended = self.tasks.join_next().await;
        }
        self.known.retain(|client| !client.task.is_finished());
    }

    fn serve(&mut self, stream: TcpStream, pages: &Arc<Pages>) {
        let is_answering = Arc::new(AtomicBool::new(false));
        let serving = serve_client(stream, Arc::clone(pages), Arc::clone(&is_answering));
        let task = self.tasks.spawn(serving);
        self.known.push_back(Client { task, is_answering });
    }
}

async fn serve_client(stream: TcpStream, pages: Arc<Pages>, is_answering: Arc<AtomicBool>) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let (pages, is_answering) = (Arc::clone(&pages), Arc::clone(&is_answering));
        async move {
            is_answering.store(true, Ordering::Release);
            let answer = pages.answer(request.method(), request.uri().path()).await;
            is_answering.store(false, Ordering::Release);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOWEST_CLIENT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    let limit = SLOWEST_CLIENT * 2;
    if let Ok(Err(error)) = tokio::time::timeout(limit, connection).await {
        tracing::debug!(error = chain(&error), "an HTTP client was not answered");
    }
}

impl Pages {
    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return page(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
        }
        if path == self.metrics_path {
            let mut found = page(StatusCode::OK, (self.metrics)());
            let headers = found.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(EXPOSITION));
            return found;
        }
        match path {
            "/healthz" => self.health(false).await,
            "/readyz" => self.health(true).await,
            _ => page(StatusCode::NOT_FOUND, "no such page\n".to_owned()),
        }
    }

    /// Asks each driver in turn; `ready` also wants them to say yes.
    async fn health(&self, ready: bool) -> Response<Full<Bytes>> {
        for socket in &self.sockets {
            let unwell = match probe(socket, self.probe_limit).await {
                Ok(true) => continue,
                Ok(false) if !ready => continue,
                Ok(false) => "the driver is not ready".to_owned(),
                Err(error) => chain(&error),
            };
            let text = format!("{}: {unwell}\n", socket.display());
            return page(StatusCode::SERVICE_UNAVAILABLE, text);
        }
        page(StatusCode::OK, "ok\n".to_owned())
    }
}

fn page(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
