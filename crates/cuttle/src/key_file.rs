//! A Ceph key in a file, as commands are given it.

use std::io::Read;
use std::path::Path;

use cuttle_model::Secret;

/// A key has some hundred bytes at most; what is longer is something else.
const LONGEST_KEY: u64 = 4096;

/// The key in a file; `-` is standard input.
///
/// # Errors
/// Those of reading it.
pub(crate) fn read_key(file: &str) -> std::io::Result<Secret> {
    let mut text = String::new();
    if file == "-" {
        std::io::stdin()
            .take(LONGEST_KEY)
            .read_to_string(&mut text)?;
    } else {
        std::fs::File::open(Path::new(file))?
            .take(LONGEST_KEY)
            .read_to_string(&mut text)?;
    }
    let whole = Secret::new(text);
    Ok(Secret::new(whole.expose().trim().to_owned()))
}
