//! Names of shares, the directories that the provisioner `ceph.com/cephfs` made.
//!
//! They become parts of paths and of Ceph capabilities, so they hold only what both can carry
//! without quotes.

use std::fmt;

use super::cephfs::{no_dots, path_rule, plain_characters};
use super::{NameError, Rule, at_most, not_empty};

fn share_rule(text: &str) -> Rule {
    not_empty(text)?;
    // The file beside it is called `_<group>:<share>.meta`, and a file's name has 255 bytes.
    at_most(text, 120)?;
    plain_characters(text)?;
    no_dots(text)
}

fn group_rule(text: &str) -> Rule {
    share_rule(text)?;
    // Beside the groups lie the shares' own files and their trash.
    if text.starts_with('_') {
        return Err("must not begin with '_'".into());
    }
    Ok(())
}

fn root_rule(text: &str) -> Rule {
    path_rule(text)?;
    let parts = text.split('/').skip(1);
    for part in parts {
        if part.is_empty() || part == "." {
            return Err("must be a path without empty parts and \".\", and not the root".into());
        }
        plain_characters(part)?;
    }
    Ok(())
}

name!(
    /// The name of a share. 1 to 120 bytes.
    ShareName, "share name", share_rule
);
name!(
    /// The directory that holds a group of shares. 1 to 120 bytes.
    ShareGroup, "share group", group_rule
);
name!(
    /// The directory that holds the groups, such as `/volumes/kubernetes`.
    ShareRoot, "volume root", root_rule
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_separators_are_names_and_paths_are_not() {
        for good in ["a-b_c.d", "kubernetes-dynamic-pvc-1", "_a", "A"] {
            ShareName::new(good).unwrap();
        }
        for bad in ["", ".", "..", "a/b", "a b", "a,b", "a\"b", "ä"] {
            ShareName::new(bad).unwrap_err();
        }
        ShareName::new("s".repeat(121)).unwrap_err();
        ShareGroup::new("kubernetes").unwrap();
        ShareGroup::new("_deleting").unwrap_err();
    }

    #[test]
    fn roots_are_plain_paths_below_the_file_system_s_root() {
        for good in ["/volumes", "/volumes/kubernetes", "/a-b/c_d.e"] {
            ShareRoot::new(good).unwrap();
        }
        for bad in [
            "", "/", "volumes", "/a/", "/a//b", "/a/./b", "/a/../b", "/a b", "/a,b",
        ] {
            ShareRoot::new(bad).unwrap_err();
        }
    }
}
