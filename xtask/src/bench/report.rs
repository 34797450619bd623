//! The rows of the result, their targets, and how they are shown.

use serde_json::{Value, json};

use super::blocks::Plan;
use super::figures::Samples;
use crate::screen::{Form, Screen};

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// No target; the figure is for information.
    None,
    /// At most this.
    AtMost(f64),
    /// The middle time at most this multiple of the floor's.
    TimeRatio(f64),
    /// Operations per second at least this part of the floor's.
    RateRatio(f64),
    /// All but one in a hundred within so many milliseconds.
    SlowestAtMost(f64),
}

/// One line of the result.
#[derive(Debug)]
struct Row {
    name: String,
    driver: Value,
    floor: Value,
    /// The figure that is compared with the goal.
    value: f64,
    unit: &'static str,
    goal: Goal,
}

/// All figures of a run.
#[derive(Debug)]
pub(crate) struct Report {
    subject: String,
    plan: String,
    rows: Vec<Row>,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(subject: String, plan: &Plan) -> Self {
        Self {
            subject,
            plan: format!("{plan:?}"),
            rows: Vec::new(),
        }
    }

    /// Notes an operation that the floor has done too.
    pub(crate) fn pair(&mut self, name: &str, driver: &Samples, floor: &Samples, goal: Goal) {
        let ratio = |own: f64, other: f64| if other > 0.0 { own / other } else { f64::NAN };
        let (value, unit) = match goal {
            Goal::RateRatio(_) => (
                ratio(driver.per_second(), floor.per_second()),
                "of its rate",
            ),
            Goal::SlowestAtMost(_) => (driver.p99(), "ms at p99"),
            Goal::None | Goal::AtMost(_) | Goal::TimeRatio(_) => {
                (ratio(driver.p50(), floor.p50()), "x its time")
            }
        };
        let (driver, floor) = (describe(driver), describe(floor));
        self.rows.push(Row {
            name: name.to_owned(),
            driver,
            floor,
            value,
            unit,
            goal,
        });
    }

    /// Notes an operation that has no floor; its middle time is the figure.
    pub(crate) fn single(&mut self, name: &str, samples: &Samples, goal: Goal) {
        let (value, driver) = (samples.p50(), describe(samples));
        let floor = Value::Null;
        self.rows.push(Row {
            name: name.to_owned(),
            driver,
            floor,
            value,
            unit: "ms",
            goal,
        });
    }

    /// Notes a plain figure.
    pub(crate) fn figure(&mut self, name: &str, value: f64, unit: &'static str, goal: Goal) {
        let (driver, floor) = (Value::Null, Value::Null);
        self.rows.push(Row {
            name: name.to_owned(),
            driver,
            floor,
            value,
            unit,
            goal,
        });
    }

    /// Whether every target is met.
    pub(crate) fn is_met(&self) -> bool {
        self.rows.iter().all(|row| row.met() != Some(false))
    }

    /// Shows the table, or prints the document.
    pub(crate) fn show(&self, screen: &mut Screen) {
        if screen.form() == Form::Json {
            screen.json(&self.json());
            return;
        }
        screen.line("");
        screen.title(&format!("Measured: {}", self.subject));
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.cells(screen)).collect();
        let head = [
            "",
            "driver p50",
            "p99",
            "per s",
            "floor p50",
            "p99",
            "per s",
            "figure",
            "target",
            "",
        ];
        screen.table(
            &head,
            &[
                "driver p50",
                "p99",
                "per s",
                "floor p50",
                "figure",
                "target",
            ],
            &rows,
        );
        screen.line(
            "Times in ms. The floor is the bare library doing the same work in the same run; the \
             figure compares the driver with it.",
        );
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name, "driver": row.driver, "floor": row.floor,
                    "value": row.value, "unit": row.unit,
                    "target": row.goal.text(), "met": row.met(),
                })
            })
            .collect();
        json!({ "subject": self.subject, "plan": self.plan, "met": self.is_met(), "rows": rows })
    }
}

impl Row {
    fn met(&self) -> Option<bool> {
        match self.goal {
            Goal::None => None,
            Goal::AtMost(most) | Goal::TimeRatio(most) | Goal::SlowestAtMost(most) => {
                Some(self.value <= most)
            }
            Goal::RateRatio(least) => Some(self.value >= least),
        }
    }

    fn cells(&self, screen: &Screen) -> Vec<String> {
        let cell = |side: &Value, name: &str| match side.get(name).and_then(Value::as_f64) {
            Some(number) => short(number),
            None => String::new(),
        };
        let mut cells = vec![self.name.clone()];
        for side in [&self.driver, &self.floor] {
            cells.extend(["p50_ms", "p99_ms", "per_second"].map(|name| cell(side, name)));
        }
        cells.push(format!("{} {}", short(self.value), self.unit));
        cells.push(self.goal.text());
        cells.push(match self.met() {
            Some(true) => screen.judged(true, "ok"),
            Some(false) => screen.judged(false, "missed"),
            None => String::new(),
        });
        cells
    }
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::AtMost(most) | Self::TimeRatio(most) | Self::SlowestAtMost(most) => {
                format!("<= {most}")
            }
            Self::RateRatio(least) => format!(">= {least}"),
        }
    }
}

fn describe(samples: &Samples) -> Value {
    json!({
        "count": samples.count(), "p50_ms": samples.p50(), "p99_ms": samples.p99(),
        "per_second": samples.per_second(),
    })
}

/// Three digits that matter.
fn short(number: f64) -> String {
    if number >= 100.0 {
        format!("{number:.0}")
    } else if number >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn samples(milliseconds: u64) -> Samples {
        let time = Duration::from_millis(milliseconds);
        Samples::new(vec![time; 10], time * 10)
    }

    #[test]
    fn a_target_is_missed_only_beyond_its_bound() {
        let plan = Plan::new(true, None);
        let mut report = Report::new("test".to_owned(), &plan);
        report.pair("alone", &samples(12), &samples(10), Goal::TimeRatio(1.2));
        report.pair("crowd", &samples(10), &samples(9), Goal::RateRatio(0.9));
        report.single("repeat", &samples(1), Goal::AtMost(1.0));
        report.figure("memory", 1000.0, "MiB", Goal::None);
        assert!(report.is_met(), "{report:?}");
        report.pair("alone", &samples(13), &samples(10), Goal::TimeRatio(1.2));
        assert!(!report.is_met());
        assert_eq!(report.json()["rows"][4]["met"], json!(false));
        assert_eq!(report.json()["rows"][3]["met"], Value::Null);
    }
}
