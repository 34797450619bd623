//! From wire messages to checked requests.
mod capability;
mod mistakes;
mod paths;
mod secrets;
