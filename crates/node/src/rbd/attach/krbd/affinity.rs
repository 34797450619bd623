//! Reading from near OSDs: where this node is, in the words of the CRUSH map.

use std::collections::BTreeMap;

/// The map options that make the kernel read from the nearest replica; `None` when the node has
/// none of the labels.
///
/// A label `topology.kubernetes.io/zone=eu 1.a` becomes `zone:eu1-a`; `hostname` is called `host`
/// in CRUSH maps. The order is that of the labels asked for.
#[must_use]
pub(super) fn options(labels: &[String], of_node: &BTreeMap<String, String>) -> Option<String> {
    let place: Vec<String> = labels
        .iter()
        .filter_map(|label| {
            let value = of_node.get(label)?.replace(' ', "").replace('.', "-");
            let kind = label
                .split_once('/')
                .map_or(label.as_str(), |(_, kind)| kind);
            let kind = if kind == "hostname" { "host" } else { kind };
            (!value.is_empty()).then(|| format!("{kind}:{value}"))
        })
        .collect();
    (!place.is_empty()).then(|| {
        format!(
            "read_from_replica=localize,crush_location={}",
            place.join("|")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_places() {
        let of_node = BTreeMap::from([
            ("kubernetes.io/hostname".to_owned(), "node.one".to_owned()),
            ("topology.kubernetes.io/zone".to_owned(), "eu 1".to_owned()),
            ("rack".to_owned(), String::new()),
        ]);
        let labels = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            options(
                &labels(&[
                    "topology.kubernetes.io/zone",
                    "kubernetes.io/hostname",
                    "rack",
                    "row"
                ]),
                &of_node
            )
            .as_deref(),
            Some("read_from_replica=localize,crush_location=zone:eu1|host:node-one")
        );
        assert_eq!(options(&labels(&["row", "rack"]), &of_node), None);
    }
}
