//! The program: see [`load_tests::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    load_tests::run()
}
