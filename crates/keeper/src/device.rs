//! Numbers of file systems as text, as they stand in JSON.

use cuttle_host::DeviceNumber;
use serde::{Deserializer, Serialize, Serializer};

/// A device number that reads and writes itself as `major:minor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) DeviceNumber);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <String as serde::Deserialize>::deserialize(from)?;
        let number = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(number))
    }
}

/// For `#[serde(with)]` on an optional number.
pub(crate) mod optional {
    use super::{Deserializer, DeviceNumber, Serialize as _, Serializer, Text};

    pub(crate) fn serialize<S: Serializer>(
        number: &Option<DeviceNumber>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        number.map(Text).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<DeviceNumber>, D::Error> {
        let text: Option<Text> = serde::Deserialize::deserialize(from)?;
        Ok(text.map(|text| text.0))
    }
}

/// For `#[serde(with)]` on a list of numbers.
pub(crate) mod list {
    use super::{Deserializer, DeviceNumber, Serializer, Text};

    pub(crate) fn serialize<S: Serializer>(
        numbers: &[DeviceNumber],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(numbers.iter().copied().map(Text))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<DeviceNumber>, D::Error> {
        let list: Vec<Text> = serde::Deserialize::deserialize(from)?;
        Ok(list.into_iter().map(|text| text.0).collect())
    }
}
