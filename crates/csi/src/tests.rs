//! No secret reaches a `Debug` output, whichever field of whichever message it is in.
//!
//! The test reads the compiled descriptors by itself, down to the option's number, so that it does
//! not share a mistake with the build script.

use prost::Message;

include!(concat!(env!("OUT_DIR"), "/decoders.rs"));

static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

const MARKER: &str = "MARKER-9f2c-in-a-secret";

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(message, repeated, tag = "1")]
    file: Vec<File>,
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, optional, tag = "2")]
    package: Option<String>,
    #[prost(message, repeated, tag = "4")]
    message_type: Vec<Descriptor>,
}

#[derive(Clone, PartialEq, Message)]
struct Descriptor {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(message, repeated, tag = "2")]
    field: Vec<Field>,
    #[prost(message, repeated, tag = "3")]
    nested_type: Vec<Descriptor>,
    #[prost(message, optional, tag = "7")]
    options: Option<MessageOptions>,
}

#[derive(Clone, PartialEq, Message)]
struct MessageOptions {
    #[prost(bool, optional, tag = "7")]
    map_entry: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct Field {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(int32, optional, tag = "3")]
    number: Option<i32>,
    #[prost(int32, optional, tag = "5")]
    kind: Option<i32>,
    #[prost(message, optional, tag = "8")]
    options: Option<FieldOptions>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldOptions {
    #[prost(bool, optional, tag = "1059")]
    csi_secret: Option<bool>,
}

/// A map entry as it travels: key and value.
#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// Descriptors of all our messages under their full names.
fn messages() -> Vec<(String, Descriptor)> {
    fn collect(prefix: &str, descriptors: Vec<Descriptor>, into: &mut Vec<(String, Descriptor)>) {
        for descriptor in descriptors {
            if descriptor.options.as_ref().and_then(|o| o.map_entry) == Some(true) {
                continue;
            }
            let name = format!("{prefix}.{}", descriptor.name.as_deref().unwrap());
            collect(&name, descriptor.nested_type.clone(), into);
            into.push((name, descriptor));
        }
    }
    let mut all = Vec::new();
    for file in Files::decode(DESCRIPTORS).unwrap().file {
        if file.package.as_deref() == Some("csi.v1") {
            collect("csi.v1", file.message_type, &mut all);
        }
    }
    all
}

fn length_delimited(number: i32, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    prost::encoding::encode_varint(u64::try_from(number).unwrap() << 3 | 2, &mut wire);
    prost::encoding::encode_varint(u64::try_from(payload.len()).unwrap(), &mut wire);
    wire.extend_from_slice(payload);
    wire
}

fn is_secret(field: &Field) -> bool {
    field.options.as_ref().and_then(|o| o.csi_secret) == Some(true)
}

#[test]
fn debug_of_every_message_hides_every_secret_field() {
    const TYPE_STRING: i32 = 9;
    const TYPE_MESSAGE: i32 = 11;
    let mut checked = 0;
    for (name, descriptor) in messages() {
        for field in descriptor.field.iter().filter(|field| is_secret(field)) {
            let number = field.number.unwrap();
            let payload = match field.kind.unwrap() {
                TYPE_MESSAGE => Pair {
                    key: MARKER.into(),
                    value: MARKER.into(),
                }
                .encode_to_vec(),
                TYPE_STRING => MARKER.as_bytes().to_vec(),
                other => panic!(
                    "{name}.{:?}: field type {other} needs a case here",
                    field.name
                ),
            };
            let shown = debug_of(&name, &length_delimited(number, &payload))
                .unwrap_or_else(|| panic!("{name} has no decoder"))
                .unwrap();
            assert!(!shown.contains("MARKER"), "{name} shows a secret: {shown}");
            assert!(
                shown.contains("redacted>"),
                "{name} does not say that it hides: {shown}"
            );
            assert!(
                shown.contains("<1 redacted>") || field.kind == Some(TYPE_STRING),
                "the marker did not arrive in {name}: {shown}"
            );
            checked += 1;
        }
    }
    // CSI 1.12 has 19 such fields and the health calls of 1.13 add three.
    assert_eq!(checked, 22);
}

#[test]
fn debug_still_shows_the_other_fields() {
    for (name, descriptor) in messages() {
        if !descriptor.field.iter().any(is_secret) {
            continue;
        }
        let shown = debug_of(&name, &[]).unwrap().unwrap();
        for field in &descriptor.field {
            let label = format!("{}: ", field.name.as_deref().unwrap());
            assert!(shown.contains(&label), "{name} does not show {label}");
        }
    }
}

#[test]
fn every_message_can_be_decoded_by_name() {
    let all = messages();
    assert!(all.len() > 90, "only {} messages found", all.len());
    for (name, _) in all {
        assert!(debug_of(&name, &[]).is_some(), "{name} has no decoder");
    }
}
