//! Which connections of the pool are in doubt.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{Connection as _, PgConnection, pool::PoolConnectionMetadata};
use tokio::time::{Instant, timeout};

/// How long an idle connection that is in doubt may take to answer.
const PING_LIMIT: Duration = Duration::from_millis(250);

/// What the failures so far say about the connections that exist.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Doubts>);

#[derive(Debug, Clone, Copy, Default)]
struct Doubts {
    /// Connections made before are not used again.
    reject_made_before: Option<Instant>,
    /// Connections that have been idle since before must answer a ping first.
    test_idle_since: Option<Instant>,
}

impl Health {
    /// A connection has ended, fallen silent or become read-only: those made before it failed share its fate.
    pub(crate) fn reject_older(&self) {
        self.doubts().reject_made_before = Some(Instant::now());
    }

    /// A connection did not answer, perhaps only because its statement still runs: idle ones answer a ping before use.
    pub(crate) fn test_idle(&self) {
        self.doubts().test_idle_since = Some(Instant::now());
    }

    /// Whether an idle connection may be handed out; otherwise the pool makes a new one.
    pub(crate) async fn is_usable(&self, connection: &mut PgConnection, meta: PoolConnectionMetadata) -> bool {
        let Doubts { reject_made_before, test_idle_since } = *self.doubts();
        let now = Instant::now();
        if reject_made_before.is_some_and(|failed| failed + meta.age >= now) {
            // `failed >= now - age` without a subtraction that could underflow.
            return false;
        }
        if test_idle_since.is_some_and(|doubted| doubted + meta.idle_for >= now) {
            return matches!(timeout(PING_LIMIT, connection.ping()).await, Ok(Ok(())));
        }
        true
    }

    fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
