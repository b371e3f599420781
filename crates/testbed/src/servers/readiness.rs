//! Waiting until a server that was just started is ready.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::servers::instance::Instance;

/// Between two probes of a starting server.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);
/// For one probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two checks whether the server has ended.
const EXIT_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// The reason why a server did not become ready.
pub(crate) enum NotReady {
    /// The server ended.
    Ended,
    /// The deadline passed; the result of the last probe.
    TimedOut(String),
}

/// Probes until `probe` succeeds, the server has ended, or `deadline` has passed.
///
/// The end of the server is checked after the first probe and then every [`EXIT_CHECK_INTERVAL`]: for a container each
/// check is a command to the engine.
pub(crate) async fn until<P, F>(deadline: Duration, instance: &Instance, mut probe: P) -> Result<(), NotReady>
where
    P: FnMut() -> F,
    F: Future<Output = Result<(), String>>,
{
    let give_up_at = Instant::now() + deadline;
    let mut next_exit_check = Instant::now();
    loop {
        let last = match timeout(PROBE_TIMEOUT, probe()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(last)) => last,
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() >= next_exit_check {
            if instance.ended().await {
                return Err(NotReady::Ended);
            }
            next_exit_check = Instant::now() + EXIT_CHECK_INTERVAL;
        }
        if Instant::now() >= give_up_at {
            return Err(NotReady::TimedOut(last));
        }
        sleep(PROBE_INTERVAL).await;
    }
}
