//! `oversell cost`: measures what each strategy costs.

use anyhow::Context as _;

use super::{binaries, exit_status};
use crate::cli::CostArgs;
use crate::interrupt::Interrupt;

pub(super) async fn run(args: CostArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::listen().context("signal handlers cannot be installed")?;
    args.cost(binaries::folder()?).run(&interrupt).await?;
    Ok(interrupt.by().map_or(exit_status::PASSED, |_| exit_status::VOID))
}
