//! The program: see [`inventory::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    inventory::run()
}
