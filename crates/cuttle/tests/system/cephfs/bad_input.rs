//! Bad input is answered with the right code and a message that names field, rule and remedy; it
//! leaves nothing behind.

use cuttle_csi::v1;
use cuttle_csi::v1::volume_capability::{AccessMode, access_mode::Mode};
use tonic::Code;

use super::FsWorld;
use crate::bad_input::assert_refused;
use crate::calls::{GIB, MIB};

const INVALID: Code = Code::InvalidArgument;

#[test]
fn every_field_of_a_create_request_is_checked() {
    let fs = FsWorld::new();
    let running = fs.start_named("driver", &[]);
    let refuse =
        |what: &str, change: &dyn Fn(&mut v1::CreateVolumeRequest), code, words: &[&str]| {
            let mut request = fs.create_request("pvc-bad", GIB);
            change(&mut request);
            let status = running.client.create(request).expect_err(what);
            assert_refused(what, &status, code, words);
        };
    let range = |required_bytes, limit_bytes| {
        Some(v1::CapacityRange {
            required_bytes,
            limit_bytes,
        })
    };
    refuse(
        "an empty name",
        &|r| r.name.clear(),
        INVALID,
        &["name", "empty"],
    );
    refuse(
        "a name of 1 MB",
        &|r| r.name = "n".repeat(1 << 20),
        INVALID,
        &["name", "bytes"],
    );
    refuse(
        "a name with a control character",
        &|r| r.name = "a\u{7}b".into(),
        INVALID,
        &["name", "control"],
    );
    refuse(
        "no capability",
        &|r| r.volume_capabilities.clear(),
        INVALID,
        &["volume_capabilities"],
    );
    refuse(
        "a capability without an access type",
        &|r| r.volume_capabilities[0].access_type = None,
        INVALID,
        &["volume_capabilities[0]", "access_type"],
    );
    refuse(
        "a block device",
        &|r| r.volume_capabilities = vec![crate::calls::block_capability()],
        INVALID,
        &["volume_capabilities[0].block", "directories", "volumeMode"],
    );
    for mode in [Mode::MultiNodeReaderOnly, Mode::SingleNodeReaderOnly] {
        refuse(
            "an empty volume for readers",
            &|r| r.volume_capabilities[0].access_mode = Some(AccessMode { mode: mode.into() }),
            INVALID,
            &["access_mode", "empty volume", "ReadWriteMany"],
        );
    }
    refuse(
        "an access mode that is none",
        &|r| r.volume_capabilities[0].access_mode = Some(AccessMode { mode: 4711 }),
        INVALID,
        &["access_mode"],
    );
    refuse(
        "a size of 0",
        &|r| r.capacity_range = range(0, 0),
        INVALID,
        &["capacity_range"],
    );
    refuse(
        "a negative size",
        &|r| r.capacity_range = range(-1, 0),
        INVALID,
        &["required_bytes", "negative"],
    );
    refuse(
        "a limit below the size",
        &|r| r.capacity_range = range(GIB, MIB),
        INVALID,
        &["limit_bytes", "required_bytes"],
    );
    refuse(
        "a limit that rounding passes",
        &|r| r.capacity_range = range(GIB + 1, GIB + 2),
        Code::OutOfRange,
        &["limit_bytes"],
    );
    refuse(
        "more than a quota can be",
        &|r| r.capacity_range = range(i64::MAX, 0),
        Code::OutOfRange,
        &["required_bytes"],
    );
    refuse(
        "no secrets",
        &|r| r.secrets.clear(),
        INVALID,
        &["secrets.adminID", "secrets.adminKey", "missing"],
    );
    refuse(
        "a key that is none",
        &|r| drop(r.secrets.insert("adminKey".into(), "no key at all".into())),
        INVALID,
        &["secrets.adminKey", "base64", "ceph auth get-key"],
    );
    refuse(
        "a user with its type",
        &|r| drop(r.secrets.insert("adminID".into(), "client.admin".into())),
        INVALID,
        &["secrets.adminID", "client."],
    );
    refuse(
        "a volume attributes class",
        &|r| drop(r.mutable_parameters.insert("iops".into(), "1".into())),
        Code::Unimplemented,
        &["mutable_parameters", "volumeAttributesClassName"],
    );
    fs.assert_exactly("after bad requests", &[]);
}

/// Every parameter of a StorageClass of ceph-csi's: what is wrong with it, and what the answer says.
#[test]
fn every_parameter_is_checked() {
    let fs = FsWorld::new();
    let running = fs.start_named("driver", &[]);
    let refuse = |field: &str, value: Option<&str>, words: &[&str]| {
        let mut request = fs.create_request("pvc-bad", GIB);
        match value {
            Some(value) => request
                .parameters
                .insert(field.to_owned(), value.to_owned()),
            None => request.parameters.remove(field),
        };
        let what = format!("{field} = {value:?}");
        let status = running.client.create(request).expect_err(&what);
        let code = if words.contains(&"not supported") {
            assert!(
                matches!(status.code(), INVALID | Code::Unimplemented),
                "{what}: {status}"
            );
            status.code()
        } else {
            INVALID
        };
        assert_refused(&what, &status, code, &[&[field], words].concat());
    };
    refuse("clusterID", None, &["missing", "config.json"]);
    refuse(
        "clusterID",
        Some("elsewhere"),
        &["elsewhere", &fs.world.cluster_id],
    );
    refuse("clusterID", Some(""), &["empty"]);
    refuse("fsName", None, &["missing", "ceph fs ls"]);
    refuse(
        "fsName",
        Some("a/b"),
        &["must not contain '/'", "ceph fs ls"],
    );
    refuse("fsName", Some("no-such-fs"), &["CUTTLE-1480", "no-such-fs"]);
    refuse("pool", Some(""), &["empty", "data pool"]);
    refuse("pool", Some("a/b"), &["must not contain", "data pool"]);
    refuse("pool", Some("rbd"), &["cephfs.data", "add_data_pool"]);
    refuse(
        "pool",
        Some("no-such-pool"),
        &["no-such-pool", "add_data_pool"],
    );
    refuse("mounter", Some("nfs"), &["fuse or kernel", "remove it"]);
    refuse("kernelMountOptions", Some(""), &["empty", "a,b=c"]);
    refuse(
        "kernelMountOptions",
        Some("ro, noatime"),
        &["white space", "a,b=c"],
    );
    refuse("fuseMountOptions", Some("-o allow_other"), &["a,b=c"]);
    refuse("fuseMountOptions", Some("a\nb"), &["white space"]);
    refuse("volumeNamePrefix", Some(""), &["empty", "csi-vol-"]);
    refuse("volumeNamePrefix", Some("../x"), &["must not", "csi-vol-"]);
    refuse(
        "volumeNamePrefix",
        Some(&"p".repeat(201)),
        &["200", "csi-vol-"],
    );
    refuse(
        "subvolumeGroup",
        Some("_deleting"),
        &["begin with '_'", "config.json"],
    );
    refuse(
        "subvolumeGroup",
        Some("a b"),
        &["must not contain ' '", "config.json"],
    );
    refuse("subvolumeGroup", Some("another"), &["another", &fs.group]);
    refuse("encrypted", Some("true"), &["not supported"]);
    refuse("encrypted", Some("perhaps"), &["true or false"]);
    refuse("backingSnapshot", Some("true"), &["not supported"]);
    refuse(
        "backingSnapshot",
        Some("perhaps"),
        &["true or false", "remove it"],
    );
    refuse(
        "topologyConstrainedPools",
        Some("[]"),
        &["not supported", "remove it"],
    );
    refuse("fsNam", Some("cephfs"), &["fsName"]);
    fs.assert_exactly("after bad parameters", &[]);

    // The keys of Kubernetes' own components and those that older releases read do no harm.
    let mut request = fs.create_request("pvc-good", 20 * MIB);
    for (key, value) in [
        ("csi.storage.k8s.io/provisioner-secret-name", "s"),
        ("csi.storage.k8s.io/pvc/namespace", "shop"),
        ("provisionVolume", "true"),
        ("encrypted", "false"),
        ("backingSnapshot", "false"),
        ("mounter", "fuse"),
        ("fuseMountOptions", "debug"),
        ("kernelMountOptions", "norbytes,recover_session=clean"),
        ("pool", "cephfs.data"),
        ("volumeNamePrefix", "team-"),
    ] {
        request.parameters.insert(key.to_owned(), value.to_owned());
    }
    let volume = running.client.create(request).unwrap();
    fs.assert_exactly("made", &[("pvc-good", &volume)]);
    fs.delete(&running.client, &volume.volume_id);
    fs.assert_exactly("at the end", &[]);
}

#[test]
fn bad_handles_sizes_and_keys_of_other_calls_are_refused() {
    let fs = FsWorld::new();
    let running = fs.start_named("driver", &[]);
    let client = &running.client;
    let volume = client.create(fs.create_request("pvc-1", 20 * MIB)).unwrap();
    let huge = "0".repeat(1 << 20);
    let hostile = [
        "",
        "-",
        "../../etc/passwd",
        "0001-ffff-x",
        "0001-0003-abc-ffffffffffffffff-00000000-0000-0000-0000-000000000000",
        "0001-0003-ab\u{e9}-0000000000000001-00000000-0000-0000-0000-000000000000",
        huge.as_str(),
    ];
    for handle in hostile {
        let shown: String = handle.chars().take(40).collect();
        let answers = [
            client.delete_volume(fs.delete_request(handle)).err(),
            client
                .controller_expand_volume(fs.expand_request(handle, GIB))
                .err(),
        ];
        for (call, status) in ["delete", "expand"].iter().zip(answers) {
            let status = status.unwrap_or_else(|| panic!("{call} took the handle {shown}"));
            let what = format!("{call} {shown}");
            assert_refused(&what, &status, INVALID, &[]);
        }
    }
    let expand = |change: &dyn Fn(&mut v1::ControllerExpandVolumeRequest)| {
        let mut request = fs.expand_request(&volume.volume_id, GIB);
        change(&mut request);
        client.controller_expand_volume(request).unwrap_err()
    };
    let range = |required_bytes, limit_bytes| {
        Some(v1::CapacityRange {
            required_bytes,
            limit_bytes,
        })
    };
    let status = expand(&|r| r.capacity_range = None);
    assert_refused(
        "no range",
        &status,
        INVALID,
        &["capacity_range", "is missing"],
    );
    let status = expand(&|r| r.capacity_range = range(0, GIB));
    assert_refused(
        "no size",
        &status,
        INVALID,
        &["capacity_range.required_bytes"],
    );
    let status = expand(&|r| r.capacity_range = range(-1, 0));
    assert_refused("a negative size", &status, INVALID, &["required_bytes"]);
    let status = expand(&|r| r.capacity_range = range(MIB, 4 * MIB));
    let words = ["20 MiB", "limit_bytes", "raise the limit"];
    assert_refused("less than it has", &status, Code::OutOfRange, &words);
    let status = expand(&|r| r.secrets.clear());
    assert_refused("no secrets", &status, INVALID, &["secrets.adminKey"]);

    // Right in form, wrong in value.
    let wrong = "AQBAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==";
    let status = expand(&|r| drop(r.secrets.insert("adminKey".into(), wrong.into())));
    assert!(
        matches!(
            status.code(),
            Code::Unauthenticated | Code::PermissionDenied
        ),
        "{status}"
    );
    let mut request = fs.delete_request(&volume.volume_id);
    request.secrets.insert("adminKey".into(), wrong.into());
    let status = client.delete_volume(request).unwrap_err();
    assert!(
        matches!(
            status.code(),
            Code::Unauthenticated | Code::PermissionDenied
        ),
        "{status}"
    );
    assert!(!status.message().contains(wrong), "{status}");
    fs.assert_exactly("after the refusals", &[("pvc-1", &volume)]);
    fs.delete(client, &volume.volume_id);
    fs.assert_exactly("at the end", &[]);
}
