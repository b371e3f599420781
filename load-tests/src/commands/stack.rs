//! `oversell stack`: starts a stack and keeps it running until a signal.

use anyhow::Context as _;

use super::{binaries, exit_status, first_order};
use crate::cli::StackArgs;
use crate::cluster::stack::Stack;
use crate::cluster::target::Target;
use crate::interrupt::Interrupt;

pub(super) async fn run(args: StackArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::listen().context("signal handlers cannot be installed")?;
    let (stack_config, binaries) = (args.stack_config.stack_config(), binaries::folder()?);
    let stack = tokio::select! {
        stack = Stack::start(&stack_config, &binaries, None) => stack.context("the stack did not start")?,
        _ = interrupt.asked() => return Ok(exit_status::PASSED),
    };
    if args.json {
        println!("{}", serde_json::to_string(&stack.target)?);
    } else {
        print(&stack.target);
    }
    interrupt.asked().await;
    stack.shut_down().await;
    Ok(exit_status::PASSED)
}

fn print(target: &Target) {
    let lists = [("order", &target.orders), ("inventory", &target.inventory), ("redis", &target.redis)];
    for (name, urls) in lists {
        println!("{name:<12}{}", urls.join("  "));
    }
    println!("{:<12}{}  {}", "postgres", target.postgres.inventory, target.postgres.order);
    println!("{:<12}{}", "token", target.inventory_token);
    for url in target.orders.iter().take(1).chain(target.inventory.iter().take(1)) {
        println!("{:<12}{url}/docs", "browse");
    }
    if let Some(commands) = first_order::commands(target) {
        println!("\nA first order, in another terminal:\n");
        for command in commands {
            println!("{command}");
        }
        println!();
    }
    println!("Ctrl-C stops the stack.");
}
