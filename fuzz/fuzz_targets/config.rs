//! `config.json`: any text is read or refused, every mistake has a place, and what is used is sound.

#![no_main]

use cuttle_app::config::Reading;
use cuttle_model::ClusterTable;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(reading) = Reading::parse(text) else {
        return;
    };
    for finding in reading.mistakes.iter().chain(&reading.warnings) {
        assert!(finding.path.starts_with('$'), "{finding}");
        assert!(!finding.rule.is_empty());
    }
    let unusable = reading
        .entries
        .iter()
        .filter(|entry| entry.settings.is_none());
    if unusable.count() > 0 {
        assert!(
            !reading.mistakes.is_empty(),
            "an entry was dropped in silence"
        );
    }
    let ids: Vec<_> = reading
        .entries
        .iter()
        .filter(|entry| entry.settings.is_some())
        .filter_map(|entry| entry.id.clone())
        .collect();
    let table = reading.into_table(&ClusterTable::default());
    for id in ids {
        assert!(
            table.find(&id).is_some(),
            "{id} is read but cannot be found"
        );
    }
});
