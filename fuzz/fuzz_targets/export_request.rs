//! The export process's request and answer lines: any bytes are accepted or refused.

#![no_main]

use cuttle_image_export::{ExportRequest, parse_ready_line};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = ExportRequest::read_line(bytes) {
        let line = request
            .to_json_line()
            .expect("an accepted request can be sent");
        let again = ExportRequest::read_line(line.as_slice()).expect("a sent request is accepted");
        assert_eq!(again.image_spec(), request.image_spec());
        assert_eq!(again.credentials, request.credentials);
        assert_eq!(again.mountpoint, request.mountpoint);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(answer) = parse_ready_line(text)
    {
        assert_eq!(parse_ready_line(&answer.to_string()), Ok(answer));
    }
});
