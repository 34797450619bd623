//! Shares as the old provisioner made them: made, used, listed and removed on a real cluster, with
//! ceph-fuse, `ceph` and `rados` as witnesses.

mod corner;

use std::fs;
use std::io::Write;

use cuttle_testbed::Program;
use serde_json::Value;

use corner::{Corner, failed, succeeded};

pub(crate) use corner::mount_as_admin;

const MIB: usize = 1 << 20;

fn created(program: Program) -> Value {
    serde_json::from_slice(&succeeded(program).stdout).unwrap()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

#[test]
fn a_share_s_whole_life_by_the_old_tool_s_arguments() {
    let corner = Corner::new();
    let (share, user) = ("pvc-1_a", corner.name("user"));
    let words = ["-n", share, "-u", &user, "-s", "8388608"];
    let told = created(corner.old_tool(&words));
    let path = format!("{}/kubernetes/{share}", corner.root);
    assert_eq!(text(&told, "user"), format!("client.{user}"));
    let (monitors, directory) = text(&told, "path").split_once(":/").unwrap();
    assert_eq!(format!("/{directory}"), path);
    assert!(corner.cluster.monitors().contains(monitors), "{monitors}");
    let key = text(&told, "auth");
    let known = corner.user(&user).unwrap();
    assert_eq!(known["key"], key);
    let namespace = format!("fsvolumens_{share}");
    let caps = &known["caps"];
    assert_eq!(caps["mds"], format!("allow rw fsname=cephfs path={path}"));
    let data = format!("allow rw pool=cephfs.data namespace={namespace}");
    assert_eq!(caps["osd"], data);
    assert_eq!(caps["mon"], "allow r fsname=cephfs");
    assert!(
        corner
            .seen(&corner.root)
            .join(format!("_kubernetes:{share}.meta"))
            .is_file()
    );
    assert_eq!(
        created(corner.old_tool(&words)),
        told,
        "a repetition tells the same"
    );

    let mounted = corner.mount(&user, key, &path).unwrap();
    fs::write(mounted.at.join("file"), vec![7; 4 * MIB]).unwrap();
    let mut big = fs::File::create(mounted.at.join("big")).unwrap();
    let refused = (0..64).find_map(|_| {
        let written = big.write_all(&vec![1; MIB]).and_then(|()| big.sync_all());
        written.err()
    });
    let refused = refused.expect("64 MiB do not fit into a quota of 8 MiB");
    assert_eq!(
        refused.kind(),
        std::io::ErrorKind::QuotaExceeded,
        "{refused}"
    );
    drop(big);
    drop(mounted);

    let listed = corner.list();
    assert_eq!(listed.len(), 1);
    for (name, value) in [
        ("share", share),
        ("group", "kubernetes"),
        ("path", &path),
        ("state", "present"),
        ("namespace", &namespace),
    ] {
        assert_eq!(listed[0][name], value);
    }
    assert_eq!(listed[0]["size"], 8 * MIB);
    assert_eq!(listed[0]["users"], serde_json::json!([user]));
    let output = succeeded(corner.share(&["list"]));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(!told.contains(key), "a listing shows no key");

    let remove = ["-r", "-n", share, "-u", &user];
    for _ in 0..2 {
        assert!(succeeded(corner.old_tool(&remove)).stdout.is_empty());
        assert_eq!(corner.user(&user), None);
        assert_eq!(corner.leftovers(), [""; 0]);
        assert!(corner.list().is_empty());
    }
    corner.wait_for_no_objects(&namespace);
}

#[test]
fn a_user_reaches_its_share_and_nothing_else() {
    let corner = Corner::new();
    let (one, other) = (corner.name("a-b"), corner.name("a_b"));
    let make = |name: &str| {
        let words = ["create", "-n", name, "-u", name];
        let told = created(corner.share(&words));
        let path = format!("{}/kubernetes/{name}", corner.root);
        (path, text(&told, "auth").to_owned())
    };
    let (path, key) = make(&one);
    let (other_path, other_key) = make(&other);
    let mounted = corner.mount(&other, &other_key, &other_path).unwrap();
    fs::write(mounted.at.join("secret"), vec![9; MIB]).unwrap();
    drop(mounted);

    // Not by name: neither the other share nor what is above both.
    drop(corner.mount(&one, &key, &path).unwrap());
    for above in [&*other_path, &*corner.root, "/"] {
        let refused = corner.mount(&one, &key, above);
        assert!(refused.is_err(), "client.{one} may enter {above}");
    }
    // Not by object: neither the other namespace nor the one that most data is in.
    let namespaces = [format!("fsvolumens_{other}"), String::new()];
    let file = corner.dir.join("object");
    fs::write(&file, "x").unwrap();
    let file = file.to_str().unwrap();
    for namespace in &namespaces {
        for words in [
            &["ls"][..],
            &["put", "planted", file],
            &["get", "planted", file],
        ] {
            let words = [&["-N", namespace], words].concat();
            let output = corner.rados(&one, &key, &words);
            assert!(!output.status.success(), "{output:?}");
        }
    }
    let own = format!("fsvolumens_{one}");
    let output = corner.rados(&one, &key, &["-N", &own, "put", "object", file]);
    assert!(output.status.success(), "{output:?}");
    let output = corner.rados(&one, &key, &["-N", &own, "rm", "object"]);
    assert!(output.status.success(), "{output:?}");
    // Not the cluster's secrets.
    let asked = corner.rados(&one, &key, &["lspools"]);
    assert!(
        asked.status.success(),
        "reading maps is needed to mount: {asked:?}"
    );
    let asked = Program::new("ceph")
        .arg("-c")
        .arg(corner.cluster.conf_path())
        .args(["-n", &format!("client.{one}"), "-k"])
        .arg(corner.dir.join(format!("{one}.keyring")))
        .args(["auth", "get", &format!("client.{other}")])
        .run()
        .unwrap();
    assert!(!asked.status.success(), "{asked:?}");

    // Removing one leaves the other, with its data and its user.
    succeeded(corner.share(&["delete", "-n", &one, "-u", &one]));
    let mounted = corner.mount(&other, &other_key, &other_path).unwrap();
    assert_eq!(fs::read(mounted.at.join("secret")).unwrap(), vec![9; MIB]);
    drop(mounted);
    succeeded(corner.share(&["delete", "-n", &other, "-u", &other]));
    assert_eq!(corner.leftovers(), [""; 0]);
}

/// As the old tool left them: no file system's name in the capabilities, and every name readable.
#[test]
fn shares_of_the_old_tool_are_taken_over_and_removed() {
    let corner = Corner::new();
    let user = corner.name("kubernetes-dynamic-user");
    let make = |share: &str| {
        let words = ["-n", share, "-u", &user, "-s", "4194304"];
        created(corner.old_tool(&words))
    };
    let (first, second) = (corner.name("one"), corner.name("two"));
    make(&first);
    make(&second);
    let path = |share: &str| format!("{}/kubernetes/{share}", corner.root);
    let mds = format!(
        "allow r,allow rw path={},allow rw path={}",
        path(&first),
        path(&second)
    );
    let osd = format!(
        "allow rw pool=cephfs.data namespace=fsvolumens_{first},\
         allow rw pool=cephfs.data namespace=fsvolumens_{second}"
    );
    let entity = format!("client.{user}");
    let caps = ["mds", &mds, "osd", &osd, "mon", "allow r"];
    let as_the_old_tool = || {
        let words = [&["auth", "caps", &entity][..], &caps].concat();
        corner.cluster.json(&words).unwrap();
    };
    as_the_old_tool();
    make(&first);
    let narrowed = corner.user(&user).unwrap()["caps"]["mds"].clone();
    let narrowed = narrowed.as_str().unwrap();
    assert!(!narrowed.contains("allow r,"), "{narrowed}");
    assert!(narrowed.contains(&path(&second)), "{narrowed}");

    as_the_old_tool();
    succeeded(corner.old_tool(&["-r", "-n", &first, "-u", &user]));
    let rest = corner.user(&user).unwrap()["caps"].clone();
    assert_eq!(
        rest["mds"],
        format!("allow r, allow rw path={}", path(&second))
    );
    let data = format!("allow rw pool=cephfs.data namespace=fsvolumens_{second}");
    assert_eq!(rest["osd"], data);
    // A directory that somebody else has removed does not keep its user.
    fs::remove_dir(corner.seen(&path(&second))).unwrap();
    assert_eq!(corner.list()[0]["state"], "missing");
    succeeded(corner.old_tool(&["--remove", "-n", &second, "-u", &user]));
    assert_eq!(corner.user(&user), None);
    assert_eq!(corner.leftovers(), [""; 0]);
}

#[test]
fn groups_and_shared_pools() {
    let corner = Corner::new();
    let user = corner.name("user");
    let in_group =
        |group: &str, words: &[&str]| corner.old_tool(words).env("CEPH_VOLUME_GROUP", group);
    let words = ["-n", "data", "-u", &user];
    let told = created(in_group("team-a", &words));
    assert!(text(&told, "path").ends_with("/team-a/data"));
    created(in_group("team-b", &words));
    let caps = corner.user(&user).unwrap()["caps"].clone();
    let osd = caps["osd"].as_str().unwrap().to_owned();
    assert!(
        osd.contains("team-a:data") && osd.contains("team-b:data"),
        "{osd}"
    );
    assert_eq!(corner.list().len(), 2);
    assert!(succeeded(corner.share(&["list"])).stdout.is_empty());

    let shared = corner.name("shared");
    let open = |words: &[&str]| {
        corner
            .old_tool(words)
            .env("CEPH_NAMESPACE_ISOLATION_DISABLED", "")
    };
    created(open(&["-n", "open", "-u", &shared]));
    let caps = corner.user(&shared).unwrap()["caps"].clone();
    assert_eq!(caps["osd"], "allow rw pool=cephfs.data");

    let remove = ["-r", "-n", "data", "-u", &user];
    succeeded(in_group("team-a", &remove));
    assert!(corner.user(&user).is_some());
    succeeded(in_group("team-b", &remove));
    assert_eq!(corner.user(&user), None);
    succeeded(corner.old_tool(&["-r", "-n", "open", "-u", &shared]));
    assert_eq!(corner.user(&shared), None);
    assert_eq!(corner.leftovers(), [""; 0]);
}

#[test]
fn what_is_not_a_share_s_is_left_alone() {
    let corner = Corner::new();
    // The administrator is no share's user.
    let told = failed(corner.share(&["create", "-n", "a", "-u", "admin"]));
    assert!(told.contains("CUTTLE-1494"), "{told}");
    assert!(!corner.seen(&corner.root).exists());
    assert_eq!(corner.user("admin").unwrap()["caps"]["mds"], "allow *");

    // A directory with content that nothing calls a share.
    let stranger = corner.seen(&corner.root).join("kubernetes/stranger");
    fs::create_dir_all(stranger.join("inner")).unwrap();
    let user = corner.name("user");
    let told = failed(corner.share(&["delete", "-n", "stranger", "-u", &user]));
    assert!(told.contains("CUTTLE-1497"), "{told}");
    assert!(stranger.join("inner").is_dir());
    assert!(corner.list().is_empty());

    // A share with a snapshot.
    created(corner.share(&["create", "-n", "kept", "-u", &user]));
    let kept = corner.seen(&corner.root).join("kubernetes/kept");
    fs::write(kept.join("file"), "data").unwrap();
    fs::create_dir(kept.join(".snap/first")).unwrap();
    let told = failed(corner.share(&["delete", "-n", "kept", "-u", &user]));
    assert!(told.contains("CUTTLE-1498"), "{told}");
    assert_eq!(fs::read(kept.join("file")).unwrap(), b"data");
    assert!(corner.user(&user).is_some());
    fs::remove_dir(kept.join(".snap/first")).unwrap();

    // Links, odd names and depth go with the share, and nothing behind a link does.
    std::os::unix::fs::symlink("../stranger", kept.join("link")).unwrap();
    fs::create_dir_all(kept.join("a/b/c/ü \n d")).unwrap();
    fs::write(kept.join("a/b/-r"), "").unwrap();
    succeeded(corner.share(&["delete", "-n", "kept", "-u", &user]));
    assert!(stranger.join("inner").is_dir());
    fs::remove_dir(stranger.join("inner")).unwrap();
    fs::remove_dir(&stranger).unwrap();
    assert_eq!(corner.leftovers(), [""; 0]);

    let told = failed(corner.old_tool(&["-n", "a"]));
    assert!(
        told.contains("CUTTLE-1109") && told.contains("-u is required"),
        "{told}"
    );
    let wrong_key = corner
        .share(&["list"])
        .env("CEPH_AUTH_KEY", "AQBdOwFrAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==");
    let told = failed(wrong_key);
    assert!(
        told.contains("CUTTLE-1202") && !told.contains("AQB"),
        "{told}"
    );
}

/// Whatever call it dies before: the repetition finishes, and a delete leaves nothing.
///
/// Each cut has a root and a user of its own, and nothing is looked at between cuts, so that none
/// waits for what a dead one still holds.
#[test]
fn a_share_cut_off_anywhere_is_finished_or_removed() {
    const CREATE: &[&str] = &["create", "-n", "cut", "-s", "4194304"];
    const DELETE: &[&str] = &["delete", "-n", "cut"];
    /// More than a create or a delete has calls.
    const MOST: usize = 30;
    let corner = Corner::new();
    let root = |at: usize| format!("{}/r{at}", corner.root);
    let user = |at: usize| corner.name(&format!("user{at}"));
    let program = |words: &[&str], at: usize| {
        let program = corner.share(words).args(["-u", &user(at)]);
        program.env("CEPH_VOLUME_ROOT", root(at))
    };
    let dies = |words: &[&str], at: usize| {
        let cut = program(words, at).arg(format!("--inject-fault=kill@{at}"));
        let output = cut.run().unwrap();
        // Killed, it has no exit status.
        assert!(
            output.status.success() || output.status.code().is_none(),
            "{output:?}"
        );
        output.status.code().is_none()
    };
    let nothing_is_left = || {
        for at in 1..=MOST {
            assert_eq!(corner.leftovers_in(&root(at)), [""; 0], "after cut {at}");
        }
        let known = corner.users();
        let is_ours =
            |name: &&String| (1..=MOST).any(|at| **name == format!("client.{}", user(at)));
        let left: Vec<_> = known.iter().filter(is_ours).collect();
        assert!(left.is_empty(), "{left:?}");
    };

    for at in 1..=MOST {
        fs::create_dir_all(corner.seen(&root(at))).unwrap();
    }
    let cuts = (1..MOST).take_while(|&at| dies(CREATE, at)).count();
    assert!(cuts > 10 && cuts < MOST - 1, "a create has {cuts} calls");
    corner.evict_the_dead();
    side_by_side(1..=cuts + 1, |at| {
        // In turn finished first, or removed as it is.
        if at % 2 == 0 {
            let told = created(program(CREATE, at));
            assert_eq!(text(&told, "user"), format!("client.{}", user(at)));
        }
        succeeded(program(DELETE, at));
    });
    nothing_is_left();

    side_by_side(1..=MOST, |at| drop(created(program(CREATE, at))));
    for at in 1..=MOST {
        let file = corner.seen(&root(at)).join("kubernetes/cut/file");
        fs::write(file, "data").unwrap();
    }
    let cuts = (1..MOST).take_while(|&at| dies(DELETE, at)).count();
    assert!(cuts > 10 && cuts < MOST - 1, "a delete has {cuts} calls");
    corner.evict_the_dead();
    side_by_side(1..=MOST, |at| drop(succeeded(program(DELETE, at))));
    nothing_is_left();
}

/// Runs the work for each number, a few at a time.
fn side_by_side(numbers: std::ops::RangeInclusive<usize>, work: impl Fn(usize) + Sync) {
    let next = std::sync::Mutex::new(numbers);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(number) = next.lock().unwrap().next() else {
                        break;
                    };
                    work(number);
                }
            });
        }
    });
}
