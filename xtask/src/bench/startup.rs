//! How soon a driver answers after its start, and what it needs before it has any connection.

use std::path::Path;
use std::time::{Duration, Instant};

use cuttle_csi::v1;
use cuttle_testbed::{Driver, ProcessUse};

use super::blocks::Plan;
use super::figures::{Samples, mebibytes};
use super::report::{Goal, Report};
use crate::Failure;
use crate::installation::{Installation, Role};
use crate::rpc::{Rpc, runtime};
use crate::screen::Screen;

/// How long nothing is asked before the memory of an idle driver is read.
const IDLE: Duration = Duration::from_secs(5);

/// How many of the started drivers are left idle for that.
const IDLE_STARTS: usize = 3;

/// Starts the driver several times and asks it as soon as it listens.
pub(crate) fn measure(
    installation: &Installation,
    program: &Path,
    plan: &Plan,
    report: &mut Report,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let runtime = runtime()?;
    let options = installation.options(Role::Controller, program);
    let socket = installation.places.socket(Role::Controller);
    let mut times = Vec::with_capacity(plan.starts);
    let mut idle = Vec::with_capacity(IDLE_STARTS);
    for _ in 0..plan.starts {
        let mut driver = Driver::launch_bare(&options)?;
        let rpc = wait_socket(&runtime, &socket, &mut driver)?;
        rpc.wait("Probe", rpc.identity().probe(v1::ProbeRequest {}))?;
        times.push(driver.started().elapsed());
        if idle.len() < IDLE_STARTS {
            idle.push(resident_when_idle(driver.pid())?);
        }
        driver.terminate(Duration::from_secs(30))?;
    }
    screen.line("start: done");
    let wall = times.iter().sum();
    let samples = Samples::new(times, wall);
    report.single("first Probe after the start", &samples, Goal::AtMost(15.0));
    idle.sort_unstable();
    let middle = idle.get(idle.len() / 2).copied().unwrap_or(0);
    let goal = Goal::AtMost(20.0);
    report.figure(
        "resident idle, no connection yet",
        mebibytes(middle),
        "MiB",
        goal,
    );
    Ok(())
}

/// Connects the moment the socket takes connections: looking every 20 ms would be the figure.
fn wait_socket(
    runtime: &std::sync::Arc<tokio::runtime::Runtime>,
    socket: &Path,
    driver: &mut Driver,
) -> Result<Rpc, Failure> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        if std::os::unix::net::UnixStream::connect(socket).is_ok() {
            return Rpc::connect_on(runtime.clone(), socket, Duration::from_secs(1));
        }
        if let Some(status) = driver.try_wait() {
            return Err(Failure::new(format!(
                "the driver ended with {status}: {}",
                driver.log_text()
            )));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Err(Failure::new("the driver did not serve within 10 s"))
}

/// What is resident after some seconds without any request: what a node plugin needs most of its
/// life, not what its start has touched.
pub(crate) fn resident_when_idle(pid: i32) -> Result<u64, Failure> {
    std::thread::sleep(IDLE);
    Ok(ProcessUse::of(pid)?.resident)
}
