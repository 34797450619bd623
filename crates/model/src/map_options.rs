//! The grammar of `mapOptions` and `unmapOptions`: which options go to which mounter.
//!
//! Items are separated by `;`. An item is `krbd:<options>`, `nbd:<options>` or plain `<options>`,
//! which means krbd. The last item of a mounter wins. Options of one mounter are separated by `,`.

use crate::image::Mounter;

/// The options for each mounter, as the user wrote them; empty when none are given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct MapOptions {
    text: String,
    krbd: String,
    nbd: String,
}

/// Why options were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MapOptionsError {
    /// The text before the first `:` names no mounter.
    #[error("has an item for the unknown mounter \"{0}\"")]
    UnknownMounter(String),
    /// An option would be taken for something else by the program that reads it.
    #[error("has the option \"{0}\", which contains white space or begins with '-'")]
    Unsafe(String),
}

impl MapOptions {
    /// Reads the value of a parameter.
    ///
    /// # Errors
    /// Every item with an unknown mounter and every option that could be taken for an argument.
    pub fn parse(text: &str) -> Result<Self, Vec<MapOptionsError>> {
        let mut options = Self {
            text: text.to_owned(),
            ..Self::default()
        };
        let mut wrong = Vec::new();
        for item in text
            .split(';')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (label, value) = match item.split_once(':') {
                Some((label, value)) => (label.trim(), value.trim()),
                None => ("krbd", item),
            };
            let place = if label.eq_ignore_ascii_case("krbd") {
                &mut options.krbd
            } else if label.eq_ignore_ascii_case("nbd") {
                &mut options.nbd
            } else {
                wrong.push(MapOptionsError::UnknownMounter(crate::names::shorten(
                    label,
                )));
                continue;
            };
            for option in value.split(',') {
                let blank = |c: char| c.is_whitespace() || c.is_control();
                if option.starts_with('-') || option.contains(blank) {
                    wrong.push(MapOptionsError::Unsafe(crate::names::shorten(option)));
                }
            }
            value.clone_into(place);
        }
        if wrong.is_empty() {
            Ok(options)
        } else {
            Err(wrong)
        }
    }

    /// The options for a mounter, comma-separated. The FUSE export takes none.
    #[must_use]
    pub fn for_mounter(&self, mounter: Mounter) -> &str {
        match mounter {
            Mounter::Krbd => &self.krbd,
            Mounter::Nbd => &self.nbd,
            Mounter::Fuse => "",
        }
    }

    /// The whole parameter, as it was given.
    #[must_use]
    pub fn as_text(&self) -> &str {
        &self.text
    }

    /// Whether there are no options for any mounter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.krbd.is_empty() && self.nbd.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(text: &str) -> (String, String) {
        let options = MapOptions::parse(text).unwrap();
        (
            options.for_mounter(Mounter::Krbd).to_owned(),
            options.for_mounter(Mounter::Nbd).to_owned(),
        )
    }

    #[test]
    fn options_go_to_their_mounter() {
        for (text, krbd, nbd) in [
            ("", "", ""),
            (
                "lock_on_read,queue_depth=1024",
                "lock_on_read,queue_depth=1024",
                "",
            ),
            ("krbd:a,b;nbd:c", "a,b", "c"),
            ("NBD:c;x=1", "x=1", "c"),
            ("a;b", "b", ""),
            (
                "krbd:crush_location=host:a|rack:b",
                "crush_location=host:a|rack:b",
                "",
            ),
            ("nbd:try-netlink;", "", "try-netlink"),
        ] {
            assert_eq!(pair(text), (krbd.to_owned(), nbd.to_owned()), "{text}");
        }
        assert!(MapOptions::parse(";").unwrap().is_empty());
        assert_eq!(MapOptions::parse("a;b").unwrap().as_text(), "a;b");
    }

    #[test]
    fn unknown_mounters_and_smuggled_arguments_are_refused() {
        let wrong = MapOptions::parse("fuse:a;nbd:--exec=x;krbd:a b").unwrap_err();
        assert_eq!(
            wrong,
            [
                MapOptionsError::UnknownMounter("fuse".to_owned()),
                MapOptionsError::Unsafe("--exec=x".to_owned()),
                MapOptionsError::Unsafe("a b".to_owned()),
            ]
        );
    }
}
