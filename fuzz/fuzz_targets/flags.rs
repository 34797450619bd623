//! The command line: any arguments, one per line, are read or refused with messages.

#![no_main]

use cuttle_app::flags::Given;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(mistakes) = Given::parse(text.lines().map(str::to_owned)) {
        assert!(!mistakes.is_empty());
        for mistake in mistakes {
            assert!(
                mistake.to_string().len() < 2048,
                "a message must stay short"
            );
        }
    }
});
