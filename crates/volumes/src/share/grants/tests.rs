//! Capabilities given and taken, those of the old tool included.

use super::*;

fn caps(mds: &str, osd: &str, mon: &str) -> Capabilities {
    let all = [(MDS, mds), (OSD, osd), (MON, mon)];
    let some = all.into_iter().filter(|(_, text)| !text.is_empty());
    some.map(|(daemon, text)| (daemon.to_owned(), text.to_owned()))
        .collect()
}

const SHARE: Granted<'_> = Granted {
    file_system: "cephfs",
    path: "/v/k/a-b",
    pool: "data",
    namespace: Some("fsvolumens_a-b"),
};

fn fresh() -> Capabilities {
    caps(
        "allow rw fsname=cephfs path=/v/k/a-b",
        "allow rw pool=data namespace=fsvolumens_a-b",
        "allow r fsname=cephfs",
    )
}

#[test]
fn a_new_user_has_its_share_and_nothing_else() {
    assert_eq!(with(None, SHARE), fresh());
    check(&fresh()).unwrap();
    assert_eq!(paths(&fresh()), ["/v/k/a-b"]);
    // What Ceph's grammar cannot take bare is quoted.
    let odd = Granted {
        pool: "my pool",
        namespace: Some("fsvolumens_g:s"),
        ..SHARE
    };
    let caps = with(None, odd);
    assert_eq!(
        caps[OSD],
        r#"allow rw pool="my pool" namespace="fsvolumens_g:s""#
    );
    assert_eq!(with(Some(&caps), odd), caps);
    assert_eq!(without(&caps, odd.path, &["fsvolumens_g:s"]), Rest::Nothing);
}

#[test]
fn giving_a_share_again_changes_nothing() {
    assert_eq!(with(Some(&fresh()), SHARE), fresh());
}

#[test]
fn a_user_of_the_old_tool_loses_the_right_to_read_all_names() {
    let old = caps(
        "allow r,allow rw path=/v/k/a-b",
        "allow rw pool=data namespace=fsvolumens_a-b",
        "allow r",
    );
    let new = with(Some(&old), SHARE);
    assert_eq!(new[MDS], "allow rw fsname=cephfs path=/v/k/a-b");
    assert_eq!((&new[OSD], &new[MON]), (&old[OSD], &old[MON]));
    assert_eq!(
        without(&old, SHARE.path, &["fsvolumens_a-b"]),
        Rest::Nothing
    );
}

#[test]
fn a_second_share_comes_and_goes_beside_the_first() {
    let second = Granted {
        path: "/v/k/a_b",
        namespace: Some("fsvolumens_a_b"),
        ..SHARE
    };
    let both = with(Some(&fresh()), second);
    assert_eq!(paths(&both), [SHARE.path, second.path]);
    assert!(both[OSD].contains("fsvolumens_a-b, allow rw"), "{both:?}");
    assert_eq!(
        without(&both, second.path, &["fsvolumens_a_b"]),
        Rest::Less(fresh())
    );
    let mut rest = fresh();
    rest.insert(MDS.into(), "allow rw fsname=cephfs path=/v/k/a_b".into());
    rest.insert(
        OSD.into(),
        "allow rw pool=data namespace=fsvolumens_a_b".into(),
    );
    assert_eq!(
        without(&both, SHARE.path, &["fsvolumens_a-b"]),
        Rest::Less(rest)
    );
}

#[test]
fn a_pool_that_shares_have_in_common_goes_with_the_last_of_them() {
    let plain = Granted {
        namespace: None,
        ..SHARE
    };
    let other = Granted {
        path: "/v/k/c",
        ..plain
    };
    let both = with(Some(&with(None, plain)), other);
    assert_eq!(both[OSD], "allow rw pool=data");
    let Rest::Less(one) = without(&both, plain.path, &["fsvolumens_a-b"]) else {
        panic!("the other share is left");
    };
    assert_eq!(one, with(None, other));
    assert_eq!(without(&one, other.path, &["fsvolumens_c"]), Rest::Nothing);
}

#[test]
fn a_namespace_that_two_groups_have_in_common_stays_with_the_other() {
    let both = caps(
        "allow r, allow rw path=/v/g/data, allow rw path=/v/h/data",
        "allow rw pool=data namespace=fsvolumens_data",
        "allow r",
    );
    let Rest::Less(rest) = without(&both, "/v/g/data", &["fsvolumens_data"]) else {
        panic!("the other share is left");
    };
    assert_eq!(rest[MDS], "allow r, allow rw path=/v/h/data");
    assert_eq!(rest[OSD], both[OSD]);
}

#[test]
fn what_is_left_of_a_share_without_its_directory_can_be_taken() {
    let torn = caps("", "allow rw pool=data namespace=fsvolumens_a-b", "allow r");
    assert_eq!(
        without(&torn, SHARE.path, &["fsvolumens_a-b"]),
        Rest::Nothing
    );
}

#[test]
fn other_rights_are_found_and_never_taken() {
    let all = "allow *";
    let admin: Capabilities = ["mds", "mgr", "mon", "osd"]
        .map(|daemon| (daemon.to_owned(), all.to_owned()))
        .into();
    assert_eq!(check(&admin).unwrap_err().daemon, "mds");
    assert_eq!(without(&admin, SHARE.path, &["fsvolumens_a-b"]), Rest::Same);
    for (mds, osd, mon) in [
        ("allow rw", "", ""),
        ("allow rwps path=/v/k/a-b", "", ""),
        ("allow rw path=/a uid=1", "", ""),
        ("", "allow rwx pool=data", ""),
        ("", "allow rw tag cephfs data=cephfs", ""),
        ("", "profile rbd", ""),
        ("", "", "allow rw"),
        ("", "", "profile rbd"),
    ] {
        let user = caps(mds, osd, mon);
        check(&user).unwrap_err();
        assert_eq!(without(&user, SHARE.path, &["fsvolumens_a-b"]), Rest::Same);
    }
    // A user with a share and something else keeps the something.
    let mut mixed = fresh();
    mixed.insert(MON.into(), "profile rbd".into());
    let rest = without(&mixed, SHARE.path, &["fsvolumens_a-b"]);
    assert_eq!(rest, Rest::Less(caps("", "", "profile rbd")));
}

#[test]
fn separators_in_quotes_separate_nothing() {
    let text = r#"allow rw path="/a, b;c" , allow r;allow rw path='/d'"#;
    let found: Vec<_> = grants(text).into_iter().map(|grant| grant.path()).collect();
    assert_eq!(found, [Some("/a, b;c"), None, Some("/d")]);
    assert!(grants(" , ;").is_empty());
}
