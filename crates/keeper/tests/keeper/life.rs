//! A keeper from its order to its end.

use cuttle_keeper::{Answer, ContactError, Phase, PostError, Question};
use cuttle_model::Secret;
use cuttle_testbed::until;

use crate::bed::{Bed, PATIENCE, VOLUME};

#[test]
fn a_mount_is_made_told_of_and_ends_with_its_last_place() {
    let bed = Bed::new();
    let served = bed.serve();
    assert_eq!(
        (served.phase, served.volume.as_str()),
        (Phase::Serving, VOLUME)
    );
    assert_eq!(served.device, bed.device_at(&bed.staging()));
    assert!(served.device.is_some());
    let client = served.client.unwrap();
    assert!(bed.host.is_running(client.into()).unwrap());
    assert_eq!(bed.status(), served);
    let told = bed.post().status(&bed.host).unwrap().unwrap();
    assert_eq!(told, served);
    assert!(matches!(
        bed.post().listen(&bed.host),
        Err(PostError::Taken)
    ));
    // A keeper whose mount works does not go because it is asked to.
    let asked = bed.reach().unwrap().ask(Question::Retire).unwrap();
    assert_eq!(asked.phase, Phase::Serving);

    std::fs::write(bed.staging().as_path().join("file"), "x").unwrap();
    let target = bed.publish("target", &[]);
    bed.host.unmount(&bed.staging()).unwrap();
    // Seen at the target still.
    assert_eq!(
        std::fs::read_to_string(target.as_path().join("file")).unwrap(),
        "x"
    );
    assert_eq!(bed.status().phase, Phase::Serving);
    bed.host.unmount(&target).unwrap();
    until("the keeper has ended", PATIENCE, || match bed.reach() {
        None => Ok(()),
        Some(_) => Err("it is there".to_owned()),
    })
    .unwrap();
    bed.assert_clean();
}

#[test]
fn the_key_is_nowhere_to_be_seen() {
    let bed = Bed::new();
    let served = bed.serve();
    let key = bed.cluster.admin_key();
    for pid in [served.client.unwrap().pid, served.keeper.pid] {
        for file in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
            assert!(
                !String::from_utf8_lossy(&text).contains(&key),
                "{pid} {file}"
            );
        }
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let path = entry.unwrap().path();
            let target = std::fs::read_link(&path).unwrap_or_default();
            if target.starts_with("/memfd:") {
                assert_eq!(
                    std::fs::read(&path).unwrap(),
                    b"",
                    "{pid} {}",
                    target.display()
                );
            }
        }
    }
    assert!(!bed.log().contains(&key));
    bed.take_down(&[]);
}

#[test]
fn a_wrong_key_is_refused_and_leaves_nothing() {
    let bed = Bed::new();
    let mut order = bed.order();
    order.key = Secret::new("AQDNotTheKeyNotTheKeyNotTheKeyNotTheKey==".to_owned());
    let mut contact = bed.send(&order);
    let Answer::Refused(refused) = contact.answer().unwrap() else {
        panic!("a wrong key was taken");
    };
    assert!(!refused.late && !refused.said.is_empty(), "{refused:?}");
    assert!(!format!("{refused:?} {}", bed.log()).contains("NotTheKey"));
    assert!(contact.wait_end(PATIENCE).unwrap());
    bed.assert_clean();
}

#[test]
fn a_cluster_that_does_not_answer_is_given_up_on() {
    let bed = Bed::new();
    let mut order = bed.order();
    // Discards what is sent to it.
    order.arguments[3] = "v2:192.0.2.1:3300".to_owned();
    order.start_within_ms = 1_500;
    let mut contact = bed.send(&order);
    let Answer::Refused(refused) = contact.answer().unwrap() else {
        panic!("there is nothing to mount");
    };
    assert!(refused.late, "{refused:?}");
    assert!(contact.wait_end(PATIENCE).unwrap());
    bed.assert_clean();
}

#[test]
fn what_nobody_waits_for_any_more_is_taken_down() {
    let bed = Bed::new();
    drop(bed.send(&bed.order()));
    until("the keeper has ended", PATIENCE, || match bed.reach() {
        None => Ok(()),
        Some(_) => Err("it is there".to_owned()),
    })
    .unwrap();
    bed.assert_clean();
}

#[test]
fn a_start_is_given_up_when_somebody_holds_the_keeper() {
    let bed = Bed::new();
    let mut order = bed.order();
    order.arguments[3] = "v2:192.0.2.1:3300".to_owned();
    let mut origin = bed.send(&order);
    let mut other = bed.reach().unwrap();
    let asked = other.ask(Question::Hold);
    assert!(matches!(asked, Err(ContactError::Ended)), "{asked:?}");
    assert!(matches!(origin.answer(), Err(ContactError::Ended)));
    bed.assert_clean();
}
