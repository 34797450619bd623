//! Nodes and classes: kubelet's directory, ceph.conf and documents of a test's own.

use cuttle_testbed::Program;
use serde_json::json;

use crate::patient::{Diagnosis, Patient, diagnosed, text};

fn patient() -> Patient {
    let patient = Patient::new("127.0.0.1", &json!({}));
    std::fs::create_dir_all(patient.path("kubelet/plugins_registry")).unwrap();
    patient
}

fn words(patient: &Patient) -> Vec<String> {
    vec![
        "node".to_owned(),
        format!("--kubelet-dir={}", patient.path("kubelet").display()),
        format!("--ceph-conf={}", patient.path("ceph.conf").display()),
    ]
}

fn look(patient: &Patient) -> Diagnosis {
    let words = words(patient);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    diagnosed(patient.program(&words), "")
}

/// Looks from a mount namespace of its own, after these words of a shell.
fn look_after(patient: &Patient, propagation: &str, before: &str) -> Diagnosis {
    let doctor = format!(
        "{before} && exec {} doctor {} -o json",
        env!("CARGO_BIN_EXE_cuttle"),
        words(patient).join(" ")
    );
    let program = Program::new("unshare")
        .args(["-m", "--propagation", propagation, "sh", "-c"])
        .arg(doctor);
    diagnosed(program, "")
}

#[test]
fn mounts_that_kubelet_would_not_see_are_named() {
    let patient = patient();
    let kubelet = patient.path("kubelet").display().to_string();
    let private = look_after(&patient, "private", "true");
    assert_eq!(private.status, 1);
    let finding = private.only("mount-propagation", "error");
    assert!(
        text(finding, "remedy").contains("Bidirectional"),
        "{finding}"
    );
    let mount = format!("mount --bind {kubelet} {kubelet}");
    let shared = look_after(
        &patient,
        "private",
        &format!("{mount} && mount --make-shared {kubelet}"),
    );
    shared.assert_good(&["mount-propagation", "kubelet-dir", "registration-dir"]);
    let read_only =
        format!("{mount} && mount --make-shared {kubelet} && mount -o remount,bind,ro {kubelet}");
    look_after(&patient, "private", &read_only).only("kubelet-dir", "error");
}

/// As in the plugin's container, where the directory above is the container's own.
#[test]
fn each_part_that_is_mounted_is_looked_at() {
    let patient = patient();
    let part = |name: &str| patient.path("kubelet").join(name).display().to_string();
    for name in ["plugins", "pods"] {
        std::fs::create_dir(part(name)).unwrap();
    }
    let mount = |name: &str| {
        let part = part(name);
        format!("mount --bind {part} {part} && mount --make-shared {part}")
    };
    let one = look_after(&patient, "private", &mount("plugins"));
    let finding = one.only("mount-propagation", "error");
    assert_eq!(text(finding, "about"), part("pods"));
    let both = format!("{} && {}", mount("plugins"), mount("pods"));
    look_after(&patient, "private", &both).assert_good(&["mount-propagation", "kubelet-dir"]);
}

#[test]
fn a_directory_of_kubelet_that_is_elsewhere_is_named() {
    let patient = patient();
    std::fs::remove_dir(patient.path("kubelet/plugins_registry")).unwrap();
    look(&patient).only("registration-dir", "warning");
    std::fs::remove_dir(patient.path("kubelet")).unwrap();
    let gone = look(&patient);
    gone.only("kubelet-dir", "error");
    gone.only("registration-dir", "warning");
}

#[test]
fn what_the_kernel_and_the_host_have_is_told_as_they_are() {
    let diagnosis = look(&patient());
    for (check, path) in [("kernel-rbd", "/sys/module/rbd"), ("fuse", "/dev/fuse")] {
        let there = std::path::Path::new(path).exists();
        let named = diagnosis
            .bad(check)
            .iter()
            .any(|one| check != "fuse" || one["about"] == path);
        assert!(there || named, "{check}");
    }
    diagnosis.assert_good(&["programs", "kernel"]);
    assert!(!capabilities_named(&diagnosis).contains(&"CAP_SYS_ADMIN"));
}

#[test]
fn a_process_that_may_not_mount_says_so() {
    let patient = patient();
    let words = words(&patient);
    let program = Program::new("setpriv")
        .args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"])
        .arg(env!("CARGO_BIN_EXE_cuttle"))
        .arg("doctor")
        .args(words)
        .args(["-o", "json"]);
    let diagnosis = diagnosed(program, "");
    assert!(capabilities_named(&diagnosis).contains(&"CAP_SYS_ADMIN"));
}

fn capabilities_named(diagnosis: &Diagnosis) -> Vec<&str> {
    let named = diagnosis.bad("privilege").into_iter();
    named.map(|one| text(one, "about")).collect()
}

#[test]
fn a_noisy_ceph_conf_is_named_line_by_line() {
    let patient = patient();
    look(&patient).assert_good(&["ceph-conf"]);
    let conf =
        "[global]\nauth_client_required = cephx\n[client]\ndebug rbd = 30\nlog_to_stderr = true\n";
    std::fs::write(patient.path("ceph.conf"), conf).unwrap();
    let diagnosis = look(&patient);
    let lines: Vec<&str> = diagnosis
        .bad("ceph-conf")
        .into_iter()
        .map(|finding| text(finding, "evidence"))
        .collect();
    assert_eq!(lines, ["debug rbd = 30", "log_to_stderr = true"]);
}

#[test]
fn classes_are_read_from_what_kubectl_prints() {
    let patient = patient();
    let config = format!("--config={}", patient.path("config.json").display());
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "block"},
        "provisioner": "rbd.csi.ceph.com", "allowVolumeExpansion": true,
        "parameters": {"clusterID": "west", "pol": "rbd"},
    });
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [class]});
    let program = patient
        .program(&["class", "-", &config])
        .input(serde_json::to_vec(&list).unwrap());
    let diagnosis = diagnosed(program, "");
    assert_eq!(diagnosis.status, 1);
    let named = diagnosis.bad("class-parameters");
    let named: Vec<&str> = named.into_iter().map(|one| text(one, "evidence")).collect();
    assert!(named.iter().any(|one| one.starts_with("pol ")), "{named:?}");
    assert!(
        named.iter().any(|one| one.starts_with("pool ")),
        "{named:?}"
    );
    assert_eq!(diagnosis.bad("class-secrets").len(), 3);
    assert!(text(diagnosis.only("class-cluster", "error"), "remedy").contains("east"));

    for nothing in ["no JSON", "{}"] {
        let program = patient.program(&["class", "-", &config]).input(nothing);
        let diagnosis = diagnosed(program, "");
        assert_eq!(diagnosis.status, 2, "{nothing}");
        diagnosis.only("class-parameters", "unknown");
    }
}
