//! Asking a driver over its own socket whether it is well, as kubelet's probes do.

use std::path::Path;
use std::time::Duration;

use cuttle_csi::v1::ProbeRequest;
use cuttle_csi::v1::identity_client::IdentityClient;
use tonic::transport::Endpoint;

/// Why a driver did not say how it is.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody can be reached at the socket.
    #[error("cannot connect to the driver's socket")]
    Connect(#[source] tonic::transport::Error),
    /// The driver answered with an error.
    #[error("the driver answered {0:?}")]
    Answer(tonic::Code),
    /// It took too long.
    #[error("the driver did not answer in time")]
    Late,
}

/// Asks the driver behind a socket whether it is ready; an answer without a word on that means yes.
///
/// # Errors
/// When there is no answer within `limit`.
pub async fn probe(socket: &Path, limit: Duration) -> Result<bool, ProbeError> {
    let ask = async {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))
            .map_err(ProbeError::Connect)?;
        let channel = endpoint.connect().await.map_err(ProbeError::Connect)?;
        let answer = IdentityClient::new(channel).probe(ProbeRequest {}).await;
        let reply = answer.map_err(|status| ProbeError::Answer(status.code()))?;
        Ok(reply.into_inner().ready.unwrap_or(true))
    };
    tokio::time::timeout(limit, ask)
        .await
        .unwrap_or(Err(ProbeError::Late))
}
