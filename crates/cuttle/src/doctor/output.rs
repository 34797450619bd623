//! What `cuttle doctor` prints: a table for people, or one JSON document.

use cuttle_doctor::{Finding, Report, Severity};
use serde_json::json;

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The severities in the order of the last line.
const COUNTED: [Severity; 5] = [
    Severity::Error,
    Severity::Unknown,
    Severity::Warning,
    Severity::Note,
    Severity::Good,
];

impl Form {
    /// The text of a report.
    pub(super) fn render(self, report: &Report) -> String {
        match self {
            Self::Table => table(report),
            Self::Json => document(report),
        }
    }
}

fn count(report: &Report, severity: Severity) -> usize {
    let is = |finding: &&Finding| finding.severity == severity;
    report.findings.iter().filter(is).count()
}

fn table(report: &Report) -> String {
    let width = report.findings.iter().map(|one| one.check.id().len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for finding in &report.findings {
        let Finding {
            check,
            about,
            severity,
            evidence,
            meaning,
            remedy,
        } = finding;
        let id = check.id();
        text.push_str(&format!("{severity:7}  {id:width$}  {about}: {evidence}\n"));
        let indent = " ".repeat(width + 11);
        if !meaning.is_empty() {
            text.push_str(&format!("{indent}{meaning}\n"));
        }
        if let Some(remedy) = remedy {
            text.push_str(&format!("{indent}-> {remedy}\n"));
        }
    }
    let counts = COUNTED.map(|severity| format!("{} {severity}", count(report, severity)));
    text.push_str(&format!("\n{}\n", counts.join(", ")));
    text
}

fn document(report: &Report) -> String {
    let findings = report.findings.iter().map(|finding| {
        json!({
            "check": finding.check.id(),
            "about": finding.about,
            "severity": finding.severity.word(),
            "evidence": finding.evidence,
            "meaning": finding.meaning,
            "remedy": finding.remedy,
        })
    });
    let findings: Vec<_> = findings.collect();
    let document = json!({"worst": report.worst().word(), "findings": findings});
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use cuttle_doctor::{Check, Told};

    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.good(Check::Pool, "pool a", "it has number 3");
        let told = Told::new("seen", "hurts").remedy("rbd pool init a");
        report.add(Severity::Error, Check::PoolApplication, "pool a", told);
        report
    }

    #[test]
    fn the_table_says_each_thing_once_and_counts() {
        let expected = "\
good     pool              pool a: it has number 3
error    pool-application  pool a: seen
                           hurts
                           -> rbd pool init a

1 error, 0 unknown, 0 warning, 0 note, 1 good
";
        assert_eq!(Form::Table.render(&report()), expected);
    }

    #[test]
    fn the_document_has_the_same() {
        let document: serde_json::Value =
            serde_json::from_str(&Form::Json.render(&report())).unwrap();
        assert_eq!(document["worst"], "error");
        assert_eq!(document["findings"][1]["check"], "pool-application");
        assert_eq!(document["findings"][1]["remedy"], "rbd pool init a");
        assert_eq!(document["findings"][0]["remedy"], serde_json::Value::Null);
    }
}
