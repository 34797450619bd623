//! The instrumented door for outside calls: span, duration, deadline and fault injection.
