//! The page `docs/doctor.md`, made from the table of checks.

use cuttle_doctor::Check;

use super::USAGE;

/// The page, which a test holds against the table of checks.
#[must_use]
pub fn reference_page() -> String {
    let mut page = format!("{HEAD}\n```text\n{USAGE}```\n{MIDDLE}");
    for check in Check::ALL {
        page.push_str(&format!("| `{}` | {} |\n", check.id(), check.about()));
    }
    page
}

const HEAD: &str = "\
# cuttle doctor

Looks at a cluster, a node or StorageClasses and names what is wrong: what was seen, what follows from it, and what to do,
as far as possible as a command. It changes nothing, neither in Ceph nor on the node: what a user may do is tried by
calls that change nothing even where they are allowed (a write that is guarded by an object that nobody has, an address
that cannot be fenced).

Run it where the driver runs, with the driver's image: reach, libraries and mounts are those of that place.

| To look at | Run |
|---|---|
| a cluster, as the controller sees it | `kubectl -n NAMESPACE exec -i deploy/cuttle-controller -c driver -- cuttle doctor cluster --pool=POOL --user=USER --key-file=-`, with the key on standard input |
| a node | `kubectl -n NAMESPACE exec daemonset/cuttle-node -c driver -- cuttle doctor node` |
| the classes, with their Secrets | `kubectl get storageclass,volumesnapshotclass,secret -A -o json \\| cuttle doctor class -` |

Values of Secrets are never printed. A question that could not be asked is `unknown`, never `good`.
";

const MIDDLE: &str = "
`-o json` prints one document: `worst`, and `findings` with `check`, `about`, `severity`, `evidence`, `meaning` and
`remedy` each.

| Severity | Means |
|---|---|
| `error` | something will fail; exit status 1 |
| `unknown` | the question could not be asked, often for lack of a capability that another finding names; exit status 2 if there is no error |
| `warning` | works, and will hurt |
| `note` | worth knowing |
| `good` | looked at and in order |

## Checks

An id never changes its meaning. This page is made from the table in the program by
`UPDATE_DOCS=1 cargo nextest run -p cuttle doctor_page`.

| Id | Looks at |
|---|---|
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the switch of a developer")]
    fn the_doctor_page_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/doctor.md");
        if std::env::var("UPDATE_DOCS").is_ok() {
            std::fs::write(&path, reference_page()).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap();
        assert_eq!(page, reference_page(), "see the page for how to make it");
    }
}
