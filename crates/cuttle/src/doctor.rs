//! `cuttle doctor`: what is wrong with a cluster, a node or a class, told before a volume fails.

mod command;
mod output;
mod page;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use ceph::{Clusters, ConnectOptions};
use cuttle_doctor::{Check, Report, Severity, Told};
use cuttle_door::{Doors, FaultPlan};
use cuttle_host::Host;
use cuttle_model::{ClusterTable, Explain, chain};
use serde_json::Value;

use crate::config::{ClusterFile, Outcome};

pub use command::{DoctorCommand, Subject, USAGE, UsageError, Wanted};
pub use output::Form;
pub use page::reference_page;

/// A list of all classes and Secrets of a cluster fits well.
const LONGEST_DOCUMENT: u64 = 64 << 20;

/// No single question waits longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Looks, and answers what is to be printed and the exit status.
///
/// # Blocking
/// For some seconds; up to about a minute where nothing answers.
pub fn run(command: &DoctorCommand) -> (String, u8) {
    let doors = Doors::new(FaultPlan::none());
    let host = Host::new(doors.host);
    let mut report = Report::default();
    match &command.subject {
        Subject::Node(plan) => cuttle_doctor::node(plan, &host, &mut report),
        Subject::Class(file) => classes(file, &command.config, &mut report),
        Subject::Cluster(wanted) => {
            let options = ConnectOptions {
                operation_timeout: PATIENCE,
                monitor_timeout: PATIENCE,
                connect_timeout: PATIENCE,
                ..ConnectOptions::default()
            };
            let clusters = Clusters::new(doors.ceph, options);
            for settings in configured(wanted.id.as_ref(), command, &mut report) {
                let plan = wanted.plan(settings);
                cuttle_doctor::cluster(&plan, &clusters, &host, &mut report);
            }
        }
    }
    let status = match report.worst() {
        Severity::Good | Severity::Note | Severity::Warning => 0,
        Severity::Error => 1,
        Severity::Unknown => 2,
    };
    (command.form.render(&report), status)
}

/// The clusters that are wanted, of those in `config.json`; what is wrong with the file is found.
fn configured(
    wanted: Option<&cuttle_model::ClusterId>,
    command: &DoctorCommand,
    report: &mut Report,
) -> Vec<cuttle_model::ClusterSettings> {
    let Some(table) = table(&command.config, report) else {
        return Vec::new();
    };
    let found: Vec<_> = table
        .iter()
        .filter(|settings| wanted.is_none_or(|id| settings.id == *id))
        .map(|settings| (**settings).clone())
        .collect();
    if found.is_empty() {
        let evidence = wanted.map_or_else(
            || "it has no cluster".to_owned(),
            |id| format!("it has no cluster {id}"),
        );
        let told = Told::new(evidence, "requests for its volumes are refused")
            .remedy("add the cluster to the ConfigMap; docs/configuration.md shows the form");
        let about = command.config.display().to_string();
        report.add(Severity::Error, Check::Config, about, told);
    }
    found
}

fn table(path: &Path, report: &mut Report) -> Option<ClusterTable> {
    let about = path.display().to_string();
    match ClusterFile::new(path).refresh() {
        Outcome::Read {
            table,
            mistakes,
            warnings,
        } => {
            let is_good = mistakes.is_empty() && warnings.is_empty();
            for mistake in mistakes {
                let told = Told::new(mistake.to_string(), "this cluster's entry is not used")
                    .remedy("correct it; docs/configuration.md shows the form");
                report.add(Severity::Error, Check::Config, about.clone(), told);
            }
            for warning in warnings {
                let told = Told::new(warning.to_string(), "odd, and without harm");
                report.add(Severity::Note, Check::Config, about.clone(), told);
            }
            if is_good {
                let evidence = format!("{} clusters", table.iter().count());
                report.good(Check::Config, about, evidence);
            }
            Some(table)
        }
        Outcome::Unusable(error) => {
            let told = Told::new(chain(&error), "no volume can be served");
            let told = match error.remedy() {
                Some(remedy) => told.remedy(remedy),
                None => told,
            };
            report.add(Severity::Error, Check::Config, about, told);
            None
        }
        // A first look is never without a change.
        Outcome::Unchanged => None,
    }
}

fn classes(file: &Path, config: &Path, report: &mut Report) {
    let about = file.display().to_string();
    let document = match document(file) {
        Ok(document) => document,
        Err(error) => {
            let told = Told::new(error, "nothing was looked at")
                .remedy("give what `kubectl get storageclass,secret -A -o json` prints");
            return report.add(Severity::Unknown, Check::Class, about, told);
        }
    };
    // Where classes are looked at there need not be a driver's configuration.
    let table = if config.exists() {
        table(config, report)
    } else {
        let told = Told::new(
            format!("{} is not there", config.display()),
            "whether the classes' clusters are configured was not looked at",
        )
        .remedy("name a config.json with --config");
        report.add(Severity::Note, Check::ClassCluster, about.clone(), told);
        None
    };
    if cuttle_doctor::classes(&document, table.as_ref(), report) == 0 {
        let told = Told::new(
            "no StorageClass and no VolumeSnapshotClass of a driver for Ceph",
            "nothing was looked at",
        );
        report.add(Severity::Unknown, Check::Class, about, told);
    }
}

/// Reads JSON from a file; `-` is standard input.
fn document(file: &Path) -> Result<Value, String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin()
            .take(LONGEST_DOCUMENT)
            .read_to_end(&mut bytes)
    } else {
        File::open(file).and_then(|file| file.take(LONGEST_DOCUMENT).read_to_end(&mut bytes))
    };
    read.map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| format!("it is no JSON: {error}"))
}
