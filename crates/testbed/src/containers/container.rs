//! One server in a container, created through testcontainers, then killed, paused and started again by the engine.
//!
//! Invariant: the watchdog receives the container's name before the engine does, and no other container has this name.
//! Only `create` needs testcontainers, and with it a Docker client: the feature `containers`.
//! Absence: the handle that testcontainers returns is not kept. Its clean-up needs a running async runtime, which is
//! missing in a static, a panic or a signal; the command line in `Drop` and the watchdog clean up instead.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::containers::docker::{LIMIT, docker, docker_blocking, ensure_image};
use crate::containers::image::Image;
use crate::error::TestbedError;
use crate::processes::stop_policy::StopPolicy;
use crate::processes::watchdog::Watchdog;

/// How to run a server in a container.
#[derive(Debug)]
#[cfg_attr(not(feature = "containers"), expect(dead_code, reason = "read where the container is created"))]
pub(crate) struct ContainerSpec {
    pub(crate) image: Image,
    pub(crate) args: Vec<String>,
    pub(crate) envs: Vec<(&'static str, String)>,
}

/// A container, running or not. Dropping it removes it with its volumes.
#[derive(Debug)]
pub(crate) struct Container {
    watchdog: &'static Watchdog,
    name: String,
    addr: SocketAddr,
    spec: ContainerSpec,
    created: bool,
}

impl Container {
    /// A container that will publish its port at `addr`. [`Container::start`] creates it.
    pub(crate) fn new(kind: &str, addr: SocketAddr, spec: ContainerSpec) -> Result<Self, TestbedError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let watchdog = Watchdog::get()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{kind}-{number}", watchdog.name());
        Ok(Self { watchdog, name, addr, spec, created: false })
    }

    /// Starts it, creating it at the first call. Its data survive a stop.
    pub(crate) async fn start(&mut self) -> Result<(), TestbedError> {
        if self.created {
            docker(&["start", &self.name], LIMIT).await?;
            return Ok(());
        }
        let reference = self.spec.image.reference();
        ensure_image(&reference).await?;
        self.watchdog.watch_container(&self.name);
        self.created = true;
        create(&self.name, self.addr, &self.spec).await
    }

    /// True if the engine reports that it does not run; false if the engine does not answer.
    pub(crate) async fn ended(&self) -> bool {
        let state = docker(&["inspect", "--format", "{{.State.Running}}", &self.name], LIMIT).await;
        state.is_ok_and(|running| running == "false")
    }

    /// Sends the policy's signal, kills it when the grace is over, and returns when it has ended.
    pub(crate) async fn stop(&mut self, policy: StopPolicy) {
        if !self.created {
            return;
        }
        // Each of these fails if the container is already in the state it would bring about.
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
            tracing::warn!(%error, container = self.name, "`docker {verb}` failed: the container keeps its state");
        }
    }

    /// The last `lines` lines of its output.
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
                    tracing::warn!(%error, container = self.name, "container could not be removed: the watchdog tries again when this process ends");
                }
            }
        }
    }
}

#[cfg(feature = "containers")]
async fn create(name: &str, addr: SocketAddr, spec: &ContainerSpec) -> Result<(), TestbedError> {
    use testcontainers::bollard::models::{HostConfig, PortBinding};
    use testcontainers::core::IntoContainerPort as _;
    use testcontainers::runners::AsyncRunner as _;
    use testcontainers::{GenericImage, ImageExt as _};

    // Otherwise published ports are reachable from the whole network, and these servers have no password.
    let on_loopback_only = |config: &mut HostConfig| {
        let bindings = config.port_bindings.iter_mut().flat_map(|ports| ports.values_mut()).flatten();
        for binding in bindings.flatten() {
            *binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: binding.host_port.take() };
        }
    };
    let reference = spec.image.reference();
    let (repository, tag) = split(&reference);
    let request = GenericImage::new(repository, tag)
        .with_cmd(spec.args.clone())
        .with_container_name(name)
        .with_mapped_port(addr.port(), spec.image.port.tcp())
        .with_host_config_modifier(on_loopback_only);
    let request = spec.envs.iter().fold(request, |request, (key, value)| request.with_env_var(*key, value));
    let container = request
        .start()
        .await
        .map_err(|source| TestbedError::Container { image: reference, source: Box::new(source) })?;
    std::mem::forget(container);
    Ok(())
}

#[cfg(not(feature = "containers"))]
#[expect(clippy::unused_async, reason = "as the one with containers")]
async fn create(_: &str, _: SocketAddr, _: &ContainerSpec) -> Result<(), TestbedError> {
    Err(TestbedError::NoContainers)
}

/// Splits `repository:tag`. The colon before a registry's port does not begin a tag.
#[cfg(any(feature = "containers", test))]
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
