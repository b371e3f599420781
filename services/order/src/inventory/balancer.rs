//! Which replica of inventory is asked next: round robin, passing over for a
//! short while whoever refused or did not answer. Sends nothing itself.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use url::Url;

/// Long enough not to run into a stopped replica with every order, short
/// enough that one which came back is used again before anybody notices.
const AVOIDED_FOR: Duration = Duration::from_secs(1);

/// One replica.
#[derive(Debug)]
pub struct Replica {
    base: Url,
    avoided_until: Mutex<Option<Instant>>,
}

impl Replica {
    /// Address of a call; `path` is ours, so it always joins.
    pub fn url(&self, path: &str) -> Url {
        self.base.join(path).unwrap_or_else(|_| self.base.clone())
    }

    /// It refused or did not answer: ask others for a while.
    pub fn mark_failed(&self) {
        *self.lock() = Some(Instant::now() + AVOIDED_FOR);
    }

    fn is_preferred(&self, now: Instant) -> bool {
        self.lock().is_none_or(|until| until <= now)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.avoided_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them; never empty.
#[derive(Debug)]
pub struct Balancer {
    all: Vec<Arc<Replica>>,
    turn: AtomicUsize,
}

impl Balancer {
    /// # Panics
    /// Without any URL: configuration refuses that before.
    pub fn new(urls: Vec<Url>) -> Self {
        assert!(!urls.is_empty(), "configuration demands at least one replica");
        let replica = |mut base: Url| {
            if !base.path().ends_with('/') {
                base.set_path(&format!("{}/", base.path()));
            }
            Arc::new(Replica { base, avoided_until: Mutex::new(None) })
        };
        Self { all: urls.into_iter().map(replica).collect(), turn: AtomicUsize::new(0) }
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The next in turn that is trusted; if none is, the next in turn.
    pub fn next(&self) -> Arc<Replica> {
        self.next_at(Instant::now())
    }

    fn next_at(&self, now: Instant) -> Arc<Replica> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let candidates = (0..self.all.len()).map(|step| &self.all[turn.wrapping_add(step) % self.all.len()]);
        let chosen = candidates.clone().find(|replica| replica.is_preferred(now));
        Arc::clone(chosen.unwrap_or(&self.all[turn % self.all.len()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Balancer {
        Balancer::new(vec!["http://a".parse().expect("url"), "http://b".parse().expect("url")])
    }

    #[test]
    fn replicas_take_turns() {
        let replicas = two();
        let hosts: Vec<_> = (0..3).map(|_| replicas.next().base.to_string()).collect();
        assert_eq!(hosts, ["http://a/", "http://b/", "http://a/"]);
    }

    #[test]
    fn one_that_failed_is_passed_over_and_then_asked_again() {
        let replicas = two();
        replicas.next().mark_failed();
        assert!((0..4).all(|_| replicas.next().base.as_str() == "http://b/"));
        let later = Instant::now() + AVOIDED_FOR;
        assert!((0..2).any(|_| replicas.next_at(later).base.as_str() == "http://a/"));
    }

    #[test]
    fn when_all_failed_they_are_asked_all_the_same() {
        let replicas = two();
        replicas.next().mark_failed();
        replicas.next().mark_failed();
        let hosts: Vec<_> = (0..2).map(|_| replicas.next().base.to_string()).collect();
        assert_eq!(hosts, ["http://a/", "http://b/"]);
    }
}
