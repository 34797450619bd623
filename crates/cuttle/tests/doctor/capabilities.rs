//! Users that lack one thing each: it is named, and the command that the doctor prints mends it.

use cuttle_testbed::{Cluster, shared_cluster};
use serde_json::json;

use crate::patient::{Diagnosis, ID, Patient, carry_out, text};

const POOL: &str = "rbd";

/// A user with these capabilities in a namespace of its own.
struct Case {
    cluster: Cluster,
    patient: Patient,
    user: String,
    key: String,
    words: Vec<String>,
}

impl Case {
    fn images(caps: impl Fn(&str) -> Vec<(&'static str, String)>) -> Self {
        let cluster = shared_cluster();
        let unnamed = Patient::new(&cluster.monitors(), &json!({}));
        let namespace = unnamed.name();
        cluster.namespace(POOL, &namespace).unwrap();
        let members = json!({"rbd": {"radosNamespace": namespace}});
        let words = vec![format!("--pool={POOL}")];
        Self::of(cluster, &members, words, &caps(&namespace))
    }

    fn files(caps: &[(&'static str, &str)]) -> Self {
        let cluster = shared_cluster();
        let unnamed = Patient::new(&cluster.monitors(), &json!({}));
        let group = unnamed.name();
        let words = ["fs", "subvolumegroup", "create", "cephfs", &group];
        cluster.json(&words).unwrap();
        let members = json!({"cephFS": {"subvolumeGroup": group}});
        let caps = caps
            .iter()
            .map(|(daemon, text)| (*daemon, (*text).to_owned()));
        Self::of(
            cluster,
            &members,
            vec!["--fs=cephfs".to_owned()],
            &caps.collect::<Vec<_>>(),
        )
    }

    fn of(
        cluster: Cluster,
        members: &serde_json::Value,
        words: Vec<String>,
        caps: &[(&'static str, String)],
    ) -> Self {
        let patient = Patient::new(&cluster.monitors(), members);
        let user = patient.name();
        let caps: Vec<(&str, &str)> = caps.iter().map(|(d, t)| (*d, t.as_str())).collect();
        let key = cluster.user(&user, &caps).unwrap();
        Self {
            cluster,
            patient,
            user,
            key,
            words,
        }
    }

    fn look(&self) -> Diagnosis {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        self.patient.cluster(&self.user, &self.key, &words)
    }

    /// What is missing is named by its check; the printed command brings it.
    fn broken_and_mended(&self, check: &str, names: &str) {
        let before = self.look();
        assert_eq!(before.status, 1);
        before.assert_wrong(&[check]);
        let finding = before.only(check, "error");
        assert_eq!(text(finding, "about"), format!("client.{}", self.user));
        assert!(text(finding, "evidence").contains(names), "{finding}");
        carry_out(&self.cluster, text(finding, "remedy"));
        let after = self.look();
        after.assert_wrong(&[]);
        assert_eq!(after.status, 0);
        after.assert_good(&["caps-mon", "caps-osd", "caps-mgr", "login"]);
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        drop(
            self.cluster
                .json(&["auth", "rm", &format!("client.{}", self.user)]),
        );
    }
}

fn here(namespace: &str) -> String {
    format!("profile rbd pool={POOL} namespace={namespace}")
}

#[test]
fn writing_that_is_not_allowed_is_named_and_mended() {
    let case = Case::images(|namespace| {
        let reading = format!("profile rbd-read-only pool={POOL} namespace={namespace}");
        vec![
            ("mon", "profile rbd".to_owned()),
            ("mgr", here(namespace)),
            ("osd", reading),
        ]
    });
    case.broken_and_mended("caps-osd", "write in pool rbd");
}

#[test]
fn a_manager_that_may_not_be_asked_is_named_and_mended() {
    let case = Case::images(|namespace| {
        let elsewhere = format!("profile rbd pool={POOL} namespace={namespace}-other");
        vec![
            ("mon", "profile rbd".to_owned()),
            ("mgr", elsewhere),
            ("osd", here(namespace)),
        ]
    });
    case.broken_and_mended("caps-mgr", "trash of pool rbd");
}

#[test]
fn fencing_that_is_not_allowed_is_named_and_mended_and_nobody_is_fenced() {
    let case = Case::images(|namespace| {
        vec![
            ("mon", "allow r".to_owned()),
            ("mgr", here(namespace)),
            ("osd", here(namespace)),
        ]
    });
    case.broken_and_mended("caps-mon", "osd blocklist");
    let listed = case
        .cluster
        .program("ceph")
        .args(["osd", "blocklist", "ls"]);
    let fenced = listed.ok().unwrap().text();
    assert!(!fenced.contains("cuttle"), "{fenced}");
}

#[test]
fn a_user_for_files_gets_what_it_lacks() {
    let tag = "allow rw tag cephfs data=cephfs";
    let both = "allow rw tag cephfs metadata=cephfs, allow rw tag cephfs data=cephfs";
    let case = Case::files(&[("mon", "allow r"), ("mgr", "allow r"), ("osd", both)]);
    case.broken_and_mended("caps-mgr", "change subvolumes of file system cephfs");
    let case = Case::files(&[("mon", "allow r"), ("mgr", "allow rw"), ("osd", tag)]);
    case.broken_and_mended("caps-osd", "journal in the metadata pool of cephfs");
}

#[test]
fn a_wrong_key_and_an_unknown_user_are_told_with_the_user_s_making() {
    let case = Case::images(|namespace| {
        vec![
            ("mon", "profile rbd".to_owned()),
            ("mgr", here(namespace)),
            ("osd", here(namespace)),
        ]
    });
    let good = case.look();
    good.assert_wrong(&[]);
    for (user, key) in [
        (case.user.as_str(), case.cluster.admin_key()),
        ("nobody-knows-me", case.key.clone()),
    ] {
        let diagnosis = case.patient.cluster(user, &key, &["--pool=rbd"]);
        assert_eq!(diagnosis.status, 1);
        diagnosis.assert_wrong(&["login"]);
        let finding = diagnosis.only("login", "error");
        let command = format!("ceph auth get-or-create client.{user} mgr 'profile rbd pool=rbd");
        assert!(text(finding, "remedy").contains(&command), "{finding}");
    }
}

#[test]
fn the_administrator_is_too_powerful() {
    let cluster = shared_cluster();
    let patient = Patient::new(&cluster.monitors(), &json!({}));
    let diagnosis = patient.as_admin(&cluster, &["--cluster", ID]);
    let finding = diagnosis.only("user-power", "warning");
    assert!(text(finding, "remedy").contains("client.csi"), "{finding}");
}
