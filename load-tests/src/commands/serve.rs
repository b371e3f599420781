//! `oversell serve`: serves the live page of a stack until a signal.

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::{binaries, exit_status, running_stack};
use crate::cli::ServeArgs;
use crate::cluster::stack::Stack;
use crate::interrupt::Interrupt;
use crate::live;
use crate::runner::environment::Environment;

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::listen().context("signal handlers cannot be installed")?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let page = listener.local_addr().context("the live page has no address")?;
    let folder = tempfile::tempdir().context("no temporary folder for the histories of sales")?;
    let Some(target) = running_stack::find(&args.running).await? else {
        let (stack_config, binaries) = (args.stack_config(), binaries::folder()?);
        let stack = tokio::select! {
            stack = Stack::start(&stack_config, &binaries, None) => stack.context("the stack did not start")?,
            _ = interrupt.asked() => return Ok(exit_status::PASSED),
        };
        println!("http://{page}/");
        println!("To attack it:  oversell run --target '{}'", serde_json::to_string(&stack.target)?);
        println!("Ctrl-C stops the stack.");
        let served = match Environment::own_stack(&stack, folder.path()).await {
            Ok(environment) => live::serve(listener, &environment, &args.report, &interrupt).await,
            Err(error) => Err(error),
        };
        stack.shut_down().await;
        served?;
        return Ok(exit_status::PASSED);
    };
    let environment = Environment::external(&target, folder.path()).await?;
    println!("http://{page}/");
    live::serve(listener, &environment, &args.report, &interrupt).await?;
    Ok(exit_status::PASSED)
}
