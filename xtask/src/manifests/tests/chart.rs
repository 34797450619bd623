//! The chart, filled in with its own defaults, is the plain installation.

use serde_json::Value;

use super::{deploy, documents, plain, read, yaml_files};
use crate::manifests::values;

/// Fills in the three expressions that the chart uses. Any other is an error.
fn filled(template: &str, values: &Value) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (expression, after) = after.split_once("}}").expect("an end of the expression");
        text.push_str(before);
        text.push_str(&answer(expression.trim(), values));
        rest = after;
    }
    text + rest
}

fn answer(expression: &str, values: &Value) -> String {
    if expression == ".Release.Namespace" {
        return values::NAMESPACE.to_owned();
    }
    if let Some(inner) = expression.strip_prefix("toJson ") {
        let inner = inner
            .strip_prefix('(')
            .map_or(inner, |inner| inner.strip_suffix(')').unwrap());
        return match inner.strip_prefix("toJson ") {
            Some(path) => Value::from(value(path, values).to_string()).to_string(),
            None => value(inner, values).to_string(),
        };
    }
    let value = value(expression, values);
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn value<'a>(path: &str, values: &'a Value) -> &'a Value {
    let path = path
        .strip_prefix(".Values.")
        .unwrap_or_else(|| panic!("{path} is no value"));
    let pointer = format!("/{}", path.replace('.', "/"));
    values
        .pointer(&pointer)
        .unwrap_or_else(|| panic!("{path} is not in values.yaml"))
}

fn chart(values: &Value) -> Vec<Value> {
    let templates = yaml_files("helm/cuttle/templates");
    let texts = templates
        .iter()
        .map(|name| std::fs::read_to_string(deploy().join(name)).unwrap());
    texts
        .flat_map(|text| read(&filled(&text, values)))
        .collect()
}

fn defaults() -> Value {
    documents("helm/cuttle/values.yaml").remove(0)
}

#[test]
fn with_its_defaults_it_is_the_plain_installation() {
    let expected: Vec<Value> = plain()
        .into_iter()
        .filter(|object| object["kind"] != "Namespace")
        .collect();
    assert_eq!(chart(&defaults()), expected);
}

#[test]
fn what_is_chosen_arrives() {
    let mut values = defaults();
    values["clusters"] = serde_json::json!([{"clusterID": "a \"b\"", "monitors": ["10.0.0.1"]}]);
    values["kubeletDir"] = "/var/lib/k0s/kubelet".into();
    values["node"]["nodeSelector"] = serde_json::json!({"storage": "yes"});
    let objects = chart(&values);
    let config = super::one(&objects, "ConfigMap", "ceph-csi-config");
    let clusters: Value =
        serde_json::from_str(config["data"]["config.json"].as_str().unwrap()).unwrap();
    assert_eq!(clusters, values["clusters"]);
    let node = super::one(&objects, "DaemonSet", "cuttle-node");
    let pod = &node["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"]["storage"], "yes");
    let text = pod.to_string();
    assert!(
        text.contains("/var/lib/k0s/kubelet/plugins/rbd.csi.ceph.com/csi.sock"),
        "{text}"
    );
    assert!(!text.contains("/var/lib/kubelet"), "{text}");
}

#[test]
fn every_value_is_used() {
    let templates = yaml_files("helm/cuttle/templates");
    let text: String = templates
        .iter()
        .map(|name| std::fs::read_to_string(deploy().join(name)).unwrap())
        .collect();
    for (name, value, _) in values::all() {
        let paths: Vec<String> = match value.as_object() {
            Some(members) => members
                .keys()
                .map(|member| format!("{name}.{member}"))
                .collect(),
            None => vec![name.to_owned()],
        };
        for path in paths {
            assert!(
                text.contains(&format!(".Values.{path} "))
                    || text.contains(&format!(".Values.{path})")),
                "{path}"
            );
        }
    }
}
