//! Waiting until a server that was just started answers.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Between two looks at a server that is starting.
const PAUSE: Duration = Duration::from_millis(10);
/// One look may take this long.
const LOOK: Duration = Duration::from_secs(1);

/// Why a server did not become ready.
pub(crate) enum NotReady {
    /// It ended.
    Ended,
    /// The deadline passed; what the last look found.
    Late(String),
}

/// Looks until `look` is satisfied, the server has `ended`, or `deadline` passed.
pub(crate) async fn until<L, F>(
    deadline: Duration,
    ended: impl Fn() -> bool,
    mut look: L,
) -> Result<(), NotReady>
where
    L: FnMut() -> F,
    F: Future<Output = Result<(), String>>,
{
    let over = Instant::now() + deadline;
    loop {
        let found = timeout(LOOK, look())
            .await
            .unwrap_or_else(|_| Err("no answer".to_owned()));
        match found {
            _ if ended() => return Err(NotReady::Ended),
            Ok(()) => return Ok(()),
            Err(last) if Instant::now() >= over => return Err(NotReady::Late(last)),
            Err(_) => sleep(PAUSE).await,
        }
    }
}
