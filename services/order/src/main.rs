//! The program: see [`order::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    order::run()
}
