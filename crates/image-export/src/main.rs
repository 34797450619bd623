//! The export process alone, for tests; the product starts it as `cuttle image-export`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cuttle_image_export::main_from_stdin()
}
