//! A CSI client as simple as a function call: connect to a driver's socket, ask, wait.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cuttle_csi::v1::controller_client::ControllerClient;
use cuttle_csi::v1::identity_client::IdentityClient;
use cuttle_csi::v1::node_client::NodeClient;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::Failure;

/// How long a call may take; the sidecars wait as long.
const LIMIT: Duration = Duration::from_secs(150);

/// The largest answer: a page of a listing with thousands of volumes.
const LARGEST: usize = 64 << 20;

/// A connection to one driver's socket.
#[derive(Debug, Clone)]
pub(crate) struct Rpc {
    runtime: Arc<Runtime>,
    channel: Channel,
}

impl Rpc {
    /// Connects to a socket; retries until `patience` has passed, because a driver that has just
    /// made its socket may not listen on it yet.
    pub(crate) fn connect(socket: &Path, patience: Duration) -> Result<Self, Failure> {
        Self::connect_on(runtime()?, socket, patience)
    }

    /// As [`Rpc::connect`], on a runtime that others use too.
    pub(crate) fn connect_on(
        runtime: Arc<Runtime>,
        socket: &Path,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let address = format!("unix://{}", socket.display());
        let endpoint = Endpoint::from_shared(address.clone())
            .map_err(|error| Failure::because(format!("{address} is no socket"), &error))?;
        let channel = cuttle_testbed::until(format!("{address} answers"), patience, || {
            runtime
                .block_on(endpoint.connect())
                .map_err(|error| error.to_string())
        })?;
        Ok(Self { runtime, channel })
    }

    /// The Identity service.
    pub(crate) fn identity(&self) -> IdentityClient<Channel> {
        IdentityClient::new(self.channel.clone())
    }

    /// The Controller service.
    pub(crate) fn controller(&self) -> ControllerClient<Channel> {
        ControllerClient::new(self.channel.clone()).max_decoding_message_size(LARGEST)
    }

    /// The Node service.
    pub(crate) fn node(&self) -> NodeClient<Channel> {
        NodeClient::new(self.channel.clone())
    }

    /// Runs several pieces of work at once on this thread, and waits for all of them.
    pub(crate) fn join<T>(&self, work: Vec<impl Future<Output = T>>) -> Vec<T> {
        let mut waiting: Vec<_> = work.into_iter().map(|one| (Box::pin(one), None)).collect();
        self.runtime.block_on(std::future::poll_fn(move |context| {
            let mut pending = false;
            for (one, result) in &mut waiting {
                if result.is_none() {
                    match one.as_mut().poll(context) {
                        std::task::Poll::Ready(value) => *result = Some(value),
                        std::task::Poll::Pending => pending = true,
                    }
                }
            }
            if pending {
                return std::task::Poll::Pending;
            }
            let done = waiting
                .iter_mut()
                .filter_map(|(_, result)| result.take())
                .collect();
            std::task::Poll::Ready(done)
        }))
    }

    /// Waits for a call's answer.
    pub(crate) fn wait<T>(
        &self,
        name: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        let answer = self
            .runtime
            .block_on(async { tokio::time::timeout(LIMIT, call).await });
        match answer {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Failure::new(format!(
                "{name}: {:?}: {}",
                status.code(),
                status.message()
            ))),
            Err(_) => Err(Failure::new(format!("{name}: no answer within {LIMIT:?}"))),
        }
    }
}

/// A runtime for clients.
pub(crate) fn runtime() -> Result<Arc<Runtime>, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map(Arc::new)
        .map_err(|error| Failure::because("no runtime", &error))
}
