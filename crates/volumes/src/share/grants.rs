//! The capabilities of a share's user: exactly its share, and how they are given and taken.
//!
//! ```text
//!  mds  allow rw fsname=<file system> path=<directory>      old tool: allow r, allow rw path=…
//!  osd  allow rw pool=<pool> namespace=<namespace>
//!  mon  allow r fsname=<file system>                        old tool: allow r
//! ```
//!
//! A user may have several shares. What a user has beside shares is never touched.

mod token;

use ceph::Capabilities;

use super::layout::OLD_NAMESPACE;
use token::{Grant, grants, joined, quoted};

const MDS: &str = "mds";
const OSD: &str = "osd";
const MON: &str = "mon";

/// What a share is, in terms of capabilities.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted<'a> {
    pub(super) file_system: &'a str,
    pub(super) path: &'a str,
    pub(super) pool: &'a str,
    pub(super) namespace: Option<&'a str>,
}

/// Something that a share's user does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) daemon: String,
    pub(super) grant: String,
}

/// What is left of a user when a share is taken from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rest {
    /// It did not have the share.
    Same,
    /// Other things.
    Less(Capabilities),
    /// Nothing.
    Nothing,
}

/// Whether a user has nothing but shares.
///
/// # Errors
/// The first thing that is no share.
pub(super) fn check(user: &Capabilities) -> Result<(), Foreign> {
    for (daemon, text) in user {
        let is_share = |grant: &Grant<'_>| match daemon.as_str() {
            MDS => grant.path().is_some() || grant.is_plain_read(),
            OSD => grant.data().is_some(),
            MON => grant.is_plain_read(),
            _ => false,
        };
        if let Some(foreign) = grants(text).into_iter().find(|grant| !is_share(grant)) {
            return Err(Foreign {
                daemon: daemon.clone(),
                grant: foreign.text.to_owned(),
            });
        }
    }
    Ok(())
}

/// The capabilities of a user that has the share, besides the shares it had.
///
/// The right to read all names, which the old tool gave, is taken away.
pub(super) fn with(user: Option<&Capabilities>, share: Granted<'_>) -> Capabilities {
    let text = |daemon| {
        user.and_then(|user| user.get(daemon))
            .map_or("", String::as_str)
    };
    let path = format!(
        "allow rw fsname={} path={}",
        quoted(share.file_system),
        quoted(share.path)
    );
    let data = match share.namespace {
        Some(namespace) => format!(
            "allow rw pool={} namespace={}",
            quoted(share.pool),
            quoted(namespace)
        ),
        None => format!("allow rw pool={}", quoted(share.pool)),
    };
    let others = |daemon, same: &dyn Fn(&Grant<'_>) -> bool, new| {
        let kept = grants(text(daemon))
            .into_iter()
            .filter(|grant| !same(grant));
        joined(kept.map(|grant| grant.text).chain([new]))
    };
    let mds = others(
        MDS,
        &|grant| grant.is_plain_read() || grant.path() == Some(share.path),
        path.as_str(),
    );
    let osd = others(
        OSD,
        &|grant| grant.data() == Some((share.pool, share.namespace)),
        data.as_str(),
    );
    let mon = match text(MON) {
        "" => format!("allow r fsname={}", quoted(share.file_system)),
        had => had.to_owned(),
    };
    let all = [(MDS, mds), (OSD, osd), (MON, mon)];
    all.map(|(daemon, text)| (daemon.to_owned(), text)).into()
}

/// What a user has without the share: without its path, its namespaces, and, once no share is
/// left, without pools as a whole, which shares without a namespace had in common.
pub(super) fn without(user: &Capabilities, path: &str, namespaces: &[&str]) -> Rest {
    let text = |daemon| user.get(daemon).map_or("", String::as_str);
    let (taken, mds): (Vec<_>, Vec<_>) = grants(text(MDS))
        .into_iter()
        .partition(|grant| grant.path() == Some(path));
    let paths: Vec<&str> = mds.iter().filter_map(Grant::path).collect();
    // The old tool gave shares of one name in different groups the same namespace.
    let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
    let is_needed = |namespace: &str| {
        let same = paths.iter().any(|other| name(other) == name(path));
        same && namespace.strip_prefix(OLD_NAMESPACE) == name(path).as_deref()
    };
    let (also_taken, osd): (Vec<_>, Vec<_>) =
        grants(text(OSD))
            .into_iter()
            .partition(|grant| match grant.data() {
                Some((_, Some(namespace))) => {
                    namespaces.contains(&namespace) && !is_needed(namespace)
                }
                Some((_, None)) => !taken.is_empty() && paths.is_empty(),
                None => false,
            });
    if taken.is_empty() && also_taken.is_empty() {
        return Rest::Same;
    }
    let only_shares = check(user).is_ok();
    if only_shares && paths.is_empty() && osd.is_empty() {
        return Rest::Nothing;
    }
    let rest = [(MDS, mds), (OSD, osd)];
    let mut less = user.clone();
    for (daemon, grants) in rest {
        match grants.as_slice() {
            [] => drop(less.remove(daemon)),
            some => {
                let text = joined(some.iter().map(|grant| grant.text));
                less.insert(daemon.to_owned(), text);
            }
        }
    }
    Rest::Less(less)
}

/// The directories that a user has as shares.
pub(super) fn paths(user: &Capabilities) -> Vec<String> {
    let text = user.get(MDS).map_or("", String::as_str);
    let grants = grants(text).into_iter();
    grants
        .filter_map(|grant| grant.path().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests;
