//! Waiting until a server that was just started answers.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::servers::instance::Instance;

/// Between two looks at a server that is starting.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);
/// One probe may take this long.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two questions whether it has ended.
const EXIT_CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Why a server did not become ready.
pub(crate) enum NotReady {
    /// It ended.
    Ended,
    /// The deadline passed; what the last probe found.
    TimedOut(String),
}

/// Looks until `probe` is satisfied, the server has ended, or `deadline` passed.
///
/// Whether it has ended is asked after the first probe and then every [`EXIT_CHECK_INTERVAL`]: for a container it is a question to the engine.
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
