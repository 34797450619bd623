//! YAML from JSON values: block style, texts quoted wherever a reader could take them for anything
//! else. Keys are in alphabetical order.

use serde_json::Value;

use super::target::RAW;

/// One document.
pub(super) fn text(value: &Value) -> String {
    let mut text = String::new();
    block(value, 0, &mut text);
    text
}

/// A value that begins on a line of its own.
fn block(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, member) in members {
                text.push_str(&format!("{indent}{}:", scalar(name)));
                behind(member, depth, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                entry(item, depth, text);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => text.push_str(&format!("{indent}{}\n", inline(value))),
    }
}

/// A value behind `name:`.
fn behind(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            text.push('\n');
            block(value, depth + 1, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            block(value, depth, text);
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => text.push_str(&format!(" {}\n", inline(value))),
    }
}

/// An item of a list: its first line stands behind the dash.
fn entry(item: &Value, depth: usize, text: &mut String) {
    let mut inner = String::new();
    block(item, depth + 1, &mut inner);
    let indent = "  ".repeat(depth);
    text.push_str(&indent);
    text.push_str("- ");
    text.push_str(inner.trim_start_matches(' '));
}

fn inline(value: &Value) -> String {
    // Numbers, truths, null, and empty lists and maps are the same in JSON.
    value.as_str().map_or_else(|| value.to_string(), scalar)
}

fn scalar(text: &str) -> String {
    if let Some(raw) = text.strip_prefix(RAW) {
        return raw.to_owned();
    }
    if is_plain(text) {
        text.to_owned()
    } else {
        // JSON's escapes are YAML's, too.
        Value::from(text).to_string()
    }
}

/// Whether a text without quotes is that text and nothing else, in YAML 1.1 and 1.2.
fn is_plain(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '.');
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./@".contains(c);
    let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let lower = text.to_ascii_lowercase();
    starts
        && text.chars().all(safe)
        && !words.contains(&lower.as_str())
        && !matches!(lower.as_str(), ".inf" | ".nan")
}
