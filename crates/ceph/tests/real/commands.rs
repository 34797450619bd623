//! Commands to monitors and manager.

use cuttle_model::{ByteSize, PoolName};
use serde_json::json;

use crate::setup::{pool, random_name, setup};

#[test]
fn monitors_answer_with_json() {
    let setup = setup();
    let reply = setup
        .cluster
        .mon_command(&json!({"prefix": "fsid"}))
        .unwrap();
    assert_eq!(reply.json["fsid"], setup.witness.fsid());
}

#[test]
fn a_refused_command_tells_errno_and_reason() {
    let setup = setup();
    let absent = random_name("no-pool");
    let command = json!({"prefix": "osd pool get", "pool": absent, "var": "size"});
    let error = setup.cluster.mon_command(&command).unwrap_err();
    assert!(error.is_absent(), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("osd pool get") && text.contains(&absent),
        "{text}"
    );
    let unknown = setup
        .cluster
        .mon_command(&json!({"prefix": "no such command"}));
    assert_eq!(unknown.unwrap_err().errno().name(), "EINVAL");
}

#[test]
fn the_manager_answers_too() {
    let setup = setup();
    let reply = setup
        .cluster
        .mgr_command(&json!({"prefix": "rbd task list"}))
        .unwrap();
    assert!(reply.json.is_array(), "{reply:?}");
}

#[test]
fn pool_usage_is_what_df_tells() {
    let setup = setup();
    let usage = setup
        .cluster
        .pool_usage(&pool())
        .unwrap()
        .expect("the pool `rbd` is there");
    assert!(usage.max_avail > ByteSize::from_bytes(1 << 20), "{usage:?}");
    let absent = PoolName::new(random_name("no-pool")).unwrap();
    assert_eq!(setup.cluster.pool_usage(&absent).unwrap(), None);
}
