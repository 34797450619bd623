//! The export process's log: standard error or a file, text or JSON.

use std::fs::OpenOptions;
use std::io;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::request::LogSettings;

/// Starts logging. If the program around has started its own, that one stays.
///
/// # Errors
/// When the log file cannot be opened.
pub(crate) fn start(settings: &LogSettings) -> io::Result<()> {
    let writer = match &settings.file {
        None => BoxMakeWriter::new(io::stderr),
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path)?;
            BoxMakeWriter::new(Mutex::new(file))
        }
    };
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        // The starter may be gone and its end of standard error closed: nobody to complain to.
        .log_internal_errors(false)
        .with_writer(writer);
    let layer = match settings.json {
        true => tracing_subscriber::Layer::boxed(layer.json().flatten_event(true)),
        false => tracing_subscriber::Layer::boxed(layer),
    };
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::Level::INFO.into())
        .parse_lossy(&settings.level);
    let registry = tracing_subscriber::registry().with(filter).with(layer);
    // Refused when a subscriber is there already, which then is the one to use.
    let _already = registry.try_init();
    Ok(())
}
