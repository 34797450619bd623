//! D-Bus messages, as far as one call needs them: encoding calls, and telling an answer from an
//! error. Little endian; the names are those of the D-Bus specification.

/// The fixed part of every message: up to and with the length of the header's fields.
pub(super) const HEAD: usize = 16;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;

const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
const FIELD_MEMBER: u8 = 3;
const FIELD_ERROR_NAME: u8 = 4;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SIGNATURE: u8 = 8;

/// Which method is called.
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
}

/// The arguments of a call.
#[derive(Default)]
pub(super) struct Body {
    signature: &'static str,
    bytes: Writer,
}

/// How a call was answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Done,
    Error(String),
}

/// Bytes with D-Bus's alignment: every value begins at a multiple of its size.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn align(&mut self, to: usize) {
        while !self.0.len().is_multiple_of(to) {
            self.0.push(0);
        }
    }

    fn number(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(length(text.len()));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0
            .push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend(signature.as_bytes());
        self.0.push(0);
    }

    /// An array whose elements begin at multiples of `align`.
    fn array(&mut self, align: usize, fill: impl FnOnce(&mut Self)) {
        self.number(0);
        let at = self.0.len();
        self.align(align);
        let begin = self.0.len();
        fill(self);
        let bytes = length(self.0.len() - begin).to_le_bytes();
        if let Some(slot) = self.0.get_mut(at - 4..at) {
            slot.copy_from_slice(&bytes);
        }
    }
}

fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Body {
    /// The arguments of StartTransientUnit for a scope: name, mode, properties, no other units.
    pub(super) fn scope(unit: &str, description: &str, pids: &[u32]) -> Self {
        let mut bytes = Writer::default();
        bytes.text(unit);
        bytes.text("fail");
        bytes.array(8, |properties| {
            properties.align(8);
            properties.text("Description");
            properties.signature("s");
            properties.text(description);
            // A unit that has failed must not keep its name.
            properties.align(8);
            properties.text("CollectMode");
            properties.signature("s");
            properties.text("inactive-or-failed");
            properties.align(8);
            properties.text("PIDs");
            properties.signature("au");
            properties.array(4, |list| {
                for pid in pids {
                    list.number(*pid);
                }
            });
        });
        bytes.array(8, |_no_others| {});
        Self {
            signature: "ssa(sv)a(sa(sv))",
            bytes,
        }
    }
}

impl Call<'_> {
    /// The whole message.
    pub(super) fn encode(&self, serial: u32, body: &Body) -> Vec<u8> {
        let mut message = Writer(vec![b'l', METHOD_CALL, 0, 1]);
        message.number(length(body.bytes.0.len()));
        message.number(serial);
        message.array(8, |fields| {
            let mut field = |code, kind, value: &str| {
                fields.align(8);
                fields.0.push(code);
                fields.signature(kind);
                if kind == "g" {
                    fields.signature(value);
                } else {
                    fields.text(value);
                }
            };
            field(FIELD_PATH, "o", self.path);
            field(FIELD_INTERFACE, "s", self.interface);
            field(FIELD_MEMBER, "s", self.member);
            field(FIELD_DESTINATION, "s", self.destination);
            if !body.signature.is_empty() {
                field(FIELD_SIGNATURE, "g", body.signature);
            }
        });
        message.align(8);
        message.0.extend(&body.bytes.0);
        message.0
    }
}

/// How many bytes follow a head: the header's fields, their padding and the body. `None` for what
/// is no message of ours.
pub(super) fn rest_of(head: &[u8]) -> Option<usize> {
    if head.first() != Some(&b'l') {
        return None;
    }
    let body = usize::try_from(number_at(head, 4)?).ok()?;
    let fields = usize::try_from(number_at(head, 12)?).ok()?;
    fields.checked_next_multiple_of(8)?.checked_add(body)
}

/// The call that a message answers, and how; `None` for other messages.
pub(super) fn reply(head: &[u8], rest: &[u8]) -> Option<(u32, Reply)> {
    let kind = *head.get(1)?;
    let fields = rest.get(..usize::try_from(number_at(head, 12)?).ok()?)?;
    let mut reader = Reader {
        bytes: fields,
        at: 0,
    };
    let (mut serial, mut name) = (None, None);
    while let Some((code, value)) = reader.field() {
        match (code, value) {
            (FIELD_REPLY_SERIAL, Value::Number(number)) => serial = Some(number),
            (FIELD_ERROR_NAME, Value::Text(text)) => name = Some(text),
            _ => {}
        }
    }
    let reply = match kind {
        METHOD_RETURN => Reply::Done,
        ERROR => Reply::Error(name.unwrap_or_default()),
        _ => return None,
    };
    Some((serial?, reply))
}

fn number_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// The value of a header's field.
enum Value {
    Number(u32),
    Text(String),
}

/// Reads the fields of a header; they begin at a multiple of eight.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn field(&mut self) -> Option<(u8, Value)> {
        self.align(8)?;
        let code = self.byte()?;
        let kind = self.short()?;
        let value = match kind.as_str() {
            "s" | "o" => {
                let length = self.number()?;
                let text = self.take(usize::try_from(length).ok()?)?;
                self.byte()?;
                Value::Text(text)
            }
            "g" => Value::Text(self.short()?),
            "u" => Value::Number(self.number()?),
            _ => return None,
        };
        Some((code, value))
    }

    fn align(&mut self, to: usize) -> Option<()> {
        self.at = self.at.checked_next_multiple_of(to)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        let number = number_at(self.bytes, self.at)?;
        self.at += 4;
        Some(number)
    }

    fn take(&mut self, count: usize) -> Option<String> {
        let end = self.at.checked_add(count)?;
        let text = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// A signature: one byte of length, the text, a zero.
    fn short(&mut self) -> Option<String> {
        let length = self.byte()?;
        let text = self.take(usize::from(length))?;
        self.byte()?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `busctl` puts it on the wire, byte for byte.
    #[test]
    fn a_call_without_arguments() {
        let call = Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
        };
        let mut expected: Vec<u8> =
            b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x6d\x00\x00\x00".to_vec();
        expected.extend(b"\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00");
        expected.extend(b"\x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00");
        expected.extend(b"\x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00");
        expected.extend(b"\x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00");
        assert_eq!(call.encode(1, &Body::default()), expected);
    }

    #[test]
    fn the_arguments_of_a_scope() {
        let body = Body::scope("a.scope", "text", &[7, 300]);
        let mut expected = b"\x07\0\0\0a.scope\0\x04\0\0\0fail\0\0\0\0".to_vec();
        // The properties, which begin at a multiple of eight.
        expected.extend(b"\x6c\0\0\0\0\0\0\0");
        expected.extend(b"\x0b\0\0\0Description\0\x01s\0\0\x04\0\0\0text\0\0\0\0");
        expected.extend(b"\x0b\0\0\0CollectMode\0\x01s\0\0");
        expected.extend(b"\x12\0\0\0inactive-or-failed\0\0\0\0\0\0");
        expected.extend(b"\x04\0\0\0PIDs\0\x02au\0\0\0\0");
        expected.extend(b"\x08\0\0\0\x07\0\0\0\x2c\x01\0\0");
        // No other units.
        expected.extend(b"\0\0\0\0");
        assert_eq!(body.signature, "ssa(sv)a(sa(sv))");
        assert_eq!(body.bytes.0, expected);
    }

    fn answer(kind: u8, fields: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut head = vec![b'l', kind, 1, 1, 0, 0, 0, 0, 9, 0, 0, 0];
        head.extend(length(fields.len()).to_le_bytes());
        let mut rest = fields.to_vec();
        while !rest.len().is_multiple_of(8) {
            rest.push(0);
        }
        (head, rest)
    }

    #[test]
    fn answers_are_told_from_errors_and_from_signals() {
        let serial = b"\x05\x01u\x00\x02\x00\x00\x00";
        let (head, rest) = answer(METHOD_RETURN, serial);
        assert_eq!(rest_of(&head), Some(8));
        assert_eq!(reply(&head, &rest), Some((2, Reply::Done)));
        let mut fields = b"\x04\x01s\x00\x03\x00\x00\x00a.b\x00\x00\x00\x00\x00".to_vec();
        fields.extend(serial);
        let (head, rest) = answer(ERROR, &fields);
        assert_eq!(
            reply(&head, &rest),
            Some((2, Reply::Error("a.b".to_owned())))
        );
        let (head, rest) = answer(4, serial);
        assert_eq!(reply(&head, &rest), None);
    }

    #[test]
    fn what_is_no_message_is_not_read() {
        assert_eq!(rest_of(b"B\x02\x00\x01"), None);
        assert_eq!(rest_of(b""), None);
        let (head, rest) = answer(METHOD_RETURN, b"\x05\x01u\x00\x02\x00");
        assert_eq!(reply(&head, &rest), None);
        assert_eq!(reply(&head, &[]), None);
    }
}
