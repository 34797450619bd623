//! The keeper's log: lines on standard error, which is the driver's.
//!
//! Hand-made: a subscriber for `tracing` would be most of the keeper's memory.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Writes lines of a form.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    json: bool,
    volume: String,
}

/// How serious a line is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Level {
    Info,
    Warn,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
        }
    }
}

impl Log {
    pub(crate) fn new(json: bool, volume: &str) -> Self {
        let volume = volume.to_owned();
        Self { json, volume }
    }

    pub(crate) fn info(&self, message: &str, facts: &[(&str, &str)]) {
        self.write(Level::Info, message, facts);
    }

    pub(crate) fn warn(&self, message: &str, facts: &[(&str, &str)]) {
        self.write(Level::Warn, message, facts);
    }

    fn write(&self, level: Level, message: &str, facts: &[(&str, &str)]) {
        let line = self.line(level, message, facts);
        // The driver may be gone, and its end of the pipe with it: nobody to complain to.
        let _written = std::io::stderr().write_all(line.as_bytes());
    }

    fn line(&self, level: Level, message: &str, facts: &[(&str, &str)]) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.map_or(0.0, |since| since.as_secs_f64());
        let first = [("volume", self.volume.as_str())];
        let facts = first.iter().chain(facts);
        if self.json {
            let mut object = serde_json::Map::new();
            object.insert("timestamp".to_owned(), seconds.into());
            object.insert("level".to_owned(), level.name().into());
            object.insert("target".to_owned(), "cuttle::keeper".into());
            object.insert("message".to_owned(), message.into());
            for (name, value) in facts {
                object.insert((*name).to_owned(), (*value).into());
            }
            return format!("{}\n", serde_json::Value::Object(object));
        }
        let mut line = format!("{seconds:.3} {} cuttle::keeper: {message}", level.name());
        for (name, value) in facts {
            line.push_str(&format!(" {name}={value:?}"));
        }
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_in_either_form() {
        for json in [false, true] {
            let log = Log::new(json, "v");
            let line = log.line(Level::Warn, "died", &[("said", "a\nb\"c")]);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(line.contains("WARN") && line.contains("died"), "{line}");
            if json {
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(value["said"], "a\nb\"c");
                assert_eq!(value["volume"], "v");
            }
        }
    }
}
