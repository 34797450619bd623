//! The cuttle binary.
fn main() {}
