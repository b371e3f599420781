//! Waiting until a server that was just started answers.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::servers::server::Home;

/// Between two looks at a server that is starting.
const PAUSE: Duration = Duration::from_millis(10);
/// One look may take this long.
const LOOK: Duration = Duration::from_secs(1);

/// Between two questions whether it has ended.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Why a server did not become ready.
pub(crate) enum NotReady {
    /// It ended.
    Ended,
    /// The deadline passed; what the last look found.
    Late(String),
}

/// Looks until `look` is satisfied, the server has ended, or `deadline` passed.
///
/// Whether it has ended is asked after the first look and then every [`ASK_AGAIN`]: for a container it is a question to the engine.
pub(crate) async fn until<L, F>(deadline: Duration, home: &Home, mut look: L) -> Result<(), NotReady>
where
    L: FnMut() -> F,
    F: Future<Output = Result<(), String>>,
{
    let over = Instant::now() + deadline;
    let mut ask = Instant::now();
    loop {
        let last = match timeout(LOOK, look()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(last)) => last,
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() >= ask {
            if home.ended().await {
                return Err(NotReady::Ended);
            }
            ask = Instant::now() + ASK_AGAIN;
        }
        if Instant::now() >= over {
            return Err(NotReady::Late(last));
        }
        sleep(PAUSE).await;
    }
}
