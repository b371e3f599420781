//! One server in a container, created through testcontainers, then killed, paused and started again by the engine.
//!
//! Invariant: the watchdog knows the container's name before the engine does, and the name is ours alone.
//! Absence: the handle that testcontainers gives back is not kept. Its clean-up needs a running async runtime, which a
//! static, a panic or a signal does not have; ours is the command line in `Drop`, and the watchdog.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use testcontainers::bollard::models::{HostConfig, PortBinding};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{GenericImage, ImageExt as _};

use crate::containers::docker::{LIMIT, docker, docker_blocking, ensure_image};
use crate::containers::image::Image;
use crate::error::TestbedError;
use crate::processes::stop_policy::StopPolicy;
use crate::processes::watchdog::Watchdog;

/// What runs in a container.
#[derive(Debug)]
pub(crate) struct ContainerSpec {
    pub(crate) image: Image,
    pub(crate) args: Vec<String>,
    pub(crate) envs: Vec<(&'static str, String)>,
}

/// A container; it may be down. Dropping it removes it with its volumes.
#[derive(Debug)]
pub(crate) struct Container {
    watchdog: &'static Watchdog,
    name: String,
    addr: SocketAddr,
    spec: ContainerSpec,
    created: bool,
}

impl Container {
    /// A container that will publish its port at `addr`; nothing is created yet.
    pub(crate) fn new(kind: &str, addr: SocketAddr, spec: ContainerSpec) -> Result<Self, TestbedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let watchdog = Watchdog::get()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{kind}-{number}", watchdog.name());
        Ok(Self { watchdog, name, addr, spec, created: false })
    }

    /// Starts it; its data are those it had when it was stopped.
    pub(crate) async fn start(&mut self) -> Result<(), TestbedError> {
        if self.created {
            docker(&["start", &self.name], LIMIT).await?;
            return Ok(());
        }
        let reference = self.spec.image.reference();
        ensure_image(&reference).await?;
        self.watchdog.watch_container(&self.name);
        self.created = true;
        let (repository, tag) = split(&reference);
        let request = GenericImage::new(repository, tag)
            .with_cmd(self.spec.args.clone())
            .with_container_name(&self.name)
            .with_mapped_port(self.addr.port(), self.spec.image.port.tcp())
            .with_host_config_modifier(on_loopback_only);
        let request = self.spec.envs.iter().fold(request, |request, (key, value)| request.with_env_var(*key, value));
        let container = request
            .start()
            .await
            .map_err(|source| TestbedError::Container { image: reference, source: Box::new(source) })?;
        std::mem::forget(container);
        Ok(())
    }

    /// Whether it is certain that it does not run.
    pub(crate) async fn ended(&self) -> bool {
        let state = docker(&["inspect", "--format", "{{.State.Running}}", &self.name], LIMIT).await;
        state.is_ok_and(|running| running == "false")
    }

    /// Sends the signal and returns when it has ended; kills it when the grace is over.
    pub(crate) async fn stop(&mut self, policy: StopPolicy) {
        if !self.created {
            return;
        }
        // Each of these fails when there is nothing to do.
        let _ = docker(&["unpause", &self.name], LIMIT).await;
        let _ = docker(&["kill", "--signal", policy.signal_name(), &self.name], LIMIT).await;
        let grace = policy.grace() + Duration::from_secs(5);
        if docker(&["wait", &self.name], grace).await.is_err() {
            let _ = docker(&["kill", &self.name], LIMIT).await;
            let _ = docker(&["wait", &self.name], LIMIT).await;
        }
    }

    pub(crate) fn pause(&self) {
        self.run_verb("pause");
    }

    pub(crate) fn resume(&self) {
        self.run_verb("unpause");
    }

    fn run_verb(&self, verb: &str) {
        if let Err(error) = docker_blocking(&[verb, &self.name]) {
            tracing::warn!(%error, "the engine did not obey");
        }
    }

    /// The last `lines` lines of what it printed.
    pub(crate) fn log_tail(&self, lines: usize) -> String {
        let output = std::process::Command::new("docker")
            .args(["logs", "--tail", &lines.to_string(), &self.name])
            .stdin(std::process::Stdio::null())
            .output();
        output.map_or_else(
            |error| error.to_string(),
            |output| [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat(),
        )
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.created {
            match docker_blocking(&["rm", "--force", "--volumes", &self.name]) {
                Ok(_) => self.watchdog.forget_container(&self.name),
                Err(error) => {
                    tracing::warn!(%error, "a container of the testbed could not be removed yet");
                }
            }
        }
    }
}

/// Published ports are open to the whole network otherwise, and these servers ask for no password.
fn on_loopback_only(config: &mut HostConfig) {
    let bindings = config.port_bindings.iter_mut().flat_map(|ports| ports.values_mut()).flatten();
    for binding in bindings.flatten() {
        *binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: binding.host_port.take() };
    }
}

/// `repository:tag` apart; the colon of a registry's port is none of the tag's.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_port_in_a_registry_name_is_not_a_tag() {
        assert_eq!(split("redis:8.0"), ("redis", "8.0"));
        assert_eq!(split("registry:5000/redis"), ("registry:5000/redis", "latest"));
        assert_eq!(split("registry:5000/redis:8.0"), ("registry:5000/redis", "8.0"));
        assert_eq!(split("redis@sha256:ab"), ("redis@sha256", "ab"));
    }
}
