//! Logs on standard error, as text or as JSON, one line an event.

use std::any::Any;
use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::{Layer, fmt};

use crate::settings::{LogFormat, LogSettings};

/// Starts logging for the whole process and routes panics into the log. A second call changes
/// nothing.
pub fn start(settings: LogSettings) {
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_target(true)
        .with_ansi(false);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Text => lines.with_filter(targets(settings.level)).boxed(),
        LogFormat::Json => lines
            .json()
            .with_current_span(true)
            .with_span_list(false)
            .with_filter(targets(settings.level))
            .boxed(),
    };
    let subscriber = Registry::default().with(layer);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        log_panics();
    }
}

/// Our own events at the wanted level; those of libraries only when they are warnings, for their
/// debug lines drown ours.
fn targets(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("cuttle", level)
        .with_target("ceph", level)
}

fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let message = message(panic.payload());
        let thread = std::thread::current()
            .name()
            .unwrap_or("unnamed")
            .to_owned();
        tracing::error!(target: "cuttle", place, message, thread, "a thread panicked");
    }));
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let owned = || payload.downcast_ref::<String>().map(String::as_str);
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(owned)
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_are_heard_only_when_they_warn() {
        let filter = targets(LevelFilter::DEBUG);
        for ours in [
            "cuttle_server::rim",
            "cuttle::door",
            "ceph::image",
            "cuttle",
        ] {
            assert!(filter.would_enable(ours, &Level::DEBUG), "{ours}");
            assert!(!filter.would_enable(ours, &Level::TRACE), "{ours}");
        }
        assert!(!filter.would_enable("h2::proto", &Level::INFO));
        assert!(filter.would_enable("h2::proto", &Level::WARN));
    }
}
