//! Tests of the request line.

use super::*;

fn request() -> ExportRequest {
    ExportRequest {
        monitors: Monitors::new(vec!["10.0.0.1:3300".to_owned(), "10.0.0.2:3300".to_owned()])
            .unwrap(),
        credentials: Credentials {
            user: UserId::new("csi").unwrap(),
            key: Secret::new("AQBmarkerKey/+==".to_owned()),
        },
        pool: PoolName::new("rbd").unwrap(),
        namespace: RadosNamespace::new("team \"a\"").unwrap(),
        image: ImageName::new("csi-vol-1").unwrap(),
        read_only: true,
        exclusive: true,
        mountpoint: PathBuf::from("/run/cuttle/image"),
        ceph_conf: Some("/etc/ceph/ceph.conf".into()),
        start_within: Duration::from_millis(1500),
        log: LogSettings {
            file: Some(PathBuf::from("/var/log/export.log")),
            json: true,
            level: "debug".to_owned(),
        },
    }
}

fn line() -> serde_json::Value {
    serde_json::from_slice(&request().to_json_line().unwrap()).unwrap()
}

fn refused(line: &serde_json::Value) -> String {
    ExportRequest::from_json(line.to_string().as_bytes())
        .unwrap_err()
        .to_string()
}

#[test]
fn a_request_survives_the_line() {
    let sent = request();
    let line = sent.to_json_line().unwrap();
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(line.last(), Some(&b'\n'));
    let received = ExportRequest::read_line(line.as_slice()).unwrap();
    assert_eq!(received.monitors, sent.monitors);
    assert_eq!(received.credentials, sent.credentials);
    assert_eq!(received.image_spec(), "rbd/team \"a\"/csi-vol-1");
    assert!(received.read_only);
    assert_eq!(received.mountpoint, sent.mountpoint);
    assert_eq!(received.start_within, sent.start_within);
    assert_eq!(received.log, sent.log);
}

#[test]
fn what_follows_the_line_is_not_read_as_part_of_it() {
    let mut bytes = request().to_json_line().unwrap().to_vec();
    bytes.extend_from_slice(b"more");
    ExportRequest::read_line(bytes.as_slice()).unwrap();
}

#[test]
fn optional_fields_have_defaults() {
    let mut line = line();
    for field in ["namespace", "read_only", "log"] {
        line.as_object_mut().unwrap().remove(field).unwrap();
    }
    let received = ExportRequest::from_json(line.to_string().as_bytes()).unwrap();
    assert_eq!(received.image_spec(), "rbd/csi-vol-1");
    assert!(!received.read_only);
    assert_eq!(received.log, LogSettings::default());
}

#[test]
fn each_wrong_field_is_named() {
    for (field, value) in [
        ("monitors", serde_json::json!([])),
        ("monitors", serde_json::json!([""])),
        ("user", "client.csi".into()),
        ("key", "".into()),
        ("pool", "".into()),
        ("namespace", "a/b".into()),
        ("image", "a@b".into()),
        ("mountpoint", "relative".into()),
        ("mountpoint", "/run/../etc/passwd".into()),
        ("start_within_ms", 0.into()),
    ] {
        let mut line = line();
        line[field] = value;
        let text = refused(&line);
        assert!(text.starts_with(&format!("field `{field}`")), "{text}");
    }
}

#[test]
fn no_error_repeats_the_key() {
    for (field, value) in [
        ("surprise", serde_json::json!(1)),
        ("read_only", "AQBmarkerKey/+==".into()),
        ("image", "".into()),
    ] {
        let mut line = line();
        line[field] = value;
        let text = refused(&line);
        assert!(!text.contains("marker"), "{text}");
    }
    let text = format!("{:?}", request());
    assert!(!text.contains("marker"), "{text}");
}

#[test]
fn a_line_without_end_is_refused() {
    let endless = std::io::repeat(b' ');
    let error = ExportRequest::read_line(endless).unwrap_err();
    assert!(matches!(error, RequestError::TooLong), "{error}");
    let mut request = request();
    request.log.level = "x".repeat(MAX_REQUEST);
    let error = request.to_json_line().unwrap_err();
    assert!(matches!(error, RequestError::TooLong), "{error}");
}

#[test]
fn an_empty_input_is_refused() {
    let error = ExportRequest::read_line(std::io::empty()).unwrap_err();
    assert!(matches!(error, RequestError::Malformed { .. }), "{error}");
}
