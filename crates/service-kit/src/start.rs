//! Starting a service: reads its configuration, runs it, and reports in one line why it did not start or why it ended.
//!
//! Exit codes: 0 for a clean end, 2 for a configuration that cannot work, 1 for everything else.
//! Absence: no backtrace; the chain of causes says what failed, and for what.

use std::{ffi::OsString, fmt, net::SocketAddr, process::ExitCode};

use anyhow::Context as _;
use clap::{
    CommandFactory, Parser,
    error::{ContextKind, ContextValue},
};
use mimalloc::MiMalloc;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{config::TelemetryArgs, telemetry};

/// An order makes hundreds of small allocations, on one thread, that another thread frees.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The exit code of a configuration that cannot work, as clap has it.
const CONFIGURATION: u8 = 2;

/// Context of an error: the settings that are wrong. A service whose error has it exits with code 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting(pub &'static str);

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Runs `service` with the configuration from flags and environment, on a runtime of its own; telemetry is flushed in the
/// end. What still blocks a thread then does not delay the end of the process: a look-up of a name cannot be cancelled.
pub fn run<C: Parser>(
    name: &'static str,
    telemetry: impl FnOnce(&C) -> &TelemetryArgs,
    service: impl AsyncFnOnce(&C) -> anyhow::Result<()>,
) -> ExitCode {
    let config = match read::<C>(std::env::args_os()) {
        Ok(config) => config,
        // `--help` and `--version` are for standard output, as they are.
        Err(error) if !error.use_stderr() => error.exit(),
        Err(error) => {
            eprintln!("{name}: {}", one_line(&refusal::<C>(&error)));
            return ExitCode::from(CONFIGURATION);
        }
    };
    let ran = Runtime::new().context("no runtime").and_then(|runtime| {
        let ran = runtime.block_on(async {
            let spans = telemetry::init(name, telemetry(&config));
            let ran = service(&config).await;
            spans.shutdown().await;
            ran
        });
        runtime.shutdown_background();
        ran
    });
    let Err(error) = ran else { return ExitCode::SUCCESS };
    eprintln!("{name}: {}", one_line(&causes(&error)));
    if error.is::<Setting>() { ExitCode::from(CONFIGURATION) } else { ExitCode::FAILURE }
}

/// Listens on the address of `setting`.
///
/// # Errors
/// The address cannot be listened on; the error names the setting.
pub async fn listen(setting: Setting, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{setting}: listening on {address} failed"))
}

fn read<C: Parser>(args: impl IntoIterator<Item = OsString>) -> Result<C, clap::Error> {
    C::try_parse_from(args)
}

/// What clap says about the value, without usage and hints, and the variable that may have set it.
fn refusal<C: CommandFactory>(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let ends = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more information");
    let said: Vec<_> = text.lines().take_while(ends).collect();
    let said = said.join("\n");
    let said = said.trim().trim_start_matches("error: ");
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => match variable::<C>(flag) {
            Some(variable) => format!("{said} (the flag, or {variable})"),
            None => said.to_owned(),
        },
        _ => said.to_owned(),
    }
}

/// The variable of a flag that clap names as `--flag <VALUE>`.
fn variable<C: CommandFactory>(flag: &str) -> Option<String> {
    let long = flag.split_whitespace().next()?.strip_prefix("--")?;
    let command = C::command();
    let arg = command.get_arguments().find(|arg| arg.get_long() == Some(long))?;
    Some(arg.get_env()?.to_string_lossy().into_owned())
}

/// The error and its causes. Many errors end with their cause already, which is not said twice.
fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        before if before.ends_with(&cause) => said,
        before => format!("{before}: {cause}"),
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Config {
        /// A number.
        #[arg(long, env = "A_TEST_POOL", value_parser = clap::value_parser!(u32).range(1..=9))]
        pool: u32,
    }

    fn refused(args: &[&str]) -> String {
        let args = args.iter().map(OsString::from);
        one_line(&refusal::<Config>(&read::<Config>(args).expect_err("a refusal")))
    }

    #[test]
    fn a_refused_value_is_one_line_with_flag_variable_and_range() {
        let line = "invalid value '0' for '--pool <POOL>': 0 is not in 1..=9 (the flag, or A_TEST_POOL)";
        assert_eq!(refused(&["test", "--pool=0"]), line);
    }

    #[test]
    fn a_missing_flag_is_one_line_without_the_usage() {
        assert_eq!(refused(&["test"]), "the following required arguments were not provided: --pool <POOL>");
    }

    #[test]
    fn a_setting_is_recognised_below_other_context() {
        let error = Err::<(), _>(anyhow::anyhow!("no port")).context(Setting("A_URL")).context("starting");
        let error = error.expect_err("an error");
        assert!(error.is::<Setting>());
        assert_eq!(causes(&error), "starting: A_URL: no port");
    }

    #[test]
    fn a_cause_that_its_error_tells_already_is_not_told_twice() {
        let error = anyhow::anyhow!("refused").context("connecting: refused").context("no database");
        assert_eq!(causes(&error), "no database: connecting: refused");
    }
}
