//! Secrets: text that is wiped when dropped and never printed.

use std::fmt;
use std::hash::{Hash, Hasher};

use zeroize::Zeroize;

use crate::names::UserId;

/// A piece of text that must not be seen: a Ceph key, a passphrase.
///
/// Its memory is wiped on drop. There is no `Display`; `Debug` prints a marker, so that types
/// holding a secret can derive it. Comparison takes the same time wherever two secrets of the same
/// length differ.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes ownership of the text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Every call is a place to check that it does not reach a log, an argument
    /// vector, the environment or a file.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The bytes that the text stands for in Base64, as Ceph writes its keys; `None` when it is
    /// no Base64. Space around it does not count.
    #[must_use]
    pub fn decoded(&self) -> Option<SecretBytes> {
        let text = self.0.trim().as_bytes();
        let end = text
            .iter()
            .rposition(|byte| *byte != b'=')
            .map_or(0, |last| last + 1);
        if !text.len().is_multiple_of(4) || text.len() - end > 2 {
            return None;
        }
        let mut bytes = SecretBytes(Vec::with_capacity(text.len() / 4 * 3));
        for part in text.get(..end)?.chunks(4) {
            let mut bits = 0_u32;
            for byte in part {
                bits = bits << 6 | u32::from(sextet(*byte)?);
            }
            bits <<= 6 * (4 - part.len());
            let [_, three @ ..] = bits.to_be_bytes();
            bytes.0.extend(three.into_iter().take(part.len() * 3 / 4));
        }
        Some(bytes)
    }

    /// Whether there is no text at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The value of a Base64 digit.
fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Bytes that must not be seen. Wiped on drop, never printed.
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// The bytes themselves; see [`Secret::expose`].
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        let difference = a.iter().zip(b).fold(0_u8, |seen, (x, y)| seen | (x ^ y));
        a.len() == b.len() && std::hint::black_box(difference) == 0
    }
}

impl Eq for Secret {}

impl Hash for Secret {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// A Ceph user and its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The user, without the `client.` prefix.
    pub user: UserId,
    /// The base64 text of the cephx key.
    pub key: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_part_of_the_text() {
        let credentials = Credentials {
            user: UserId::new("csi").unwrap(),
            key: Secret::new("AQBmarkerKey==".to_owned()),
        };
        let text = format!("{credentials:?} {:?} {credentials:#?}", credentials.key);
        assert!(!text.contains("marker"), "{text}");
        assert!(text.contains("<secret>"));
    }

    #[test]
    fn equality_is_by_content() {
        let secret = |text: &str| Secret::new(text.to_owned());
        assert_eq!(secret("abc"), secret("abc"));
        assert_ne!(secret("abc"), secret("abd"));
        assert_ne!(secret("abc"), secret("abcd"));
        assert_ne!(secret(""), secret("a"));
        assert!(secret("").is_empty());
        assert_eq!(secret("abc").expose(), "abc");
    }

    #[test]
    fn keys_are_decoded() {
        let decoded = |text: &str| {
            let bytes = Secret::new(text.to_owned()).decoded()?;
            Some(bytes.expose().to_vec())
        };
        assert_eq!(decoded("TWFu\n"), Some(b"Man".to_vec()));
        assert_eq!(decoded("TWE="), Some(b"Ma".to_vec()));
        assert_eq!(decoded("TQ=="), Some(b"M".to_vec()));
        assert_eq!(decoded("+/8="), Some(vec![0xfb, 0xff]));
        for wrong in ["TWF", "TW=u", "T===", "TW u", "="] {
            assert_eq!(decoded(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{:?}", SecretBytes(vec![1])), "<secret>");
    }
}
