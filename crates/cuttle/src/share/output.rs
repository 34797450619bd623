//! What `cuttle share` prints, for programs to read.

use cuttle_model::{ByteSize, UserId};
use cuttle_volumes::share::{CreatedShare, ListedShare, ShareState};
use serde_json::json;

/// One line as the old tool printed it. This is the one place that shows a key, because that is
/// what the line is for.
pub(super) fn created(share: &CreatedShare, user: &UserId) -> String {
    let line = json!({
        "path": format!("{}:{}", share.monitors.join(","), share.path),
        "user": format!("client.{user}"),
        "auth": share.key.expose(),
    });
    format!("{line}\n")
}

/// One line for each share.
pub(super) fn listed(shares: &[ListedShare]) -> String {
    shares.iter().map(line).collect()
}

fn line(share: &ListedShare) -> String {
    let state = match share.state {
        ShareState::Present => "present",
        ShareState::Deleting => "deleting",
        ShareState::Missing => "missing",
    };
    let line = json!({
        "share": share.name,
        "group": share.group,
        "path": share.path,
        "state": state,
        "size": share.size.map(ByteSize::bytes),
        "used": share.used.map(ByteSize::bytes),
        "namespace": share.namespace,
        "users": share.users,
    });
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use cuttle_model::Secret;

    use super::*;

    #[test]
    fn a_created_share_is_told_as_the_old_tool_told_it() {
        let share = CreatedShare {
            monitors: vec!["10.0.0.1:6789".to_owned(), "10.0.0.2:6789".to_owned()],
            path: "/volumes/kubernetes/a-b".to_owned(),
            key: Secret::new("AQBkey==".to_owned()),
        };
        let line = created(&share, &UserId::new("k8s.ns.claim").unwrap());
        let told: serde_json::Value = serde_json::from_str(&line).unwrap();
        let expected = json!({
            "path": "10.0.0.1:6789,10.0.0.2:6789:/volumes/kubernetes/a-b",
            "user": "client.k8s.ns.claim",
            "auth": "AQBkey==",
        });
        assert_eq!(told, expected);
        assert_eq!(line.lines().count(), 1);
    }
}
