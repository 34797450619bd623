//! Volume handles: any text is either refused or comes back the same.

#![no_main]

use cuttle_model::VolumeHandle;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match VolumeHandle::parse(text) {
        Ok(handle) => {
            let encoded = handle.to_string();
            let again = VolumeHandle::parse(&encoded).expect("an encoded handle must parse");
            assert_eq!(again, handle, "{text:?} encodes to {encoded:?}");
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(error.to_string().len() < 1024, "a message must stay short");
        }
    }
});
