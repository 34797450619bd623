//! `image-meta.json`: what a staging directory says about the volume staged in it.
//!
//! Unstage, expand and stats carry neither parameters nor secrets, and the plugin keeps nothing in
//! memory, so whatever they need to know is written here before the image is attached and removed
//! as the last step of taking the volume down. The fields are ceph-csi's (version 3), so that a
//! volume staged by one driver is unstaged by the other. What only Cuttle knows stands under
//! the one key `cuttle`, which ceph-csi skips; keys that Cuttle does not know are kept.

use cuttle_model::{
    ClusterId, ClusterSettings, ImageId, ImageName, Mounter, NameError, PoolId, PoolName,
    RadosNamespace,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::rbd::image_spec::ImageSpec;

/// The version ceph-csi writes and never reads.
const VERSION: u32 = 3;

/// What a staging directory remembers about its volume.
#[derive(Debug, Clone, PartialEq)]
pub struct Stash {
    /// The image that is, or is about to be, attached.
    pub image: ImageSpec,
    /// How it is attached.
    pub mounter: Mounter,
    /// Options for taking the mapping down, as the StorageClass gives them for this mounter.
    pub unmap_options: String,
    /// The device, where attaching chose one (rbd-nbd only).
    pub device: Option<String>,
    /// Whether the device carries LUKS.
    pub encrypted: bool,
    /// rbd-nbd's log directory.
    pub log_directory: String,
    /// What becomes of rbd-nbd's log file.
    pub log_strategy: String,
    /// By which entry of the configuration the image was found.
    pub origin: Option<Origin>,
    /// The run of the machine in which the image was attached. Numbers of processes and devices
    /// mean nothing in another one.
    pub boot: Option<String>,
    /// Whether the machine was started anew since: then nothing of this is attached any more.
    pub is_outlived: bool,
    /// The process that exports the image (mounter fuse only).
    pub exporter: Option<Exporter>,
    /// The number of the device this staging has mapped (mounter rbd only).
    pub mapped: Option<u32>,
    /// The numbers as which the image was mapped before this staging began: they belong to others
    /// (mounter rbd only).
    pub strangers: Vec<u32>,
    /// Fields of other writers, kept as they are.
    others: Map<String, Value>,
}

/// The entry of the configuration by which an image was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Its name.
    #[serde(rename = "clusterId")]
    pub cluster: String,
    /// Its monitors.
    pub monitors: Vec<String>,
}

impl Origin {
    /// The origin of images found by these settings.
    #[must_use]
    pub fn of(settings: &ClusterSettings) -> Self {
        let id: &ClusterId = &settings.id;
        Self {
            cluster: id.to_string(),
            monitors: settings.monitors.addresses().to_vec(),
        }
    }
}

/// A process, told apart from a later one with the same id by the time it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exporter {
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    pub started: u64,
}

/// Why the text of a stash could not be understood.
#[derive(Debug, thiserror::Error)]
pub enum StashMalformed {
    /// It is no JSON object with the fields that are expected.
    #[error("not the JSON object expected in image-meta.json")]
    Json(#[source] serde_json::Error),
    /// It names something that no image can be called.
    #[error("image-meta.json names no image")]
    Name(#[source] NameError),
}

/// The fields as they stand in the file.
#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(rename = "Version", default)]
    version: u32,
    pool: String,
    #[serde(rename = "radosNamespace", default)]
    rados_namespace: String,
    image: String,
    #[serde(rename = "unmapOptions", default)]
    unmap_options: String,
    /// True: rbd-nbd.
    #[serde(rename = "accessType", default)]
    access_type: bool,
    #[serde(default)]
    encrypted: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    device: String,
    #[serde(rename = "logDir", default)]
    log_dir: String,
    #[serde(rename = "logFileStrategy", default)]
    log_file_strategy: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cuttle: Option<Own>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The fields only Cuttle writes.
#[derive(Default, Serialize, Deserialize)]
struct Own {
    mounter: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fsid: Option<String>,
    #[serde(rename = "poolId", default, skip_serializing_if = "Option::is_none")]
    pool_id: Option<i64>,
    #[serde(rename = "imageId", default, skip_serializing_if = "Option::is_none")]
    image_id: Option<String>,
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exporter: Option<Exporter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mapped: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    strangers: Vec<u32>,
}

impl Stash {
    /// The stash of an image about to be attached.
    #[must_use]
    pub fn new(image: ImageSpec, mounter: Mounter, unmap_options: String) -> Self {
        Self {
            image,
            mounter,
            unmap_options,
            device: None,
            encrypted: false,
            log_directory: "/var/log/ceph".to_owned(),
            log_strategy: "remove".to_owned(),
            origin: None,
            boot: None,
            is_outlived: false,
            exporter: None,
            mapped: None,
            strangers: Vec::new(),
            others: Map::new(),
        }
    }

    /// The text to write into the file.
    #[must_use]
    pub fn encode(&self) -> String {
        let record = Record {
            version: VERSION,
            pool: self.image.pool.to_string(),
            rados_namespace: self.image.namespace.to_string(),
            image: self.image.image.to_string(),
            unmap_options: self.unmap_options.clone(),
            access_type: self.mounter == Mounter::Nbd,
            encrypted: self.encrypted,
            device: self.device.clone().unwrap_or_default(),
            log_dir: self.log_directory.clone(),
            log_file_strategy: self.log_strategy.clone(),
            cuttle: Some(Own {
                mounter: self.mounter.name().to_owned(),
                fsid: self.image.fsid.clone(),
                pool_id: self.image.pool_id.map(PoolId::get),
                image_id: self.image.image_id.as_ref().map(ToString::to_string),
                origin: self.origin.clone(),
                boot: self.boot.clone(),
                exporter: self.exporter,
                mapped: self.mapped,
                strangers: self.strangers.clone(),
            }),
            others: self.others.clone(),
        };
        // Serialising strings, booleans and numbers into a string cannot fail.
        serde_json::to_string(&record).unwrap_or_default()
    }

    /// Reads the text of a stash, whoever wrote it.
    ///
    /// # Errors
    /// [`StashMalformed`] when it is no JSON object, or pool or image are missing.
    pub fn decode(text: &[u8]) -> Result<Self, StashMalformed> {
        let record: Record = serde_json::from_slice(text).map_err(StashMalformed::Json)?;
        let peers = if record.access_type {
            Mounter::Nbd
        } else {
            Mounter::Krbd
        };
        let own = record.cuttle.unwrap_or_default();
        let mounter = Mounter::from_name(&own.mounter).unwrap_or(peers);
        let image_id = own.image_id.map(ImageId::new).transpose();
        Ok(Self {
            image: ImageSpec {
                pool: PoolName::new(record.pool).map_err(StashMalformed::Name)?,
                namespace: RadosNamespace::new(record.rados_namespace)
                    .map_err(StashMalformed::Name)?,
                image: ImageName::new(record.image).map_err(StashMalformed::Name)?,
                fsid: own.fsid,
                pool_id: own.pool_id.map(PoolId::new),
                image_id: image_id.map_err(StashMalformed::Name)?,
            },
            mounter,
            unmap_options: record.unmap_options,
            device: Some(record.device).filter(|device| !device.is_empty()),
            encrypted: record.encrypted,
            log_directory: record.log_dir,
            log_strategy: record.log_file_strategy,
            origin: own.origin,
            boot: own.boot,
            is_outlived: false,
            exporter: own.exporter,
            mapped: own.mapped,
            strangers: own.strangers,
            others: record.others,
        })
    }

    /// Forgets what the end of that run of the machine has ended.
    pub(crate) fn outlive(&mut self) {
        self.is_outlived = true;
        self.exporter = None;
        self.mapped = None;
        self.strangers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbd::image_spec::for_test;

    fn image() -> ImageSpec {
        for_test("replicapool", "tenant", "csi-vol-1", None)
    }

    #[test]
    fn ceph_csis_stash_is_understood() {
        let text = br#"{"Version":3,"pool":"replicapool","radosNamespace":"tenant",
            "image":"csi-vol-1","unmapOptions":"force","accessType":true,"encrypted":true,
            "device":"/dev/nbd3","logDir":"/var/log/ceph","logFileStrategy":"compress"}"#;
        let stash = Stash::decode(text).unwrap();
        assert_eq!(stash.image, image());
        assert_eq!(stash.mounter, Mounter::Nbd);
        assert_eq!(stash.unmap_options, "force");
        assert_eq!(stash.device.as_deref(), Some("/dev/nbd3"));
        assert!(stash.encrypted);
        assert_eq!(stash.log_strategy, "compress");
    }

    #[test]
    fn an_older_stash_lacks_fields() {
        let stash = Stash::decode(br#"{"Version":1,"pool":"p","image":"i","accessType":false}"#);
        let stash = stash.unwrap();
        assert_eq!(stash.mounter, Mounter::Krbd);
        assert_eq!(stash.image.namespace.as_str(), "");
        assert_eq!(stash.device, None);
    }

    #[test]
    fn krbds_stash_reads_as_ceph_csi_writes_it() {
        let stash = Stash::new(image(), Mounter::Krbd, "force".to_owned());
        let text: Value = serde_json::from_str(&stash.encode()).unwrap();
        let expected = serde_json::json!({
            "Version": 3, "pool": "replicapool", "radosNamespace": "tenant", "image": "csi-vol-1",
            "unmapOptions": "force", "accessType": false, "encrypted": false,
            "logDir": "/var/log/ceph", "logFileStrategy": "remove", "cuttle": {"mounter": "rbd"},
        });
        assert_eq!(text, expected);
    }

    #[test]
    fn our_own_fields_and_those_of_others_survive() {
        let mut identified = image();
        identified.fsid = Some("6f2c".to_owned());
        identified.pool_id = Some(PoolId::new(3));
        identified.image_id = Some(ImageId::new("10ab").unwrap());
        let mut stash = Stash::new(identified, Mounter::Fuse, String::new());
        stash.origin = Some(Origin {
            cluster: "east".to_owned(),
            monitors: vec!["10.0.0.1:6789".to_owned()],
        });
        stash.boot = Some("boot-1".to_owned());
        stash.exporter = Some(Exporter {
            pid: 7,
            started: 1_234,
        });
        stash.mapped = Some(3);
        stash.strangers = vec![1, 2];
        stash.others.insert("later".to_owned(), Value::from(7));
        let read = Stash::decode(stash.encode().as_bytes()).unwrap();
        assert_eq!(read, stash);
        let text: Value = serde_json::from_str(&read.encode()).unwrap();
        assert_eq!(text["later"], 7);
        assert_eq!(text["cuttle"]["clusterId"], "east");
    }

    #[test]
    fn numbers_of_an_earlier_run_are_forgotten() {
        let mut stash = Stash::new(image(), Mounter::Krbd, String::new());
        stash.mapped = Some(3);
        stash.exporter = Some(Exporter { pid: 7, started: 1 });
        stash.outlive();
        assert!(stash.is_outlived && stash.mapped.is_none() && stash.exporter.is_none());
    }

    #[test]
    fn what_is_no_stash_is_refused() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"pool":"p","image":""}"#,
            r#"{"pool":1,"image":"i"}"#,
        ] {
            assert!(Stash::decode(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
