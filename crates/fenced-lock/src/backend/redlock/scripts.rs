//! The commands of the protocol: the names of all keys, the arguments, and all of the Lua. Nothing here
//! sends a command.

use std::fmt::{self, Display};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Cmd, Script, Value};

use crate::{Lease, Resource, Token};

/// How long a node keeps a waiter that does not register again. Waiters register more often.
const WAITING_TTL: Duration = Duration::from_mins(5);

static ACQUIRE: LazyLock<Lua> = LazyLock::new(|| Lua::new("acquire", include_str!("lua/acquire.lua")));
static SEAL: LazyLock<Lua> = LazyLock::new(|| Lua::new("seal", include_str!("lua/seal.lua")));
static EXTEND: LazyLock<Lua> = LazyLock::new(|| Lua::new("extend", include_str!("lua/extend.lua")));
static RELEASE: LazyLock<Lua> = LazyLock::new(|| Lua::new("release", include_str!("lua/release.lua")));
static YIELD: LazyLock<Lua> = LazyLock::new(|| Lua::new("yield", include_str!("lua/yield.lua")));
static RAISE: LazyLock<Lua> = LazyLock::new(|| Lua::new("raise", include_str!("lua/raise.lua")));

struct Lua {
    name: &'static str,
    source: String,
    hash: String,
}

impl Lua {
    fn new(name: &'static str, source: &str) -> Self {
        let source = format!("{}{source}", include_str!("lua/keys.lua"));
        Self { name, hash: Script::new(&source).get_hash().to_owned(), source }
    }
}

fn all() -> [&'static Lua; 6] {
    [&ACQUIRE, &SEAL, &EXTEND, &RELEASE, &YIELD, &RAISE]
}

/// The command for people: the name of the script instead of its hash.
pub(super) fn shown(cmd: &Cmd) -> impl Display {
    fmt::from_fn(|f| {
        let mut separator = "";
        for arg in cmd.args_iter() {
            let text = match arg {
                redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes),
                _ => "?".into(),
            };
            let name = all().iter().find(|script| script.hash == text).map(|script| script.name);
            write!(f, "{separator}{}", name.unwrap_or(&text))?;
            separator = " ";
        }
        Ok(())
    })
}

/// A reply for people, as `redis-cli` prints it.
pub(super) fn shown_reply(value: &Value) -> impl Display {
    fmt::from_fn(move |f| match value {
        Value::Nil => f.write_str("(nil)"),
        Value::Okay => f.write_str("OK"),
        Value::Int(number) => write!(f, "{number}"),
        Value::SimpleString(text) => f.write_str(text),
        Value::BulkString(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
        Value::Array(values) => {
            let shown: Vec<_> = values.iter().map(|value| shown_reply(value).to_string()).collect();
            write!(f, "[{}]", shown.join(", "))
        }
        other => write!(f, "{other:?}"),
    })
}

/// Loads every script, so that the commands only carry their hashes.
pub(super) fn load_all() -> redis::Pipeline {
    let mut load = redis::pipe();
    for script in all() {
        load.cmd("SCRIPT").arg("LOAD").arg(&script.source).ignore();
    }
    load
}

/// The keys of the resources of one grant.
#[derive(Debug)]
pub(super) struct Keys(Vec<[String; 3]>);

impl Keys {
    pub(super) fn of(resources: &[Resource]) -> Self {
        let keys = |resource: &Resource| ["lock", "fence", "wait"].map(|kind| key(kind, resource));
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
    ///
    /// Where cluster mode is enabled, a node refuses a call that declares keys in several slots, though it has all of
    /// them. The keys of a set are arguments, from which `lua/keys.lua` takes them; so every node executes one script
    /// for the whole set.
    fn call(&self, script: &Lua, picked: &[usize], last: Option<usize>) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&script.hash);
        let count = self.0.len() * (picked.len() + usize::from(last.is_some()));
        if self.0.len() > 1 {
            cmd.arg(0);
        }
        cmd.arg(count);
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
    key("wait", resource)
}

/// All keys of a resource have its name as their hash tag, so they are in one slot.
fn key(kind: &str, resource: &Resource) -> String {
    // An empty tag would be none: the tag ends at the first `}`. No name has a space.
    let space = if resource.as_str().starts_with('}') { " " } else { "" };
    format!("{kind}:{{{space}{resource}}}")
}

/// The channel that wakes the waiters of a client.
pub(super) fn channel(client: &str) -> String {
    format!("wake:{client}")
}

/// The channel of a client for the node with this index. Its messages are empty.
pub(super) fn node_channel(client: &str, index: usize) -> String {
    format!("wake:{client}:{index}")
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

/// Writes what a grant writes, so that a node that is full or read-only refuses it; it is gone a millisecond later.
/// No resource has this key, because no name has a space.
pub(super) fn probe(client: &str) -> Arc<Cmd> {
    let mut cmd = redis::cmd("SET");
    cmd.arg(format!("lock:{{ready {client}}}")).arg("probe").arg("PX").arg(1);
    Arc::new(cmd)
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// The hash tag of a key, as the specification of Redis Cluster defines it.
    fn hash_tag(key: &str) -> Option<&str> {
        let (_, rest) = key.split_once('{')?;
        let (tag, _) = rest.split_once('}')?;
        (!tag.is_empty()).then_some(tag)
    }

    proptest! {
        #[test]
        fn the_keys_of_a_resource_share_a_hash_tag_and_are_no_other_resources(
            names in proptest::collection::hash_set("[{}a ]{1,4}", 1..20)
        ) {
            let names = names.into_iter().filter_map(|name| Resource::new(name).ok());
            let keys: Vec<_> = names.map(|name| Keys::of(&[name]).0.remove(0)).collect();
            for of_resource in &keys {
                let tags: HashSet<_> = of_resource.iter().map(|key| hash_tag(key)).collect();
                prop_assert!(tags.len() == 1 && !tags.contains(&None), "{of_resource:?}");
            }
            let different: HashSet<_> = keys.iter().flatten().collect();
            prop_assert_eq!(different.len(), 3 * keys.len());
        }
    }
}
