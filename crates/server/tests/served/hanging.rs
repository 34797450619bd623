//! A call to Ceph that never returns: callers get away, repeats join, other clusters go on.

use std::time::{Duration, Instant};

use cuttle_csi::v1::controller_client::ControllerClient;
use tonic::{Code, Request};

use crate::requests::create_request;
use crate::serving::{Served, Setup, assert_refused};

fn within<T>(limit: Duration, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

#[tokio::test]
async fn a_hung_cluster_holds_neither_callers_nor_other_clusters() {
    let served = Served::start(Setup::unreachable(&["c1", "c2"]).with_faults("hang@1")).await;
    let mut controller = ControllerClient::new(served.channel.clone());
    let hung = || create_request("pvc-1", &[("clusterID", "c1"), ("pool", "rbd")]);
    let short = Duration::from_millis(500);

    let began = Instant::now();
    let late = controller.create_volume(within(short, hung())).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_refused(
        late,
        Code::DeadlineExceeded,
        &[
            "create volume \"pvc-1\"",
            "CreateVolume (request ",
            "at step \"rados.connect",
            "repeat the request to join it",
            "[CUTTLE-1703]",
        ],
    );

    // The same request joins: there is still one job.
    assert_refused(
        controller.create_volume(within(short, hung())).await,
        Code::DeadlineExceeded,
        &["[CUTTLE-1703]"],
    );
    assert_eq!(served.dispatcher.open_jobs(), 1);

    // Another size under the same name is a conflict and learns of the holder.
    let mut other = hung();
    other.capacity_range = None;
    assert_refused(
        controller.create_volume(within(short, other)).await,
        Code::Aborted,
        &[
            "volume name \"pvc-1\" is held by CreateVolume",
            "rados.connect",
            "[CUTTLE-1701]",
        ],
    );

    // The other cluster is not reachable either, but the connection is refused at once. What an
    // earlier attempt has left there is not known: the provisioner is to ask again.
    let elsewhere = create_request("pvc-2", &[("clusterID", "c2"), ("pool", "rbd")]);
    assert_refused(
        controller
            .create_volume(within(Duration::from_secs(30), elsewhere))
            .await,
        Code::Unavailable,
        &["could not connect to cluster \"c2\""],
    );
    drop(controller);
    assert_eq!(served.end().await, 1, "the hung job outlives its callers");
}

#[tokio::test]
async fn a_caller_that_hangs_up_leaves_the_job_alone() {
    let served = Served::start(Setup::unreachable(&["c1"]).with_faults("hang@1")).await;
    let mut controller = ControllerClient::new(served.channel.clone());
    let request = create_request("pvc-1", &[("clusterID", "c1"), ("pool", "rbd")]);
    let call = tokio::spawn(async move { controller.create_volume(request).await });
    until(|| {
        let jobs = served.dispatcher.jobs();
        jobs.iter().any(|job| job.step.starts_with("rados.connect"))
    })
    .await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(served.dispatcher.open_jobs(), 1);
    assert_eq!(served.end().await, 1);
}

async fn until(done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "not within 10 s");
        tokio::task::yield_now().await;
    }
}
