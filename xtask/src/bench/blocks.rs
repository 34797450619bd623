//! The blocks of work: the driver and the floor in turn, so that both see the same machine.

use std::time::Duration;

use cuttle_testbed::{Cluster, until};

use super::contender::{BYTES, Contender};
use super::figures::{Samples, at, mebibytes};
use super::floor::Floor;
use super::report::{Goal, Report};
use super::startup;
use crate::Failure;
use crate::screen::{Screen, seconds};

/// How much work is done.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How many operations are in flight, and how many there are in a block.
    pub(crate) crowds: Vec<(usize, usize)>,
    /// How often each block is run, driver and floor in turn.
    pub(crate) rounds: usize,
    /// How many volumes are expanded in a block.
    pub(crate) expansions: usize,
    /// How many volumes there are when a finished create is repeated.
    pub(crate) volumes: Vec<usize>,
    /// How often it is repeated.
    pub(crate) repeats: usize,
    /// How often the driver is started to measure that.
    pub(crate) starts: usize,
}

impl Plan {
    /// The full plan, or a tenth of it.
    pub(crate) fn new(quick: bool, volumes: Option<Vec<usize>>) -> Self {
        let full = Self {
            crowds: vec![(1, 50), (8, 120), (32, 240)],
            rounds: 3,
            expansions: 40,
            volumes: volumes.clone().unwrap_or_else(|| vec![0, 1_000, 5_000]),
            repeats: 300,
            starts: 15,
        };
        if !quick {
            return full;
        }
        Self {
            crowds: vec![(1, 20), (8, 40), (32, 64)],
            rounds: 1,
            expansions: 10,
            volumes: volumes.unwrap_or_else(|| vec![0, 100]),
            repeats: 50,
            starts: 3,
        }
    }
}

/// A driver, a floor and the cluster that both work on.
#[derive(Debug)]
pub(crate) struct Run<'r, F> {
    pub(crate) cluster: &'r Cluster,
    pub(crate) contender: Contender,
    pub(crate) floor: F,
    pub(crate) plan: &'r Plan,
    /// What the names of the rows begin with.
    pub(crate) title: &'static str,
    pub(crate) goals: Goals,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Goals {
    /// One create at a time.
    pub(crate) create: Goal,
    /// Creates in a crowd.
    pub(crate) create_crowd: Goal,
    /// One delete at a time.
    pub(crate) delete: Goal,
    /// Deletes in a crowd.
    pub(crate) delete_crowd: Goal,
    /// Growing.
    pub(crate) expand: Goal,
    /// A repeated create.
    pub(crate) repeat: Goal,
}

/// For images.
pub(crate) const RBD: Goals = Goals {
    create: Goal::TimeRatio(1.2),
    create_crowd: Goal::RateRatio(0.9),
    delete: Goal::TimeRatio(1.3),
    delete_crowd: Goal::None,
    expand: Goal::TimeRatio(1.1),
    repeat: Goal::AtMost(1.0),
};

/// For subvolumes.
pub(crate) const CEPHFS: Goals = Goals {
    create: Goal::TimeRatio(1.15),
    create_crowd: Goal::RateRatio(0.95),
    delete: Goal::None,
    delete_crowd: Goal::SlowestAtMost(200.0),
    expand: Goal::None,
    repeat: Goal::None,
};

/// The samples of one operation, the driver's and the floor's.
#[derive(Debug, Default)]
struct Pair {
    driver: Samples,
    floor: Samples,
}

impl<F: Floor> Run<'_, F> {
    /// Does all the work and notes the figures.
    pub(crate) fn measure(&self, report: &mut Report, screen: &mut Screen) -> Result<(), Failure> {
        // The first of everything pays for connections and caches, on both sides.
        let (_, handles) = self.contender.create(&names("warm", 4), 2)?;
        self.contender.delete(&handles, 2)?;
        let (_, volumes) = self.floor.create(&names("warm", 4), 2)?;
        self.floor.delete(&volumes, 2)?;

        let mut cpu = (Duration::ZERO, 0);
        for (in_flight, count) in self.plan.crowds.clone() {
            self.create_and_delete(in_flight, count, &mut cpu, report, screen)?;
        }
        self.expand(report, screen)?;
        self.repeat(report, screen)?;
        self.footprint(cpu, report)
    }

    fn footprint(&self, cpu: (Duration, usize), report: &mut Report) -> Result<(), Failure> {
        let title = self.title;
        let used = self.contender.process_use()?;
        let resident = startup::resident_when_idle(self.contender.pid())?;
        let per_hundred = cpu.0.as_secs_f64() * 100.0 / at(cpu.1).max(1.0);
        report.figure(
            &format!("{title}processor per 100 creates"),
            per_hundred,
            "s",
            Goal::AtMost(0.25),
        );
        report.figure(
            &format!("{title}resident idle, after the run"),
            mebibytes(resident),
            "MiB",
            Goal::None,
        );
        report.figure(
            &format!("{title}resident at the peak"),
            mebibytes(used.peak),
            "MiB",
            Goal::AtMost(45.0),
        );
        report.figure(
            &format!("{title}threads after the run"),
            f64::from(u32::try_from(used.threads).unwrap_or(0)),
            "",
            Goal::None,
        );
        Ok(())
    }

    fn create_and_delete(
        &self,
        in_flight: usize,
        count: usize,
        cpu: &mut (Duration, usize),
        report: &mut Report,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        let (mut create, mut delete) = (Pair::default(), Pair::default());
        for round in 0..self.plan.rounds {
            let names = names(&format!("crowd-{in_flight}-{round}"), count);
            self.quiet()?;
            let (samples, volumes) = self.floor.create(&names, in_flight)?;
            create.floor.add(samples);
            let before = self.contender.process_use()?.processor;
            let (samples, handles) = self.contender.create(&names, in_flight)?;
            cpu.0 += self
                .contender
                .process_use()?
                .processor
                .saturating_sub(before);
            cpu.1 += count;
            create.driver.add(samples);
            delete.floor.add(self.floor.delete(&volumes, in_flight)?);
            self.quiet()?;
            delete
                .driver
                .add(self.contender.delete(&handles, in_flight)?);
        }
        let crowd = format!("{in_flight} in flight");
        screen.line(&format!("create and delete, {crowd}: done"));
        let alone = in_flight == 1;
        let (created, deleted) = if alone {
            (self.goals.create, self.goals.delete)
        } else {
            (self.goals.create_crowd, self.goals.delete_crowd)
        };
        let title = self.title;
        report.pair(
            &format!("{title}create, {crowd}"),
            &create.driver,
            &create.floor,
            created,
        );
        report.pair(
            &format!("{title}delete, {crowd}"),
            &delete.driver,
            &delete.floor,
            deleted,
        );
        Ok(())
    }

    fn expand(&self, report: &mut Report, screen: &mut Screen) -> Result<(), Failure> {
        let names = names("expand", self.plan.expansions);
        self.quiet()?;
        let (_, handles) = self.contender.create(&names, 8)?;
        let (_, volumes) = self.floor.create(&names, 8)?;
        let mut pair = Pair::default();
        for round in 1..=self.plan.rounds {
            let bytes = BYTES * i64::try_from(round + 1).unwrap_or(2);
            pair.floor.add(self.floor.expand(&volumes, bytes)?);
            pair.driver.add(self.contender.expand(&handles, bytes)?);
        }
        screen.line("expand: done");
        report.pair(
            &format!("{}expand, 1 in flight", self.title),
            &pair.driver,
            &pair.floor,
            self.goals.expand,
        );
        self.floor.delete(&volumes, 8)?;
        self.contender.delete(&handles, 8).map(drop)
    }

    /// Repeats a finished create while more and more volumes exist.
    fn repeat(&self, report: &mut Report, screen: &mut Screen) -> Result<(), Failure> {
        let (_, mut handles) = self.contender.create(&names("repeat", 1), 1)?;
        let same = vec!["bench-repeat-0".to_owned(); self.plan.repeats];
        let mut there = 0;
        for count in self.plan.volumes.clone() {
            let fill = names(&format!("fill-{count}"), count.saturating_sub(there));
            let (samples, more) = self.contender.create(&fill, 32)?;
            if !more.is_empty() {
                let took = seconds(Duration::from_secs_f64(
                    at(more.len()) / samples.per_second().max(1e-9),
                ));
                screen.line(&format!("{} more volumes in {took}", more.len()));
            }
            there += more.len();
            handles.extend(more);
            self.quiet()?;
            let (samples, again) = self.contender.create(&same, 1)?;
            if again.iter().any(|handle| Some(handle) != handles.first()) {
                return Err(Failure::new("a repeated create gave another handle"));
            }
            let name = format!("{}repeated create, {count} volumes", self.title);
            report.single(&name, &samples, self.goals.repeat);
        }
        screen.line("repeated create: done");
        self.contender.delete(&handles, 32).map(drop)
    }

    /// Waits until Ceph has done what it does after a delete, which would disturb the next block.
    fn quiet(&self) -> Result<(), Failure> {
        until("the manager is idle", Duration::from_secs(600), || {
            self.floor.quiet(self.cluster)
        })?;
        Ok(())
    }
}

fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("bench-{kind}-{number}"))
        .collect()
}
