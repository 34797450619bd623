//! How the errors of this crate answer [`Explain`]: from their own facts, or by passing on what
//! the error below them says.

use std::borrow::Cow;

use cuttle_host::Error as HostError;
use cuttle_model::{Class, Code, Explain, Left};

/// What kind of failure an error is, or which error below it knows.
pub(crate) enum Verdict<'a> {
    /// This crate's own finding.
    Own(u16, Class),
    /// This crate's own finding that an earlier attempt's work is still going on, perhaps.
    Running(u16),
    /// As the error below says.
    Of(&'a dyn Explain),
    /// As the error below says, but what was made stays for the next attempt.
    Kept(&'a dyn Explain),
    /// As the host says. A call that was given up on counts as our own deadline passing, and the
    /// work may still end by itself.
    Host(&'a HostError),
}

impl Verdict<'_> {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Own(number, _) | Self::Running(number) => Code::new(*number),
            Self::Of(error) | Self::Kept(error) => error.code(),
            Self::Host(error) => error.code(),
        }
    }

    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Own(_, class) => *class,
            Self::Running(_) => Class::Busy,
            Self::Of(error) | Self::Kept(error) => error.class(),
            Self::Host(error) if error.is_late() => Class::Late,
            Self::Host(error) => error.class(),
        }
    }

    pub(crate) fn left(&self) -> Left {
        match self {
            Self::Own(_, Class::Late) | Self::Running(_) => Left::MaybeRunning,
            Self::Own(..) => Left::Nothing,
            Self::Kept(_) => Left::MaybeRunning,
            Self::Of(error) => error.left(),
            Self::Host(error) if error.is_late() => Left::MaybeRunning,
            Self::Host(error) => error.left(),
        }
    }

    pub(crate) fn remedy(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Own(..) | Self::Running(_) => None,
            Self::Of(error) | Self::Kept(error) => error.remedy(),
            Self::Host(error) => error.remedy(),
        }
    }
}

/// Implements [`Explain`] for an error that has `verdict(&self) -> Verdict<'_>` and
/// `own_remedy(&self) -> Option<Cow<'static, str>>`.
macro_rules! explain_by_verdict {
    ($error:ty) => {
        impl cuttle_model::Explain for $error {
            fn code(&self) -> cuttle_model::Code {
                self.verdict().code()
            }
            fn class(&self) -> cuttle_model::Class {
                self.verdict().class()
            }
            fn left(&self) -> cuttle_model::Left {
                self.verdict().left()
            }
            fn remedy(&self) -> Option<std::borrow::Cow<'static, str>> {
                self.own_remedy().or_else(|| self.verdict().remedy())
            }
        }
    };
}

pub(crate) use explain_by_verdict;
