//! Serving metrics and health over HTTP, as soon as the port can be had.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use cuttle_server::{Pages, serve_pages};
use tokio::net::TcpListener;

use crate::settings::HttpSettings;

/// How long to wait before a port is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The address that the pages are served on: the pod's, or all.
pub(super) fn address(http: &HttpSettings, pod_ip: Option<&str>) -> SocketAddr {
    let host = match pod_ip.map(str::parse::<IpAddr>) {
        Some(Ok(host)) => host,
        Some(Err(_)) | None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    SocketAddr::new(host, http.port)
}

/// Serves until the future is dropped. Volumes do not depend on this, so a port that is taken is
/// told once and tried again.
pub(super) async fn serve(address: SocketAddr, pages: Pages) {
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                tracing::info!(%address, "serving metrics and health");
                serve_pages(listener, pages.clone()).await;
                return;
            }
            Err(error) if !told => {
                tracing::error!(%address, %error, "metrics and health are not served yet");
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(PATIENCE).await;
    }
}
