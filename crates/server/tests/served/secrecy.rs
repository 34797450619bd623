//! No key reaches a log line or a status, whatever becomes of the request.

use std::io::Write;
use std::sync::{Arc, Mutex};

use cuttle_csi::v1;
use cuttle_csi::v1::controller_client::ControllerClient;
use cuttle_csi::v1::node_client::NodeClient;
use cuttle_csi::v1::volume_capability::access_mode::Mode;
use tracing_subscriber::fmt::MakeWriter;

use crate::requests::{HANDLE, capability, create_request, map, mount};
use crate::serving::{Served, Setup};

/// Everything that has been logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

const MARKER: &str = "MARKERmarkerMARKER";

/// A key of the right form, so that it gets as far as the connection.
const MARKED_KEY: &str = "AQAAAAAAAAAAABAAMARKERmarkerMARKERabcg==";

#[tokio::test]
async fn keys_stay_out_of_logs_and_answers() {
    let log = Log::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .init();
    let served = Served::start(Setup::unreachable(&["c1"])).await;
    let mut controller = ControllerClient::new(served.channel.clone());
    let mut node = NodeClient::new(served.channel.clone());
    let mut answers = Vec::new();
    let secrets = [
        map(&[("userID", "csi"), ("userKey", MARKED_KEY)]),
        map(&[("userID", "csi"), ("userKey", MARKER)]),
        map(&[
            ("userID", "client.MARKERmarkerMARKER"),
            ("userKey", "MARKERmarkerMARKER with blanks"),
        ]),
        map(&[("key", MARKER), ("adminId", "x")]),
        map(&[("userID", "MARKERmarkerMARKER\n\u{1}")]),
    ];
    for secrets in secrets {
        let mut create = create_request("pvc-1", &[("clusterID", "c1"), ("pool", "rbd")]);
        create.secrets.clone_from(&secrets);
        answers.push(controller.create_volume(create).await.unwrap_err());
        let delete = v1::DeleteVolumeRequest {
            volume_id: HANDLE.to_owned(),
            secrets: secrets.clone(),
        };
        answers.push(controller.delete_volume(delete).await.unwrap_err());
        let stage = v1::NodeStageVolumeRequest {
            volume_id: HANDLE.to_owned(),
            staging_target_path: "/nowhere/at/all".to_owned(),
            volume_capability: Some(capability(mount(), Mode::SingleNodeWriter)),
            secrets,
            ..Default::default()
        };
        answers.push(node.node_stage_volume(stage).await.unwrap_err());
    }
    drop((controller, node));
    served.end().await;
    for answer in answers {
        assert!(!format!("{answer:?}").contains(MARKER), "{answer:?}");
    }
    let log = log.text();
    assert!(!log.contains(MARKER), "{log}");
    // The log is of this test, and it tells what it should.
    assert!(
        log.contains("rpc{rpc.method=\"CreateVolume\" req.id="),
        "{log}"
    );
    assert!(log.contains("CUTTLE-1402"), "{log}");
    // One request id goes from the rim to the calls to Ceph on the lane's thread.
    let through_the_door = log.lines().any(|line| {
        line.contains("rpc{rpc.method=\"CreateVolume\" req.id=") && line.contains("cuttle::door")
    });
    assert!(through_the_door, "{log}");
}
