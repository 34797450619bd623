//! Serving metrics and health over HTTP, as soon as the port can be had.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use cuttle_server::{Pages, serve_pages};
use tokio::net::TcpListener;

use super::ServeError;
use crate::settings::HttpSettings;

/// How long to wait before a port is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The address that the pages are served on: the pod's, or all where none is given.
pub(super) fn address(http: &HttpSettings, pod_ip: Option<&str>) -> Result<SocketAddr, ServeError> {
    let host = match pod_ip.filter(|given| !given.is_empty()) {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(given) => given.parse().map_err(|_no_address| ServeError::PodIp {
            given: cuttle_model::names::shorten(given),
        })?,
    };
    Ok(SocketAddr::new(host, http.port))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_where_no_address_is_given_are_the_pages_served_on_all() {
        let http = HttpSettings {
            port: 8681,
            path: "/metrics".to_owned(),
            probe_limit: PATIENCE,
        };
        let at = |pod_ip| address(&http, pod_ip).map(|found| found.to_string());
        assert_eq!(at(None).unwrap(), "0.0.0.0:8681");
        assert_eq!(at(Some("")).unwrap(), "0.0.0.0:8681");
        assert_eq!(at(Some("10.0.0.7")).unwrap(), "10.0.0.7:8681");
        assert_eq!(at(Some("fd00::7")).unwrap(), "[fd00::7]:8681");
        for odd in [
            "10.0.0",
            "node-1",
            "10.0.0.7:8681",
            " 10.0.0.7",
            "[fd00::7]",
        ] {
            let error = at(Some(odd)).unwrap_err();
            assert!(error.to_string().contains(odd), "{error}");
        }
    }
}
