//! Collects everything that is wrong with a request, so that its author learns of all at once.

use std::borrow::Cow;
use std::fmt;

use cuttle_model::{Class, Code, Explain, chain};

/// One thing that is wrong: where, which rule it breaks and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    field: Cow<'static, str>,
    rule: String,
    fix: Option<Cow<'static, str>>,
    code: Code,
    class: Class,
}

impl Mistake {
    /// A value that breaks a rule of the boundary.
    pub(crate) fn invalid(
        field: impl Into<Cow<'static, str>>,
        rule: impl Into<String>,
        fix: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            field: field.into(),
            rule: rule.into(),
            fix: Some(fix.into()),
            code: Code::new(1030),
            class: Class::Invalid,
        }
    }

    /// Something that is fine by the protocol and that this driver does not do (yet).
    pub(crate) fn unsupported(
        field: impl Into<Cow<'static, str>>,
        rule: impl Into<String>,
        fix: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code: Code::new(1031),
            class: Class::Unsupported,
            ..Self::invalid(field, rule, fix)
        }
    }

    /// A value that the model has refused, with the model's own words.
    pub(crate) fn refused(field: impl Into<Cow<'static, str>>, error: &dyn Explain) -> Self {
        Self {
            field: field.into(),
            rule: chain(error),
            fix: error.remedy(),
            code: error.code(),
            class: error.class(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rule.starts_with(&*self.field) {
            f.write_str(&self.rule)
        } else {
            write!(f, "{}: {}", self.field, self.rule)
        }
    }
}

/// All mistakes of one request; made only when there is at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", Listed(.first, .others))]
pub(crate) struct Mistakes {
    first: Mistake,
    others: Vec<Mistake>,
}

struct Listed<'a>(&'a Mistake, &'a [Mistake]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(first, others) = self;
        if others.is_empty() {
            return first.fmt(f);
        }
        write!(
            f,
            "the request has {} mistakes",
            others.len().saturating_add(1)
        )?;
        for (number, mistake) in (1..).zip(std::iter::once(*first).chain(others.iter())) {
            write!(f, "; ({number}) {mistake}")?;
            if let Some(fix) = &mistake.fix {
                write!(f, " ({fix})")?;
            }
        }
        Ok(())
    }
}

impl Explain for Mistakes {
    fn code(&self) -> Code {
        if self.others.is_empty() {
            self.first.code
        } else {
            Code::new(1032)
        }
    }

    /// The class that the caller has to see: a wrong value before a missing feature before a size.
    fn class(&self) -> Class {
        let all = || std::iter::once(&self.first).chain(&self.others);
        let told_first = [Class::Invalid, Class::Unsupported, Class::OutOfRange];
        told_first
            .into_iter()
            .find(|class| all().any(|mistake| mistake.class == *class))
            .unwrap_or(self.first.class)
    }

    fn remedy(&self) -> Option<Cow<'static, str>> {
        if self.others.is_empty() {
            self.first.fix.clone()
        } else {
            Some("correct all of them and repeat the request".into())
        }
    }
}

/// Gathers mistakes while a request is being checked.
#[derive(Debug, Default)]
pub(crate) struct Check {
    found: Vec<Mistake>,
}

impl Check {
    /// Notes a mistake.
    pub(crate) fn add(&mut self, mistake: Mistake) {
        self.found.push(mistake);
    }

    /// The value, or a noted mistake in the model's words.
    pub(crate) fn take<T, E: Explain>(
        &mut self,
        field: impl Into<Cow<'static, str>>,
        result: Result<T, E>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(Mistake::refused(field, &error));
                None
            }
        }
    }

    /// All mistakes so far, if there are any.
    ///
    /// # Errors
    /// When there is at least one.
    pub(crate) fn finish(self) -> Result<(), Mistakes> {
        let mut found = self.found.into_iter();
        match found.next() {
            None => Ok(()),
            Some(first) => Err(Mistakes {
                first,
                others: found.collect(),
            }),
        }
    }

    /// As [`Check::finish`], with the checked request, which is whole when nothing was noted.
    ///
    /// # Errors
    /// When there is at least one mistake. A request that lacks a part without a mistake being
    /// noted is a bug and reported as one.
    pub(crate) fn finish_with<T>(self, whole: Option<T>) -> Result<T, Mistakes> {
        self.finish()?;
        whole.ok_or_else(|| Mistakes {
            first: Mistake {
                class: Class::Bug,
                code: Code::new(1033),
                ..Mistake::invalid(
                    "request",
                    "a part is missing although every check has passed",
                    "report this bug with the request",
                )
            },
            others: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(list: Vec<Mistake>) -> Mistakes {
        Check { found: list }.finish().unwrap_err()
    }

    #[test]
    fn one_mistake_speaks_for_itself() {
        let one = mistakes(vec![Mistake::invalid(
            "name",
            "must not be empty",
            "give a name",
        )]);
        assert_eq!(one.to_string(), "name: must not be empty");
        assert_eq!(one.remedy().unwrap(), "give a name");
        assert_eq!(one.code().to_string(), "CUTTLE-1030");
    }

    #[test]
    fn several_mistakes_are_listed_with_their_fixes() {
        let two = mistakes(vec![
            Mistake::unsupported("a", "is not supported yet", "leave it out"),
            Mistake::invalid("b", "must be 1", "set 1"),
        ]);
        assert_eq!(
            two.to_string(),
            "the request has 2 mistakes; (1) a: is not supported yet (leave it out); \
             (2) b: must be 1 (set 1)"
        );
        assert_eq!(two.class(), Class::Invalid);
        assert_eq!(two.code().to_string(), "CUTTLE-1032");
    }

    #[test]
    fn nothing_noted_and_nothing_made_is_a_bug() {
        assert_eq!(Check::default().finish_with(Some(1)), Ok(1));
        let bug = Check::default().finish_with::<()>(None).unwrap_err();
        assert_eq!(bug.class(), Class::Bug);
    }
}
