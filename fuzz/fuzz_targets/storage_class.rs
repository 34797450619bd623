//! StorageClass parameters: any set of keys and values is accepted or refused with messages.

#![no_main]

use std::collections::BTreeMap;

use cuttle_model::RbdParameters;
use libfuzzer_sys::fuzz_target;

// The input is lines of `key=value`.
fuzz_target!(|text: &str| {
    let given: BTreeMap<String, String> = text
        .lines()
        .map(|line| {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            (key.to_owned(), value.to_owned())
        })
        .collect();
    if let Err(errors) = RbdParameters::parse(&given) {
        assert!(!errors.to_string().is_empty());
    }
});
