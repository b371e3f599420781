//! One caller that waits: its registration at the nodes, its wake signal, and how long it sleeps between two
//! attempts.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::client::RedlockClient;
use super::node_set::NodeSet;
use super::scripts::{self, Keys, WaiterId};
use super::stragglers::StragglerCalls;
use super::waiter_registry::Registration;
use crate::request::Request;

/// The longest time between two attempts; each attempt also renews the registration at the nodes.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);

/// Why an attempt was not granted.
#[derive(Debug)]
pub(super) struct Contention {
    /// How long the holders' leases keep a quorum from being free, as far as the nodes reported it.
    pub(super) remaining: Duration,
    /// Whether some nodes granted it: several callers tried at once, or a release is under way.
    pub(super) collided: bool,
}

#[derive(Debug)]
pub(super) struct Waiter {
    client: Arc<RedlockClient>,
    keys: Arc<Keys>,
    pub(super) id: WaiterId,
    pub(super) registration: Registration,
    /// Whether any node may have this waiter in its wait list.
    registered: bool,
    /// Registrations at nodes that are still being connected to.
    stragglers: Option<StragglerCalls>,
    collisions: u32,
    runtime: Handle,
}

impl Waiter {
    pub(super) fn new(client: &Arc<RedlockClient>, request: &Request, keys: &Arc<Keys>) -> Self {
        let owners = &client.owners;
        Self {
            client: Arc::clone(client),
            keys: Arc::clone(keys),
            id: WaiterId {
                name: format!("{}:{}", owners.client_id(), owners.next_number()),
                since: scripts::unix_micros(),
            },
            registration: client.registry.register(&request.resources),
            registered: false,
            stragglers: None,
            collisions: 0,
            runtime: Handle::current(),
        }
    }

    /// Called before each attempt, which registers this waiter. Returns whether it may be registered already.
    pub(super) fn start_attempt(&mut self) -> bool {
        self.stragglers = None;
        self.registration.reset();
        std::mem::replace(&mut self.registered, true)
    }

    /// Keeps `stragglers` until the next attempt, or until this waiter gives up.
    pub(super) fn keep_sending(&mut self, stragglers: StragglerCalls) {
        self.stragglers = Some(stragglers);
    }

    /// Sleeps until the nodes wake this waiter, at the latest until the holders' leases may have ended.
    pub(super) async fn sleep_until_possibly_free(&mut self, contention: &Contention, deadline: Instant) {
        let sleep = if contention.collided {
            // Callers that collided must not collide again: each of them waits for a different time.
            self.collisions += 1;
            let longest = Duration::from_millis(1 << self.collisions.min(6));
            longest.mul_f64(rand::random()).min(contention.remaining + Duration::from_millis(1))
        } else {
            self.collisions = 0;
            let jitter = (contention.remaining / 20).clamp(Duration::from_millis(1), Duration::from_millis(20));
            contention.remaining + Duration::from_millis(1) + jitter.mul_f64(rand::random())
        };
        let latest = deadline.min(Instant::now() + sleep.min(LONGEST_SLEEP));
        let _ = tokio::time::timeout_at(latest, self.registration.notified(self.client.quorum())).await;
    }

    /// The lock was granted: its release removes the registration.
    pub(super) fn leave_registration_to_grant(&mut self) {
        self.stragglers = None;
        self.registered = false;
    }
}

impl Drop for Waiter {
    /// Removes the registration at the nodes. A release that selected this waiter is passed on to the next one.
    fn drop(&mut self) {
        // First of all: from here on a release in this process no longer selects this waiter, and wakes others.
        self.registration.stop();
        self.stragglers = None;
        if self.registered {
            self.client.release_detached(NodeSet::ALL, &self.keys, "-", Some(&self.id), &self.runtime);
        }
    }
}
