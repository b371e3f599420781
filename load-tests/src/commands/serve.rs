//! `oversell serve`: serves the live page of a stack until a signal.

use anyhow::Context as _;
use tokio::net::TcpListener;

use super::{binaries, exit_status};
use crate::audit::Auditor;
use crate::cli::ServeArgs;
use crate::cluster::stack::Stack;
use crate::cluster::target::Target;
use crate::interrupt::Interrupt;
use crate::live::{self, Watcher};

pub(super) async fn run(args: ServeArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::listen().context("signal handlers cannot be installed")?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let page = listener.local_addr().context("the live page has no address")?;
    let (target, stack) = if args.target.is_empty() {
        let (stack_config, binaries) = (args.stack_config.stack_config(), binaries::folder()?);
        let stack = tokio::select! {
            stack = Stack::start(&stack_config, &binaries, None) => stack.context("the stack did not start")?,
            _ = interrupt.asked() => return Ok(exit_status::PASSED),
        };
        (stack.target.clone(), Some(stack))
    } else {
        (Target::find(&args.target, "").await?, None)
    };
    let databases = stack.as_ref().map_or(&target.postgres, |stack| &stack.audit);
    let watcher = Watcher::new(&target, Auditor::connect(databases).await?)?;
    println!("http://{page}/");
    if stack.is_some() {
        println!("To attack it:  oversell run --target '{}'", serde_json::to_string(&target)?);
        println!("Ctrl-C stops the stack.");
    }
    let ended = async move {
        interrupt.asked().await;
    };
    let served = live::serve(listener, watcher, ended).await;
    if let Some(stack) = stack {
        stack.shut_down().await;
    }
    served.map(|()| exit_status::PASSED)
}
