//! Addresses of daemons in the forms in which `config.json`, ceph.conf and the cluster's maps have
//! them.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use cuttle_model::Monitors;
use serde_json::Value;

/// The usual ports for the protocol's second and first version.
const PORTS: [u16; 2] = [3300, 6789];

/// A monitor as it is configured, with the addresses at which it may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configured {
    /// As written.
    pub(crate) text: String,
    /// What it stands for; empty when its name cannot be resolved.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// All monitors of a list. Host names are resolved, which may block for as long as the system's
/// resolver takes.
pub(crate) fn configured(monitors: &Monitors) -> Vec<Configured> {
    let joined = monitors.joined();
    let entries = entries(&joined);
    let read = entries.into_iter().map(|text| Configured {
        addresses: addresses(text),
        text: text.to_owned(),
    });
    read.collect()
}

/// The list's members: `[v2:…,v1:…]` is one.
fn entries(joined: &str) -> Vec<&str> {
    let mut entries = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, character) in joined.char_indices() {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' | ';' if depth <= 0 => {
                entries.push(joined.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    entries.push(joined.get(start..).unwrap_or_default());
    entries.retain(|entry| !entry.trim().is_empty());
    entries
}

fn addresses(entry: &str) -> Vec<SocketAddr> {
    let entry = entry.trim();
    let inner = entry
        .strip_prefix('[')
        .filter(|rest| rest.starts_with("v1:") || rest.starts_with("v2:"))
        .map_or(entry, |rest| rest.strip_suffix(']').unwrap_or(rest));
    let mut found = Vec::new();
    for part in inner.split(',') {
        let part = part.trim();
        let rest = part
            .strip_prefix("v1:")
            .or_else(|| part.strip_prefix("v2:"))
            .unwrap_or(part);
        let rest = rest.split('/').next().unwrap_or(rest);
        found.extend(resolve(rest));
    }
    found.dedup();
    found
}

fn resolve(text: &str) -> Vec<SocketAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return vec![address];
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return PORTS.map(|port| SocketAddr::new(ip, port)).to_vec();
    }
    if text.contains(':') {
        return text
            .to_socket_addrs()
            .map(Iterator::collect)
            .unwrap_or_default();
    }
    let all = PORTS.iter().flat_map(|port| {
        let found = (text, *port).to_socket_addrs();
        found.map(Iterator::collect::<Vec<_>>).unwrap_or_default()
    });
    all.collect()
}

/// The addresses in a map's `addrvec` or `addrs.addrvec`.
pub(crate) fn of_map(entry: &Value) -> Vec<SocketAddr> {
    let vec = entry.get("addrvec").and_then(Value::as_array);
    let parsed = vec.into_iter().flatten().filter_map(|one| {
        let text = one.get("addr")?.as_str()?;
        text.parse::<SocketAddr>().ok()
    });
    parsed.filter(|address| address.port() != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(texts: &[&str]) -> Vec<(String, Vec<String>)> {
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        configured(&Monitors::new(texts).unwrap())
            .into_iter()
            .map(|one| {
                let addresses = one.addresses.iter().map(SocketAddr::to_string).collect();
                (one.text, addresses)
            })
            .collect()
    }

    #[test]
    fn every_form_of_a_monitor_is_read() {
        let found = read(&[
            "[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]",
            "10.0.0.2",
            "v2:10.0.0.3:20000,[fd00::1]:6789",
        ]);
        let expected = [
            (
                "[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]",
                vec!["10.0.0.1:3300", "10.0.0.1:6789"],
            ),
            ("10.0.0.2", vec!["10.0.0.2:3300", "10.0.0.2:6789"]),
            ("v2:10.0.0.3:20000", vec!["10.0.0.3:20000"]),
            ("[fd00::1]:6789", vec!["[fd00::1]:6789"]),
        ];
        let expected = expected.map(|(text, list)| {
            (
                text.to_owned(),
                list.into_iter().map(str::to_owned).collect::<Vec<_>>(),
            )
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn addresses_in_maps_without_a_port_do_not_count() {
        let map = serde_json::json!({"addrvec": [
            {"type": "v2", "addr": "127.0.0.1:6800", "nonce": 7},
            {"type": "v1", "addr": "0.0.0.0:0", "nonce": 7},
        ]});
        assert_eq!(of_map(&map), ["127.0.0.1:6800".parse().unwrap()]);
    }
}
