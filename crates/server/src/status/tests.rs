//! The whole product of calls, classes and what is left.

use std::borrow::Cow;

use cuttle_model::Code as Number;

use super::*;

const PARKING: [Code; 4] = [
    Code::Cancelled,
    Code::DeadlineExceeded,
    Code::Unavailable,
    Code::Aborted,
];

fn product() -> impl Iterator<Item = (Rpc, Class, Left, Code)> {
    Rpc::ALL.iter().flat_map(|&rpc| {
        Class::ALL.into_iter().flat_map(move |class| {
            Left::ALL
                .into_iter()
                .map(move |left| (rpc, class, left, code(rpc, class, left)))
        })
    })
}

/// The calls that may leave something behind which only their repetition finds.
const LEAVING: [Rpc; 4] = [
    Rpc::CreateVolume,
    Rpc::CreateSnapshot,
    Rpc::NodeStageVolume,
    Rpc::NodePublishVolume,
];

#[test]
fn creations_are_asked_for_again_when_something_may_be_left_or_that_helps() {
    let mut seen = 0;
    let creations = [Rpc::CreateVolume, Rpc::CreateSnapshot];
    for (rpc, class, left, code) in product().filter(|(rpc, ..)| creations.contains(rpc)) {
        assert_eq!(
            PARKING.contains(&code),
            left == Left::MaybeRunning || matches!(class, Class::Down | Class::Late | Class::Busy),
            "{rpc}, {class:?}, {left:?} gives {code:?}"
        );
        seen += 1;
    }
    assert_eq!(seen, creations.len() * Class::ALL.len() * Left::ALL.len());
}

#[test]
fn staging_and_publishing_are_cleaned_up_when_something_may_be_left() {
    let kubelet_uncertain = |code| PARKING.contains(&code) || code == Code::ResourceExhausted;
    for (rpc, class, left, code) in product() {
        if matches!(rpc, Rpc::NodeStageVolume | Rpc::NodePublishVolume)
            && left == Left::MaybeRunning
        {
            assert!(kubelet_uncertain(code), "{rpc}, {class:?} gives {code:?}");
        }
    }
}

#[test]
fn no_failure_is_a_success_or_says_nothing() {
    for (rpc, class, left, code) in product() {
        assert!(
            !matches!(code, Code::Ok | Code::Unknown | Code::DataLoss),
            "{rpc}, {class:?}, {left:?} gives {code:?}"
        );
        assert_eq!(
            code == Code::Internal,
            class == Class::Bug && !(left == Left::MaybeRunning && LEAVING.contains(&rpc)),
            "{rpc}, {class:?}, {left:?} gives {code:?}"
        );
    }
}

#[test]
fn other_calls_take_the_class_alone() {
    for (rpc, class, left, code) in product() {
        if !LEAVING.contains(&rpc) {
            assert_eq!(code, plain(class), "{rpc}, {class:?}, {left:?}");
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("pool \"rbd\" does not exist")]
struct Example(#[source] Cause);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

impl Explain for Example {
    fn code(&self) -> Number {
        Number::new(1402)
    }
    fn class(&self) -> Class {
        Class::Unmet
    }
    fn remedy(&self) -> Option<Cow<'static, str>> {
        Some("create it with `ceph osd pool create`".into())
    }
}

#[test]
fn messages_tell_task_causes_remedy_and_code() {
    let error = Example(Cause("rados_ioctx_create: ENOENT".into()));
    let status = status(
        Rpc::DeleteVolume,
        &Doing::new("delete volume \"v\""),
        &error,
    );
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.message(),
        "delete volume \"v\": pool \"rbd\" does not exist: rados_ioctx_create: ENOENT; create it \
         with `ceph osd pool create` [CUTTLE-1402]"
    );
}

#[test]
fn long_messages_keep_their_code() {
    let error = Example(Cause("ü".repeat(5000)));
    let text = message(&Doing::new("x"), &error);
    assert!(text.len() < 4096, "{}", text.len());
    assert!(text.ends_with("… [CUTTLE-1402]"), "{text}");
}
