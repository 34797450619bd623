//! Every object is read as the type that Kubernetes has for it and written again: what got lost on
//! the way is no member of that type.

use k8s_openapi::api::{apps, core, policy, rbac, storage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{documents, plain, yaml_files};

fn strictly<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let again = serde_json::to_value(typed).unwrap();
    lost(object, &again, "")
}

/// The first thing in `given` that is not in `again`.
fn lost(given: &Value, again: &Value, path: &str) -> Result<(), String> {
    match (given, again) {
        (Value::Object(given), Value::Object(again)) => {
            for (name, value) in given {
                let path = format!("{path}.{name}");
                match again.get(name) {
                    Some(found) => lost(value, found, &path)?,
                    // An empty list or map is as good as none.
                    None if matches!(value, Value::Array(list) if list.is_empty()) => {}
                    None if matches!(value, Value::Object(map) if map.is_empty()) => {}
                    None => return Err(format!("{path} is no member")),
                }
            }
            Ok(())
        }
        (Value::Array(given), Value::Array(again)) if given.len() == again.len() => {
            let pairs = given.iter().zip(again).enumerate();
            for (index, (given, again)) in pairs {
                lost(given, again, &format!("{path}[{index}]"))?;
            }
            Ok(())
        }
        (given, again) if given == again => Ok(()),
        (given, again) => Err(format!("{path} is {given} and was read as {again}")),
    }
}

fn check(object: &Value) -> Result<(), String> {
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("v1", "Namespace") => strictly::<core::v1::Namespace>(object),
        ("v1", "ServiceAccount") => strictly::<core::v1::ServiceAccount>(object),
        ("v1", "ConfigMap") => strictly::<core::v1::ConfigMap>(object),
        ("v1", "Secret") => strictly::<core::v1::Secret>(object),
        ("v1", "Service") => strictly::<core::v1::Service>(object),
        ("v1", "Pod") => strictly::<core::v1::Pod>(object),
        ("v1", "PersistentVolume") => strictly::<core::v1::PersistentVolume>(object),
        ("v1", "PersistentVolumeClaim") => strictly::<core::v1::PersistentVolumeClaim>(object),
        ("apps/v1", "Deployment") => strictly::<apps::v1::Deployment>(object),
        ("apps/v1", "DaemonSet") => strictly::<apps::v1::DaemonSet>(object),
        ("policy/v1", "PodDisruptionBudget") => strictly::<policy::v1::PodDisruptionBudget>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => {
            strictly::<rbac::v1::ClusterRole>(object)
        }
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => {
            strictly::<rbac::v1::ClusterRoleBinding>(object)
        }
        ("rbac.authorization.k8s.io/v1", "Role") => strictly::<rbac::v1::Role>(object),
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => {
            strictly::<rbac::v1::RoleBinding>(object)
        }
        ("storage.k8s.io/v1", "CSIDriver") => strictly::<storage::v1::CSIDriver>(object),
        ("storage.k8s.io/v1", "StorageClass") => strictly::<storage::v1::StorageClass>(object),
        // Resources of external-snapshotter's: Kubernetes has no types for them.
        ("snapshot.storage.k8s.io/v1", "VolumeSnapshot" | "VolumeSnapshotClass") => Ok(()),
        (version, kind) => Err(format!("{version} {kind} is not looked at")),
    }
}

#[test]
fn every_object_is_of_kubernetes_own_types() {
    let examples = yaml_files("examples");
    let objects = plain();
    assert!(objects.len() >= 12 && examples.len() >= 11);
    let all = objects
        .into_iter()
        .chain(examples.iter().flat_map(|name| documents(name)));
    for object in all {
        check(&object).unwrap_or_else(|error| panic!("{error} in {object:#}"));
    }
}

#[test]
fn a_member_in_the_wrong_place_is_found() {
    let mut objects = plain();
    let deployment = objects
        .iter_mut()
        .find(|object| object["kind"] == "Deployment")
        .unwrap();
    check(deployment).unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = Value::Null;
    let error = check(deployment).unwrap_err();
    assert_eq!(
        error,
        ".spec.template.spec.containers[0].livenesProbe is no member"
    );
    deployment["spec"]["replicas"] = "two".into();
    check(deployment).unwrap_err();
}
