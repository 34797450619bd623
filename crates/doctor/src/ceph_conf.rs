//! A ceph.conf with settings that flood output or stop logins.

use std::path::Path;

use cuttle_host::{AbsolutePath, Host};

use crate::report::{Check, Report, Severity, Told};

/// More than this is no ceph.conf.
const LONGEST: usize = 1 << 20;

/// Looks at the file; one that is not there is fine.
pub(crate) fn look(host: &Host, path: &Path, report: &mut Report) {
    let about = path.display().to_string();
    let read = AbsolutePath::new(path)
        .map_err(|error| error.to_string())
        .and_then(|path| {
            let read = host.read_file(&path, LONGEST);
            read.map_err(|error| error.to_string())
        });
    let text = match read {
        Ok(Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
        Ok(None) => {
            let evidence = "there is none; the driver needs none";
            return report.good(Check::CephConf, about, evidence);
        }
        Err(error) => {
            let told = Told::new(error, "the driver reads it for every connection");
            return report.add(Severity::Unknown, Check::CephConf, about, told);
        }
    };
    let findings = judge(&text);
    if findings.is_empty() {
        return report.good(Check::CephConf, about, "nothing in it is known to harm");
    }
    for (line, meaning) in findings {
        let told = Told::new(line, meaning).remedy("take the line out");
        report.add(Severity::Warning, Check::CephConf, about.clone(), told);
    }
}

/// The lines that harm, and how. Only sections that clients read are looked at.
fn judge(text: &str) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    let mut counts = true;
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']').trim();
            counts = section == "global" || section.starts_with("client");
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        if counts && let Some(meaning) = harm(&plain(name), value.trim()) {
            found.push((line.to_owned(), meaning));
        }
    }
    found
}

/// `Log to stderr`, `log-to-stderr` and `log_to_stderr` are one option.
fn plain(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace([' ', '-'], "_")
}

fn harm(name: &str, value: &str) -> Option<&'static str> {
    let is_on = matches!(
        value.to_ascii_lowercase().as_str(),
        "true" | "yes" | "1" | "on"
    );
    let level = value
        .split('/')
        .next()
        .unwrap_or_default()
        .trim()
        .parse::<u32>();
    match name {
        _ if name.starts_with("debug_") => level
            .is_ok_and(|level| level > 5)
            .then_some("Ceph's programs write that much that logs fill up and volumes slow down"),
        "log_to_stderr" | "err_to_stderr" => is_on.then_some(
            "what Ceph's programs answer is mixed with their log; tools that read both fail",
        ),
        "auth_client_required" => {
            (value == "none").then_some("clients do not log in: a cluster with cephx refuses them")
        }
        "rados_osd_op_timeout" | "rados_mon_op_timeout" => (value != "0")
            .then_some("programs beside the driver give up requests that may still be carried out"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_harm_clients_are_found_in_any_spelling() {
        let text = "[global]\nauth_client_required = cephx\ndebug ms = 1/5\n\
                    [client]\nDebug-RBD = 30 ; why\nlog to stderr = true\n\
                    [osd]\ndebug_osd = 20\n[client.rbd]\nauth_client_required=none\n";
        let found: Vec<String> = judge(text).into_iter().map(|found| found.0).collect();
        assert_eq!(
            found,
            [
                "Debug-RBD = 30",
                "log to stderr = true",
                "auth_client_required=none"
            ]
        );
    }

    #[test]
    fn any_text_is_borne() {
        for text in ["", "[", "=", "[=]\n==", "debug_=", "debug_ms = x/y"] {
            assert_eq!(judge(text), [], "{text}");
        }
    }
}
