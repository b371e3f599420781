//! The container engine, asked through its command line: is it there, has it an image, and the faults that
//! testcontainers has no call for (kill, pause, a second start).
//!
//! Absence: containers are not created here; see `container`.

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::timeout;

use crate::error::TestbedError;

/// For every command that only talks to the engine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// For getting an image from a registry.
const PULL_LIMIT: Duration = Duration::from_mins(3);

/// Runs `docker` with these arguments; its standard output, trimmed.
///
/// # Cancel safety: the command line is killed; the engine may still do what it was asked for.
pub(crate) async fn docker(args: &[&str], limit: Duration) -> Result<String, TestbedError> {
    let mut command = tokio::process::Command::new("docker");
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(limit, command.output()).await;
    let output = output.map_err(|_| failed(args, format!("no answer within {limit:?}")))?;
    output_of(args, output)
}

/// The same, blocking, for callers that cannot await.
pub(crate) fn docker_blocking(args: &[&str]) -> Result<String, TestbedError> {
    output_of(args, Command::new("docker").args(args).stdin(Stdio::null()).output())
}

/// Whether an engine answers.
pub(crate) async fn ping() -> Result<(), TestbedError> {
    docker(&["version", "--format", "{{.Server.Version}}"], LIMIT).await.map(drop)
}

/// Makes sure that the engine has `image`, from a registry if need be.
pub(crate) async fn ensure_image(image: &str) -> Result<(), TestbedError> {
    if docker(&["image", "inspect", image], LIMIT).await.is_ok() {
        return Ok(());
    }
    docker(&["pull", "--quiet", image], PULL_LIMIT).await.map(drop)
}

fn output_of(args: &[&str], output: std::io::Result<std::process::Output>) -> Result<String, TestbedError> {
    let output = output.map_err(|error| failed(args, error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(failed(args, String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

fn failed(args: &[&str], answer: String) -> TestbedError {
    TestbedError::Engine { command: format!("docker {}", args.join(" ")), answer }
}
