//! What happens inside the network namespace: the cluster, then one guest after the other.
//!
//! The developer's process starts itself once more in a fresh namespace (as root) and hands over a
//! plan. Everything that this process starts ends with it, and with the last of them the kernel
//! removes the namespace, so that nothing is left whatever is killed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use cuttle_testbed::{
    Cluster, Network, SHARED_CLUSTER, SWITCHBOARD, StartOptions, Switch, answer_switches,
    remove_tree,
};
use serde::{Deserialize, Serialize};

use super::machine::{Command, Ended, Machine};
use super::network;
use crate::screen::{Form, Screen};
use crate::{Failure, child, environment};

/// What is to be done inside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The namespace that it must not happen in.
    pub(crate) outside: PathBuf,
    /// The directory of the runs, made by the caller and removed at the end.
    pub(crate) dir: PathBuf,
    /// Where the cluster is to be, if there is to be one.
    pub(crate) cluster: Option<PathBuf>,
    pub(crate) runs: Vec<Run>,
}

/// One guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    /// What it is shown as; none for a command whose output shall stand alone.
    pub(crate) title: Option<String>,
    pub(crate) machine: Machine,
    pub(crate) command: Command,
}

impl Plan {
    /// Carries the plan out in a namespace of its own and waits for the end; as root, through sudo
    /// if need be.
    pub(crate) fn carry_out(&self) -> Result<ExitCode, Failure> {
        remove_old_runs()?;
        std::fs::create_dir_all(&self.dir).map_err(|error| {
            Failure::because(format!("cannot make {}", self.dir.display()), &error)
        })?;
        let file = self.dir.join("plan.json");
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::because("cannot write the plan", &error))?;
        std::fs::write(&file, text)
            .map_err(|error| Failure::because("cannot write the plan", &error))?;
        let mut command = if environment::is_root() {
            child::command("unshare")
        } else {
            let mut sudo = child::command("sudo");
            sudo.args(["--preserve-env", "unshare"]);
            sudo
        };
        command.args(["--net", "--", "setpriv", "--pdeathsig", "KILL", "--"]);
        command.arg(environment::own_program());
        command.arg("guest-session").arg(&file);
        let status = command
            .status()
            .map_err(|error| Failure::because("cannot start unshare", &error))?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }
}

/// The directory of this process's runs.
pub(crate) fn run_dir() -> PathBuf {
    environment::working_dir("guest-run").join(std::process::id().to_string())
}

/// Removes what runs have left whose process is gone.
pub(crate) fn remove_old_runs() -> Result<(), Failure> {
    let dir = environment::working_dir("guest-run");
    for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !Path::new("/proc").join(&name).exists() {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Carries a plan out. To be called in a fresh network namespace.
pub(crate) fn run(plan: &Path) -> Result<ExitCode, Failure> {
    let text = std::fs::read(plan)
        .map_err(|error| Failure::because(format!("cannot read {}", plan.display()), &error))?;
    let plan: Plan = serde_json::from_slice(&text)
        .map_err(|error| Failure::because("that is no plan", &error))?;
    if network::namespace()? == plan.outside {
        return Err(Failure::new(
            "this would build a bridge in the machine's own network; use `cargo xtask guest`",
        ));
    }
    // Progress must not mix with the commands' output.
    let mut screen = Screen::new(Form::Json);
    network::build()?;
    let cluster = plan
        .cluster
        .as_deref()
        .map(|dir| start_cluster(dir, &mut screen))
        .transpose()?;
    let mut code = 0;
    for (number, run) in plan.runs.iter().enumerate() {
        let dir = plan.dir.join(number.to_string());
        let ended = run.boot(&dir, cluster.as_ref(), &mut screen)?;
        if code == 0 {
            code = ended.code;
        }
    }
    match cluster {
        Some(cluster) if code == 0 => cluster.stop()?,
        Some(cluster) => screen.line(&format!(
            "Ceph's logs are in {}",
            cluster.dir().join("log").display()
        )),
        None => {}
    }
    remove_tree(&plan.dir)?;
    Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn start_cluster(dir: &Path, screen: &mut Screen) -> Result<Cluster, Failure> {
    let start = Instant::now();
    screen.begin("starting Ceph");
    let cluster = Cluster::start(&StartOptions {
        dir: Some(dir.to_owned()),
        network: Network::Own(network::HOST.into()),
        ..StartOptions::default()
    })?;
    screen.done("Ceph is up", start.elapsed(), &cluster.monitors());
    Ok(cluster)
}

impl Run {
    fn boot(
        &self,
        dir: &Path,
        cluster: Option<&Cluster>,
        screen: &mut Screen,
    ) -> Result<Ended, Failure> {
        let mut command = self.command.clone();
        let mut add =
            |name: &str, value: String| command.environment.push((name.to_owned(), value));
        if let Some(cluster) = cluster {
            add(SHARED_CLUSTER, cluster.dir().display().to_string());
            add("CEPH_CONF", cluster.conf_path().display().to_string());
        }
        add(SWITCHBOARD, "/guest/switches".to_owned());
        let start = Instant::now();
        if let Some(title) = &self.title {
            screen.line(&format!("--- {title}"));
        }
        let ended = self.machine.run(&command, dir, |dir| {
            answer_switches(&dir.join("switches"), |switch| {
                carry_out(switch, cluster).map_err(|failure| failure.to_string())
            });
        })?;
        // A run that was cut short must not spoil the next one.
        network::join()?;
        if let Some(cluster) = cluster {
            cluster.resume("osd.0")?;
            cluster.resume("mon.a")?;
        }
        if let Some(remark) = &ended.remark {
            screen.line(remark);
        }
        if let Some(title) = &self.title {
            match ended.code {
                0 => screen.done(title, start.elapsed(), ""),
                code => screen.failed(title, start.elapsed(), &format!("exit code {code}")),
            }
        }
        Ok(ended)
    }
}

fn carry_out(switch: Switch, cluster: Option<&Cluster>) -> Result<(), Failure> {
    let cluster = || cluster.ok_or_else(|| Failure::new("there is no cluster"));
    match switch {
        Switch::PauseOsd => cluster()?.pause("osd.0")?,
        Switch::ResumeOsd => cluster()?.resume("osd.0")?,
        Switch::PauseMonitor => cluster()?.pause("mon.a")?,
        Switch::ResumeMonitor => cluster()?.resume("mon.a")?,
        Switch::CutNetwork => network::cut()?,
        Switch::JoinNetwork => network::join()?,
    }
    Ok(())
}
