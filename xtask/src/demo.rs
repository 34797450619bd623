//! `cargo xtask demo`: the whole life of an RBD and of a CephFS volume on a real Ceph cluster, step by
//! step.
//!
//! Everything goes over the CSI sockets exactly as the sidecars and kubelet would do it; at the
//! end Ceph's own programs and the kernel's tables are asked what is left.

mod journey;
mod ledger;
mod payload;
mod proof;
mod share;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use cuttle_testbed::Driver;
use serde_json::{Value, json};

use self::journey::Journey;
use self::ledger::Ledger;
use self::proof::Proof;
use self::share::Share;
use crate::installation::{Installation, Places, Role};
use crate::screen::{Form, Screen};
use crate::{Failure, down, environment};

/// How the demo runs.
#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// The driver's binary [default: target/debug/cuttle].
    #[arg(long)]
    driver: Option<PathBuf>,
    /// Leave cluster and driver running and print how to use them.
    #[arg(long)]
    keep: bool,
    /// Where everything happens [default: target/demo].
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Runs the demo.
pub(crate) fn run(options: &DemoOptions, screen: &mut Screen) -> Result<(), Failure> {
    if !environment::is_root() {
        return Err(Failure::new(
            "the demo mounts file systems and needs root; run `make demo`",
        ));
    }
    let target = environment::target_dir();
    let program = options
        .driver
        .clone()
        .unwrap_or_else(|| target.join("debug/cuttle"));
    let program = std::path::absolute(&program).unwrap_or(program);
    if !program.exists() {
        return Err(Failure::new(format!(
            "no driver at {}; run `make demo`, or `cargo build -p cuttle` first",
            program.display()
        )));
    }
    let dir = options.dir.clone().unwrap_or_else(down::demo_dir);
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    down::remove(&dir)?;

    screen.title("The whole life of an RBD and of a CephFS volume, on a real Ceph cluster");
    let mut ledger = Ledger::new(screen);
    let result = live(&dir, &program, options.keep, &mut ledger);
    let steps = ledger.into_steps();
    if let Err(failure) = &result {
        show_logs(&dir, screen);
        if !options.keep {
            down::remove(&dir)?;
        }
        if screen.form() == Form::Json {
            screen.json(&json!({ "ok": false, "error": failure.to_string(), "steps": steps }));
        }
    }
    let proof = result?;
    conclude(
        &proof,
        &steps,
        options.keep.then_some(dir.as_path()),
        screen,
    );
    if !options.keep {
        down::remove(&dir)?;
    }
    if proof.is_clean() {
        Ok(())
    } else {
        Err(Failure::new("something is left behind"))
    }
}

/// Starts everything, leads the volume through its life and looks at what is left.
fn live(dir: &Path, program: &Path, keep: bool, ledger: &mut Ledger<'_>) -> Result<Proof, Failure> {
    let installation = ledger.step("start Ceph (mon, mgr, osd, mds)", || {
        let installation = Installation::make(dir, keep)?;
        let detail = format!("{}, cephx on", installation.cluster.monitors());
        Ok((installation, detail))
    })?;
    let before = installation.cluster.rbd_namespace_contents("rbd", "")?;
    let mut drivers = ledger.step("start the driver", || {
        let start = |role| installation.start(role, program, keep);
        let drivers = Role::ALL
            .into_iter()
            .map(start)
            .collect::<Result<Vec<Driver>, _>>()?;
        let detail = format!(
            "{} processes, each with both drivers: controller, node-a, node-b",
            drivers.len()
        );
        Ok((drivers, detail))
    })?;
    Journey::begin(&installation)?.run(ledger)?;
    Share::begin(&installation)?.run(ledger)?;
    if !keep {
        ledger.step("stop the driver", || {
            for driver in &mut drivers {
                let status = driver.terminate(Duration::from_secs(30))?;
                if !status.success() {
                    return Err(Failure::new(format!("it ended with {status}")));
                }
            }
            Ok(((), "each process ended by itself".to_owned()))
        })?;
    }
    let alive: Vec<i32> = if keep {
        drivers.iter().map(Driver::pid).collect()
    } else {
        Vec::new()
    };
    ledger.step("look for anything left", || {
        let proof = Proof::take(&installation, &before, &alive)?;
        let detail = if proof.is_clean() {
            "nothing"
        } else {
            "NOT clean, see below"
        };
        Ok((proof, detail.to_owned()))
    })
}

/// Shows the steps and the proof, and how to go on when everything was kept.
fn conclude(proof: &Proof, steps: &[Value], kept: Option<&Path>, screen: &mut Screen) {
    if screen.form() == Form::Json {
        let mut document = json!({ "ok": proof.is_clean(), "steps": steps, "left": proof.json() });
        if let (Some(dir), Some(members)) = (kept, document.as_object_mut()) {
            members.insert(
                "kept".to_owned(),
                kept_json(&Places {
                    dir: dir.to_owned(),
                }),
            );
        }
        screen.json(&document);
        return;
    }
    screen.line("");
    let text = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|step| {
            vec![
                text(step, "step"),
                text(step, "milliseconds"),
                text(step, "detail"),
            ]
        })
        .collect();
    screen.table(&["Step", "ms", "What was seen"], &["ms"], &rows);
    screen.line("");
    screen.table(
        &["Left behind", "Count", "Looked at with"],
        &["Count"],
        &proof.rows(),
    );
    for leftover in proof.details() {
        screen.line(&format!("  {leftover}"));
    }
    let verdict = if proof.is_clean() {
        "Nothing is left."
    } else {
        "Something is left."
    };
    let verdict = screen.judged(proof.is_clean(), verdict);
    screen.line(&verdict);
    if let Some(dir) = kept {
        show_kept(
            &Places {
                dir: dir.to_owned(),
            },
            screen,
        );
    }
}

fn kept_json(places: &Places) -> Value {
    json!({
        "ceph_conf": places.cluster().join("ceph.conf"),
        "sockets": Role::ALL.map(|role| (role.name(), places.socket(role)))
            .into_iter()
            .map(|(name, socket)| (name.to_owned(), json!(socket)))
            .collect::<serde_json::Map<_, _>>(),
        "logs": Role::ALL.map(|role| places.log(role)),
        "remove": "make down",
    })
}

fn show_kept(places: &Places, screen: &mut Screen) {
    let conf = places.cluster().join("ceph.conf");
    let conf = conf.display();
    screen.line("");
    screen.title("Cluster and driver keep running.");
    for role in Role::ALL {
        let (socket, log) = (places.socket(role), places.log(role));
        screen.line(&format!("  {:<10} {}", role.name(), socket.display()));
        screen.line(&format!("  {:<10} {}", "", log.display()));
    }
    let staging = places.staging(Role::NodeA);
    let target = places.target(Role::NodeA);
    // Sockets and keyring are root's alone.
    let sudo = if environment::is_through_sudo() {
        "sudo "
    } else {
        ""
    };
    let csi = format!("{sudo}{} csi", environment::own_program().display());
    screen.line(&format!(
        "\nLook at Ceph:\n  {sudo}ceph -c {conf} status\n  {sudo}rbd -c {conf} ls rbd\n\
         \nCall the driver (any CSI client can; this one is built in):\n  \
         S={} T={}\n  \
         {csi} probe\n  \
         {csi} create pvc-play --size 1GiB       # prints the handle\n  \
         H=<the handle>\n  \
         {csi} stage $H $S\n  \
         {csi} publish $H $S $T                  # now look at $T\n  \
         {csi} expand $H 2GiB && {csi} grow $H $S $T 2GiB\n  \
         {csi} unpublish $H $T\n  \
         {csi} unstage $H $S\n  \
         {csi} delete $H\n\
         \nRemove everything:\n  make down",
        staging.display(),
        target.display(),
    ));
}

/// The last lines of each process's log.
fn show_logs(dir: &Path, screen: &mut Screen) {
    let places = Places {
        dir: dir.to_owned(),
    };
    for role in Role::ALL {
        let log = places.log(role);
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        if lines.is_empty() {
            continue;
        }
        screen.line(&format!("--- the end of {}", log.display()));
        for line in lines.iter().skip(lines.len().saturating_sub(20)) {
            screen.line(line);
        }
    }
}
