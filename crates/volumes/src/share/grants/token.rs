//! Ceph's capability texts, taken apart into grants.
//!
//! Only the forms that shares use are understood; everything else is kept as it is.

/// One grant: `allow rw path=/a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant<'a> {
    /// As it stands in the capability.
    pub(super) text: &'a str,
    /// Taken apart; `None` when it has another form than `allow r|rw key=value …`.
    form: Option<Form<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Form<'a> {
    writes: bool,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Grant<'a> {
    fn read(text: &'a str) -> Self {
        Self {
            text,
            form: Form::read(text),
        }
    }

    /// The directory, when this is a right to one and nothing else.
    pub(super) fn path(&self) -> Option<&'a str> {
        let form = self.form.as_ref()?;
        form.only(&["fsname", "path"])?;
        form.value("path")
    }

    /// Pool and namespace, when this is a right to data and nothing else.
    pub(super) fn data(&self) -> Option<(&'a str, Option<&'a str>)> {
        let form = self.form.as_ref()?;
        form.only(&["pool", "namespace"])?;
        Some((form.value("pool")?, form.value("namespace")))
    }

    /// Whether this is the right to read everything, perhaps of one file system.
    pub(super) fn is_plain_read(&self) -> bool {
        self.form
            .as_ref()
            .is_some_and(|form| !form.writes && form.only(&["fsname"]).is_some())
    }
}

impl<'a> Form<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut words = split(text, char::is_whitespace);
        if words.next()? != "allow" {
            return None;
        }
        let writes = match words.next()? {
            "r" => false,
            "rw" => true,
            _ => return None,
        };
        let pairs = words.map(|word| {
            let (key, value) = word.split_once('=')?;
            Some((key, unquoted(value)))
        });
        Some(Self {
            writes,
            pairs: pairs.collect::<Option<_>>()?,
        })
    }

    /// `Some` when no other key is there.
    fn only(&self, keys: &[&str]) -> Option<()> {
        let known = self.pairs.iter().all(|(key, _)| keys.contains(key));
        known.then_some(())
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        let mut values = self.pairs.iter().filter(|(k, _)| *k == key);
        values.next().map(|(_, value)| *value)
    }
}

/// The grants of a capability, which commas or semicolons separate.
pub(super) fn grants(text: &str) -> Vec<Grant<'_>> {
    split(text, |c| matches!(c, ',' | ';'))
        .map(Grant::read)
        .collect()
}

/// The capability of these grants.
pub(super) fn joined<'a>(grants: impl IntoIterator<Item = &'a str>) -> String {
    grants.into_iter().collect::<Vec<_>>().join(", ")
}

/// The non-empty, trimmed parts between separators that are not in quotes.
fn split(text: &str, is_separator: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    let mut quote = None;
    let parts = text.split(move |c| {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => return false,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None => return is_separator(c),
        }
        false
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// A value as a capability takes it: in quotes where Ceph's grammar wants them.
pub(super) fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if !value.is_empty() && value.chars().all(is_plain) {
        value.to_owned()
    } else {
        format!("\"{value}\"")
    }
}
