//! Wiring only: arguments in, exit status out.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use load_tests::audit::{Auditor, Quiescence, Statement, wait_until_quiescent};
use load_tests::cli::{AuditArgs, Cli, Command, CostArgs, RunArgs, ServeArgs, SoakArgs, StackArgs};
use load_tests::cluster::stack::Stack;
use load_tests::cluster::target::{Databases, Target};
use load_tests::interrupt::Interrupt;
use load_tests::live::Watcher;
use load_tests::report::baseline::Baseline;
use load_tests::runner::experiment::Experiment;
use load_tests::runner::soak::Soak;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

const BROKEN: u8 = 1;
const COULD_NOT: u8 = 3;
/// How long snapshot may take to come to rest before somebody else's databases are audited.
const QUIET_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // What Postgres says as it is crashed on purpose is no news.
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,sqlx::postgres::notice=off"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(colours).with_env_filter(filter).init();
    let done = match cli.command {
        Command::Run(args) => run(*args).await,
        Command::Stack(args) => stack(args).await,
        Command::Audit(args) => audit(args).await,
        Command::Soak(args) => soak(args).await,
        Command::Cost(args) => cost(args).await,
        Command::Serve(args) => serve(args).await,
    };
    match done {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            // One plain sentence: what could not be done, and the causes behind it.
            eprintln!("oversell: {error:#}");
            ExitCode::from(COULD_NOT)
        }
    }
}

async fn run(args: RunArgs) -> anyhow::Result<u8> {
    let mut plan = args.plan().unwrap_or_else(|error| error.exit());
    let interrupt = Interrupt::listen().context("signals cannot be listened to")?;
    let target = match args.target.as_slice() {
        [] => None,
        words => Some(Target::find(words, &args.inventory_token).await?),
    };
    if let Some(target) = &target {
        (plan.stack_config.redis_nodes, plan.stack_config.replicas) = (target.redis.len(), target.orders.len());
    }
    // Before the run: it may lie where the new report goes.
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose()?;
    let experiment = Experiment { plan, target, binaries: beside_this()?, folder: args.report, baseline };
    let verdict = experiment.run(&interrupt).await?;
    if let ([why, ..], 3) = (verdict.why_not.as_slice(), verdict.exit_status()) {
        eprintln!("oversell: void: {why}");
    }
    Ok(verdict.exit_status())
}

async fn soak(args: SoakArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::listen().context("signals cannot be listened to")?;
    let soak = Soak { plan: args.plan(), binaries: beside_this()?, folder: args.report };
    Ok(soak.run(&interrupt).await?.exit_status())
}

async fn cost(args: CostArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::listen().context("signals cannot be listened to")?;
    args.cost(beside_this()?).run(&interrupt).await?;
    Ok(interrupt.by().map_or(0, |_| COULD_NOT))
}

async fn stack(args: StackArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::listen().context("signals cannot be listened to")?;
    let (stack_config, binaries) = (args.stack_config.stack_config(), beside_this()?);
    let stack = tokio::select! {
        stack = Stack::start(&stack_config, &binaries, None) => stack.context("the stack did not come up")?,
        _ = interrupt.asked() => return Ok(0),
    };
    if args.json {
        println!("{}", serde_json::to_string(&stack.target)?);
    } else {
        describe(&stack.target);
    }
    interrupt.asked().await;
    stack.shut_down().await;
    Ok(0)
}

async fn serve(args: ServeArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::listen().context("signals cannot be listened to")?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("{} is not free", args.listen))?;
    let page = listener.local_addr().context("the live page has no address")?;
    let (target, stack) = if args.target.is_empty() {
        let (stack_config, binaries) = (args.stack_config.stack_config(), beside_this()?);
        let stack = tokio::select! {
            stack = Stack::start(&stack_config, &binaries, None) => stack.context("the stack did not come up")?,
            _ = interrupt.asked() => return Ok(0),
        };
        (stack.target.clone(), Some(stack))
    } else {
        (Target::find(&args.target, "").await?, None)
    };
    let databases = stack.as_ref().map_or(&target.postgres, |stack| &stack.audit);
    let watcher = Watcher::new(&target, Auditor::connect(databases).await?)?;
    println!("http://{page}/");
    if stack.is_some() {
        println!("Attack it:  oversell run --target '{}'", serde_json::to_string(&target)?);
        println!("Ctrl-C ends it.");
    }
    let ended = async move {
        interrupt.asked().await;
    };
    let served = load_tests::live::serve(listener, watcher, ended).await;
    if let Some(stack) = stack {
        stack.shut_down().await;
    }
    served.map(|()| 0)
}

fn describe(target: &Target) {
    let listed = [("order", &target.orders), ("inventory", &target.inventory), ("redis", &target.redis)];
    for (name, urls) in listed {
        println!("{name:<12}{}", urls.join("  "));
    }
    println!("{:<12}{}  {}", "postgres", target.postgres.inventory, target.postgres.order);
    println!("{:<12}{}", "token", target.inventory_token);
    println!("Ctrl-C ends it.");
}

async fn audit(args: AuditArgs) -> anyhow::Result<u8> {
    let auditor = Auditor::connect(&Databases::among(&args.postgres).await?).await?;
    if let Quiescence::NotReached(what) = wait_until_quiescent(&auditor, None, QUIET_WITHIN).await? {
        anyhow::bail!("an audit while something is in flight proves nothing: {what}");
    }
    let statement = Statement::take(&auditor, &args.history).await?;
    print!("{statement}");
    Ok(match (statement.passed, statement.is_broken()) {
        (true, _) => 0,
        (false, true) => BROKEN,
        (false, false) => COULD_NOT,
    })
}

/// The services are found beside this program.
fn beside_this() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("this program does not know where it is")?;
    program.parent().map(PathBuf::from).context("this program is nowhere")
}
