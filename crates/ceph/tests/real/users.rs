//! Users of the cluster: made, found, narrowed and removed.

use ceph::Capabilities;
use cuttle_model::UserId;

use crate::setup::{random_name, setup};

fn capabilities(list: &[(&str, &str)]) -> Capabilities {
    list.iter()
        .map(|&(daemon, text)| (daemon.to_owned(), text.to_owned()))
        .collect()
}

#[test]
fn a_user_s_whole_life() {
    let setup = setup();
    let cluster = &setup.cluster;
    let name = random_name("u_-");
    let user = UserId::new(&*name).unwrap();
    assert_eq!(cluster.find_user(&user).unwrap(), None);
    let wide = capabilities(&[("mon", "allow r"), ("mds", "allow rw path=/a-b_c")]);
    let made = cluster.ensure_user(&user, &wide).unwrap();
    assert_eq!(made.capabilities, wide);
    let told = setup
        .witness
        .json(&["auth", "get-key", &format!("client.{name}")])
        .unwrap();
    assert_eq!(told["key"], made.key.expose());
    assert_eq!(cluster.ensure_user(&user, &wide).unwrap(), made);
    let narrow = capabilities(&[("mon", "allow r")]);
    let other = capabilities(&[("mds", "allow r path=/a-b_c")]);
    let refused = cluster.ensure_user(&user, &other).unwrap_err();
    assert_eq!(refused.errno().name(), "EINVAL");
    assert!(!refused.to_string().contains(made.key.expose()));

    cluster.set_capabilities(&user, &narrow).unwrap();
    let found = cluster.find_user(&user).unwrap().unwrap();
    assert_eq!((found.capabilities, found.key), (narrow.clone(), made.key));
    assert_eq!(cluster.users().unwrap()[&name], narrow);

    cluster.remove_user(&user).unwrap();
    cluster.remove_user(&user).unwrap();
    assert_eq!(cluster.find_user(&user).unwrap(), None);
    let absent = cluster.set_capabilities(&user, &narrow).unwrap_err();
    assert!(absent.is_absent(), "{absent}");
}
