//! Paths that a caller names on this node.

use std::path::{Component, Path, PathBuf};

use super::mistakes::{Check, Mistake};

/// The kernel's limit, with its final NUL.
const LONGEST: usize = 4095;

/// An absolute path without `..`, short enough for the kernel and not the root directory.
pub(crate) fn absolute(check: &mut Check, field: &'static str, text: &str) -> Option<PathBuf> {
    match rule(text) {
        None => Some(PathBuf::from(text)),
        Some(rule) => {
            check.add(Mistake::invalid(
                field,
                rule,
                "give the absolute path that kubelet uses for the volume",
            ));
            None
        }
    }
}

/// As [`absolute`]; empty means "not given".
pub(crate) fn optional(check: &mut Check, field: &'static str, text: &str) -> Option<PathBuf> {
    if text.is_empty() {
        None
    } else {
        absolute(check, field, text)
    }
}

fn rule(text: &str) -> Option<String> {
    let path = Path::new(text);
    if text.is_empty() {
        return Some("must not be empty".into());
    }
    if text.len() > LONGEST {
        return Some(format!(
            "must be at most {LONGEST} bytes long, is {}",
            text.len()
        ));
    }
    let shown = cuttle_model::names::shorten(text);
    if text.contains(char::is_control) {
        return Some(format!("must not contain control characters: \"{shown}\""));
    }
    if !path.is_absolute() {
        return Some(format!("must begin with '/': \"{shown}\""));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Some(format!("must not contain \"..\": \"{shown}\""));
    }
    if path.parent().is_none() {
        return Some("must not be the root directory".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_absolute_paths_pass() {
        for good in ["/a", "/var/lib/kubelet/x/globalmount", "/a/..b/c", "/a/ b"] {
            assert_eq!(rule(good), None, "{good}");
        }
    }

    #[test]
    fn each_rule_is_named() {
        for (bad, part) in [
            ("", "empty"),
            ("a/b", "begin with '/'"),
            ("./a", "begin with '/'"),
            ("/a/../b", "\"..\""),
            ("/..", "\"..\""),
            ("/", "root"),
            ("//", "root"),
            ("/a\0b", "control"),
            ("/a\nb", "control"),
        ] {
            let rule = rule(bad).unwrap();
            assert!(rule.contains(part), "{bad:?}: {rule}");
        }
        let long = format!("/{}", "x".repeat(1 << 20));
        assert!(rule(&long).unwrap().len() < 100);
    }
}
