//! The command line: any arguments, one per line, are read or refused with messages.

#![no_main]

use cuttle_app::flags::Given;
use cuttle_app::settings::Settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let given = Given::parse(text.lines().map(str::to_owned));
    for mistake in given.mistakes() {
        assert!(
            mistake.to_string().len() < 2048,
            "a message must stay short"
        );
    }
    // Settings are checked whatever was wrong with the form.
    if let Err(error) = Settings::from_flags(&given) {
        assert!(error.mistakes().len() >= given.mistakes().len());
    }
});
