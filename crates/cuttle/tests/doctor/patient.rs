//! What is looked at, and what the doctor said.

use std::path::PathBuf;
use std::time::Duration;

use cuttle_testbed::{Cluster, Program};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const ID: &str = "east";

/// The doctor itself waits for at most about a minute where nothing answers.
const PATIENCE: Duration = Duration::from_secs(180);

/// A `config.json` with one cluster, and a directory for keys.
pub(crate) struct Patient {
    dir: TempDir,
}

/// One answer of the doctor.
pub(crate) struct Diagnosis {
    pub(crate) status: i32,
    findings: Vec<Value>,
}

impl Patient {
    /// The cluster with these further members of its entry.
    pub(crate) fn new(monitors: &str, members: &Value) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("doctor-")
            .tempdir()
            .unwrap();
        let mut entry = json!({"clusterID": ID, "monitors": [monitors]});
        for (name, value) in members.as_object().unwrap() {
            entry[name] = value.clone();
        }
        let text = serde_json::to_vec(&json!([entry])).unwrap();
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A name that no other test uses.
    pub(crate) fn name(&self) -> String {
        self.dir
            .path()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_lowercase()
    }

    pub(crate) fn program(&self, words: &[&str]) -> Program {
        Program::new(env!("CARGO_BIN_EXE_cuttle"))
            .arg("doctor")
            .args(words)
            .args(["-o", "json"])
            .limit(PATIENCE)
    }

    /// Looks at the cluster as this user.
    pub(crate) fn cluster(&self, user: &str, key: &str, words: &[&str]) -> Diagnosis {
        let program = self
            .program(&["cluster", &format!("--user={user}"), "--key-file=-"])
            .arg(format!("--config={}", self.path("config.json").display()))
            .args(words)
            .input(key);
        diagnosed(program, key)
    }

    /// Looks at the cluster as its administrator.
    pub(crate) fn as_admin(&self, cluster: &Cluster, words: &[&str]) -> Diagnosis {
        self.cluster("admin", &cluster.admin_key(), words)
    }
}

/// Runs the doctor; what it says never has the key.
pub(crate) fn diagnosed(program: Program, key: &str) -> Diagnosis {
    let output = program.run().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        key.is_empty() || !(shown.contains(key) || words.contains(key)),
        "the key is shown"
    );
    let document: Value =
        serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}{words}"));
    Diagnosis {
        status: output.status.code().unwrap(),
        findings: document["findings"].as_array().unwrap().clone(),
    }
}

impl Diagnosis {
    /// All that is not good, for messages of failing tests.
    fn wrong(&self) -> String {
        let wrong = self.findings.iter().filter(|one| one["severity"] != "good");
        wrong.map(|one| format!("{one}\n")).collect()
    }

    /// The findings of a check that are not good: severity and the whole finding.
    pub(crate) fn bad(&self, check: &str) -> Vec<&Value> {
        let found = self.findings.iter().filter(|one| one["check"] == check);
        found.filter(|one| one["severity"] != "good").collect()
    }

    /// The one finding of a check that is not good.
    pub(crate) fn only(&self, check: &str, severity: &str) -> &Value {
        match self.bad(check).as_slice() {
            [only] if only["severity"] == severity => only,
            other => panic!("{check} {severity}: {other:#?}\n{}", self.wrong()),
        }
    }

    /// Demands that these checks were made and found nothing.
    pub(crate) fn assert_good(&self, checks: &[&str]) {
        for check in checks {
            let made = self.findings.iter().any(|one| one["check"] == **check);
            assert!(
                made && self.bad(check).is_empty(),
                "{check}\n{}",
                self.wrong()
            );
        }
    }

    /// Demands that nothing but these checks found anything that is wrong.
    pub(crate) fn assert_wrong(&self, checks: &[&str]) {
        let wrong = |one: &&Value| one["severity"] == "error" || one["severity"] == "unknown";
        let found: Vec<&str> = self
            .findings
            .iter()
            .filter(wrong)
            .map(|one| one["check"].as_str().unwrap())
            .collect();
        assert!(
            found.iter().all(|one| checks.contains(one)),
            "{}",
            self.wrong()
        );
        assert!(
            checks.iter().all(|one| found.contains(one)),
            "{}",
            self.wrong()
        );
    }
}

/// The text of a finding's member.
pub(crate) fn text<'a>(finding: &'a Value, member: &str) -> &'a str {
    finding[member].as_str().unwrap()
}

/// Runs a remedy that is a command as it stands.
pub(crate) fn carry_out(cluster: &Cluster, command: &str) {
    let mut words = shell_words(command);
    let program = words.remove(0);
    cluster.program(&program).args(words).ok().unwrap();
}

/// The words of a command as a shell reads them, with single quotes only.
fn shell_words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in command.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
