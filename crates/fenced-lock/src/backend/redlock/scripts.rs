//! The commands of the protocol: the names of all keys, the arguments, and all of the Lua. Nothing here
//! sends a command.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Cmd, Script};

use crate::{Lease, Resource, Token};

/// How long a node keeps a waiter that does not register again. Waiters register more often.
const WAITING_TTL: Duration = Duration::from_mins(5);

static ACQUIRE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/acquire.lua")));
static SEAL: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/seal.lua")));
static EXTEND: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/extend.lua")));
static RELEASE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/release.lua")));
static YIELD: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/yield.lua")));
static RAISE: LazyLock<Lua> = LazyLock::new(|| Lua::new(include_str!("lua/raise.lua")));

struct Lua {
    source: &'static str,
    hash: String,
}

impl Lua {
    fn new(source: &'static str) -> Self {
        Self { source, hash: Script::new(source).get_hash().to_owned() }
    }
}

/// Loads every script, so that the commands only carry their hashes.
pub(super) fn load_all() -> redis::Pipeline {
    let mut load = redis::pipe();
    for script in [&ACQUIRE, &SEAL, &EXTEND, &RELEASE, &YIELD, &RAISE] {
        load.cmd("SCRIPT").arg("LOAD").arg(script.source).ignore();
    }
    load
}

/// The keys of the resources of one grant.
#[derive(Debug)]
pub(super) struct Keys(Vec<[String; 3]>);

impl Keys {
    pub(super) fn of(resources: &[Resource]) -> Self {
        let keys = |resource: &Resource| {
            let name = resource.as_str();
            [format!("lock:{name}"), format!("fence:{name}"), wait_key(resource)]
        };
        Self(resources.iter().map(keys).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The wait list's key. Absent for more than one resource.
    pub(super) fn only_wait_key(&self) -> Option<&str> {
        match self.0.as_slice() {
            [keys] => Some(&keys[WAIT]),
            _ => None,
        }
    }

    /// EVALSHA of `script` with the `picked` keys of each resource, then the `last` key of each.
    fn call(&self, script: &Lua, picked: &[usize], last: Option<usize>) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&script.hash).arg(self.0.len() * (picked.len() + usize::from(last.is_some())));
        for keys in &self.0 {
            for &pick in picked {
                cmd.arg(&keys[pick]);
            }
        }
        if let Some(last) = last {
            for keys in &self.0 {
                cmd.arg(&keys[last]);
            }
        }
        cmd
    }
}

const LOCK: usize = 0;
const FENCE: usize = 1;
const WAIT: usize = 2;

/// The sorted set of waiters for `resource`, by arrival.
pub(super) fn wait_key(resource: &Resource) -> String {
    format!("wait:{resource}")
}

/// The channel that wakes the waiters of a client.
pub(super) fn channel(client: &str) -> String {
    format!("wake:{client}")
}

/// A waiter in the wait lists of the nodes.
#[derive(Clone, Debug)]
pub(super) struct WaiterId {
    /// `{client id}:{number}`; the scripts take the client id from it.
    pub(super) name: String,
    /// Unix time in microseconds. It orders the waiters of all clients, as far as their clocks agree.
    pub(super) since: u64,
}

pub(super) fn acquire(
    keys: &Keys,
    owner: &str,
    lease: Lease,
    counter_ttl: Duration,
    waiter: Option<(&WaiterId, bool)>,
) -> Arc<Cmd> {
    let mut cmd = keys.call(&ACQUIRE, &[LOCK, FENCE], waiter.map(|_| WAIT));
    cmd.arg(format!("owner:{owner}:token:"))
        .arg(format!(":expiry:{}", expiry(lease)))
        .arg(millis(lease.get()))
        .arg(millis(counter_ttl));
    if let Some((waiter, registered)) = waiter {
        cmd.arg(&waiter.name).arg(waiter.since).arg(u8::from(registered)).arg(millis(WAITING_TTL));
    }
    Arc::new(cmd)
}

pub(super) fn seal(keys: &Keys, owner: &str, lease: Lease, counter_ttl: Duration, tokens: &[u64]) -> Arc<Cmd> {
    let mut cmd = keys.call(&SEAL, &[LOCK, FENCE], None);
    cmd.arg(prefix(owner)).arg(millis(lease.get())).arg(expiry(lease)).arg(millis(counter_ttl)).arg(tokens);
    Arc::new(cmd)
}

pub(super) fn extend(keys: &Keys, owner: &str, lease: Lease) -> Arc<Cmd> {
    let mut cmd = keys.call(&EXTEND, &[LOCK], None);
    cmd.arg(prefix(owner)).arg(millis(lease.get())).arg(expiry(lease));
    Arc::new(cmd)
}

/// Which waiter the nodes wake when they release a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The one that has waited longest there.
    Next,
    /// None, because the next acquire command is already on its way.
    None,
}

pub(super) fn release(keys: &Keys, owner: &str, waiter: Option<&WaiterId>, wake: Wake) -> Arc<Cmd> {
    let mut cmd = keys.call(&RELEASE, &[LOCK, WAIT], None);
    cmd.arg(prefix(owner)).arg(waiter.map_or("", |waiter| &waiter.name)).arg(u8::from(wake == Wake::Next));
    Arc::new(cmd)
}

pub(super) fn yield_to_others(keys: &Keys, owner: &str, waiter: &WaiterId) -> Arc<Cmd> {
    let mut cmd = keys.call(&YIELD, &[LOCK, WAIT], None);
    cmd.arg(prefix(owner)).arg(&waiter.name).arg(waiter.since).arg(millis(WAITING_TTL));
    Arc::new(cmd)
}

pub(super) fn raise(resource: &Resource, at_least: Token, counter_ttl: Duration) -> Arc<Cmd> {
    let mut cmd = Keys::of(std::slice::from_ref(resource)).call(&RAISE, &[FENCE], None);
    cmd.arg(at_least.get()).arg(millis(counter_ttl));
    Arc::new(cmd)
}

pub(super) fn read_holder(resource: &Resource) -> Arc<Cmd> {
    let mut cmd = redis::cmd("GET");
    cmd.arg(&Keys::of(std::slice::from_ref(resource)).0[0][LOCK]);
    Arc::new(cmd)
}

pub(super) fn ping() -> Arc<Cmd> {
    Arc::new(redis::cmd("PING"))
}

pub(super) fn unix_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn prefix(owner: &str) -> String {
    format!("owner:{owner}:")
}

/// For people who read the key: nodes expire it by `PX`, in their own time.
fn expiry(lease: Lease) -> u64 {
    unix_micros() / 1000 + millis(lease.get())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
