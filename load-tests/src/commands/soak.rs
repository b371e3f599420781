//! `oversell soak`: sells under random faults until the time is over or an audit fails.

use anyhow::Context as _;

use super::binaries;
use crate::cli::SoakArgs;
use crate::interrupt::Interrupt;
use crate::runner::soak::Soak;

pub(super) async fn run(args: SoakArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::listen().context("signal handlers cannot be installed")?;
    let soak = Soak { plan: args.plan(), binaries: binaries::folder()?, folder: args.report };
    Ok(soak.run(&interrupt).await?.exit_status())
}
