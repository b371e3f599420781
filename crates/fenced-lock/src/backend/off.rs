//! No lock at all, behind the same interface: everybody is granted at once, nobody gets a token.
//! It exists to show what happens without a lock; nothing here protects anything.

use tokio::time::Instant;

use crate::grant::{Acquired, HeldLock};
use crate::locks::Request;

/// Grants whatever is asked for.
pub(crate) fn acquire(request: &Request) -> Acquired {
    Acquired {
        owner: "nobody".into(),
        tokens: request.resources.iter().map(|_| None).collect(),
        valid_until: Instant::now() + request.lease.usable(),
        held: HeldLock::Off,
    }
}
