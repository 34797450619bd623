//! What the developer sees: progress lines with their time, verdicts, tables; colours on a terminal.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use crate::environment;

/// Lines above, below and under the head; none between rows.
const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// The form of a command's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// Lines and tables for people.
    Text,
    /// One JSON document on standard output; progress goes to standard error.
    Json,
}

/// Where progress and results go.
#[derive(Debug)]
pub(crate) struct Screen {
    form: Form,
    colours: bool,
    live: bool,
    started: Instant,
}

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const GREY: &str = "90";
const BOLD: &str = "1";

impl Screen {
    /// A screen for results in this form.
    pub(crate) fn new(form: Form) -> Self {
        let terminal = match form {
            Form::Text => std::io::stdout().is_terminal(),
            Form::Json => std::io::stderr().is_terminal(),
        };
        let colours = terminal && !environment::no_colour();
        Self {
            form,
            colours,
            live: terminal,
            started: Instant::now(),
        }
    }

    /// The form of the result.
    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// A headline.
    pub(crate) fn title(&mut self, text: &str) {
        let text = self.paint(BOLD, text);
        self.line(&text);
    }

    /// One line of progress or explanation.
    pub(crate) fn line(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// Shows that a step has begun; on a terminal its result will take the line's place.
    pub(crate) fn begin(&mut self, what: &str) {
        if self.live {
            let clock = self.clock();
            let text = self.paint(GREY, &format!("{clock} … {what}"));
            self.write(&text);
        }
    }

    /// Shows that a step has ended well.
    pub(crate) fn done(&mut self, what: &str, took: Duration, detail: &str) {
        self.end(GREEN, "ok", what, took, detail);
    }

    /// Shows that a step has failed.
    pub(crate) fn failed(&mut self, what: &str, took: Duration, detail: &str) {
        self.end(RED, "FAILED", what, took, detail);
    }

    /// Shows what a check found.
    pub(crate) fn verdict(&mut self, name: &str, errors: &[String], warnings: &[String]) {
        let word = if errors.is_empty() {
            self.paint(GREEN, "ok")
        } else {
            self.paint(RED, "FAILED")
        };
        self.line(&format!("{name:<10} {word}"));
        for text in warnings {
            let word = self.paint(YELLOW, "warning");
            self.line(&format!("  {word} {text}"));
        }
        for text in errors {
            let word = self.paint(RED, "error");
            self.line(&format!("  {word} {text}"));
        }
    }

    /// Shows a table for people. Columns of which the head is in `right` are set to the right.
    pub(crate) fn table<C: Display>(&mut self, head: &[&str], right: &[&str], rows: &[Vec<C>]) {
        let mut table = Table::new();
        table.load_style(STYLE).set_header(head.iter().copied());
        for row in rows {
            table.add_row(row.iter().map(ToString::to_string));
        }
        for (place, name) in head.iter().enumerate() {
            if let Some(column) = table.column_mut(place).filter(|_| right.contains(name)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.line(&table.to_string());
    }

    /// Prints the result document on standard output.
    pub(crate) fn json(&mut self, document: &serde_json::Value) {
        // A reader that has gone away is no reason to fail.
        drop(writeln!(std::io::stdout().lock(), "{document:#}"));
    }

    /// A word in the colour of good or bad.
    pub(crate) fn judged(&self, good: bool, text: &str) -> String {
        self.paint(if good { GREEN } else { RED }, text)
    }

    fn end(&mut self, colour: &str, word: &str, what: &str, took: Duration, detail: &str) {
        let clock = self.clock();
        let word = self.paint(colour, word);
        let detail = self.paint(GREY, detail);
        let erase = if self.live { "\r\u{1b}[2K" } else { "" };
        let took = seconds(took);
        self.write(&format!(
            "{erase}{clock} {word} {took:>9}  {what:<34} {detail}\n"
        ));
    }

    fn clock(&self) -> String {
        format!("{:>6.1}s", self.started.elapsed().as_secs_f64())
    }

    fn paint(&self, colour: &str, text: &str) -> String {
        if self.colours && !text.is_empty() {
            format!("\u{1b}[{colour}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    fn write(&mut self, text: &str) {
        // A reader that has gone away is no reason to fail.
        match self.form {
            Form::Text => {
                let mut out = std::io::stdout().lock();
                drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
            }
            Form::Json => {
                let mut err = std::io::stderr().lock();
                drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
            }
        }
    }
}

/// A duration for people: three digits that matter.
pub(crate) fn seconds(duration: Duration) -> String {
    let value = duration.as_secs_f64();
    if value < 1.0 {
        format!("{:.1} ms", value * 1000.0)
    } else {
        format!("{value:.2} s")
    }
}
