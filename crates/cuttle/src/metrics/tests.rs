//! The text of the metrics against the table, and the table against its page.

use std::collections::{BTreeMap, BTreeSet};

use cuttle_door::{Doors, FaultPlan};
use cuttle_server::dispatch::DispatchOptions;

use super::*;

fn exposition() -> String {
    let sources = Sources {
        calls: CallFigures::default(),
        dispatcher: Dispatcher::new(DispatchOptions::default()),
        outside: Doors::new(FaultPlan::none()).ledger(),
        config_in_use: Arc::new(AtomicBool::new(true)),
        registrations: vec![(
            DriverName::new("rbd.csi.ceph.com").unwrap(),
            Standing::default(),
        )],
    };
    sources.exposition()
}

#[test]
fn every_metric_of_the_table_is_told_with_its_help_and_no_other() {
    let text = exposition() + &liveness_exposition(true);
    let told: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let known: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(told, known);
    assert_eq!(
        known.len(),
        METRICS.len(),
        "a metric stands twice in the table"
    );
}

#[test]
fn labels_are_escaped_and_known() {
    let mut page = Page::default();
    page.begin("cuttle_lane_queued");
    page.sample("", &[("lane", "cluster"), ("cluster", "a\"b\\c\nd")], 1);
    let text = page.text();
    assert!(
        text.ends_with("{lane=\"cluster\",cluster=\"a\\\"b\\\\c\\nd\"} 1\n"),
        "{text}"
    );
    let labels: BTreeMap<&str, &[&str]> = METRICS
        .iter()
        .map(|metric| (metric.name, metric.labels))
        .collect();
    for forbidden in ["volume", "handle", "image", "path", "pod"] {
        assert!(labels.values().all(|labels| !labels.contains(&forbidden)));
    }
}

#[test]
fn metrics_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
    let page = reference_page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        found, page,
        "run UPDATE_DOCS=1 cargo nextest run -p cuttle metrics_page"
    );
}
