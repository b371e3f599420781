//! The metrics, read through an installed recorder.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fenced_lock::{Token, Wait};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use crate::support::{
    assert_contended, granted, lease, long_lease, nodes, redlock, redlock_with, resource, short_timeout,
};

/// How often each metric was recorded, by name and labels.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<BTreeMap<String, u64>>>);

struct Slot(Seen, String);

impl Seen {
    fn slot(&self, key: &Key) -> Arc<Slot> {
        let mut labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        Arc::new(Slot(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }

    fn count(&self, metric: &str) -> u64 {
        self.0.lock().expect("no panic").get(metric).copied().unwrap_or(0)
    }

    fn names(&self) -> String {
        self.0.lock().expect("no panic").keys().cloned().collect::<Vec<_>>().join(" ")
    }
}

impl Slot {
    fn add(&self, count: u64) {
        *self.0.0.lock().expect("no panic").entry(self.1.clone()).or_default() += count;
    }
}

impl CounterFn for Slot {
    fn increment(&self, value: u64) {
        self.add(value);
    }

    fn absolute(&self, _value: u64) {
        panic!("no counter is set to an absolute value");
    }
}

impl HistogramFn for Slot {
    fn record(&self, _value: f64) {
        self.add(1);
    }
}

impl Recorder for Seen {
    fn describe_counter(&self, _key: KeyName, _unit: Option<Unit>, _description: SharedString) {}
    fn describe_gauge(&self, _key: KeyName, _unit: Option<Unit>, _description: SharedString) {}
    fn describe_histogram(&self, _key: KeyName, _unit: Option<Unit>, _description: SharedString) {}

    fn register_counter(&self, key: &Key, _metadata: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.slot(key))
    }

    fn register_gauge(&self, key: &Key, _metadata: &Metadata<'_>) -> Gauge {
        panic!("{} is a gauge, and this crate has none", key.name());
    }

    fn register_histogram(&self, key: &Key, _metadata: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.slot(key))
    }
}

#[tokio::test]
async fn acquisitions_holds_and_tokens_are_counted_and_no_resource_is_a_label() {
    let seen = Seen::default();
    // For this thread: the tasks of this test run on no other.
    let _recording = metrics::set_default_local_recorder(&seen);
    let nodes = nodes(3).await;
    let locks = redlock(&nodes);
    for (node, counter) in nodes.iter().zip(["10", "20", "30"]) {
        node.command(&["SET", "fence:{sku:1}", counter]).await.expect("a counter");
    }
    let grant = granted(&locks, &resource("sku:1"), long_lease()).await;
    assert_contended(&locks, &resource("sku:1")).await;
    grant.release().await.expect("a quorum");
    drop(granted(&locks, &resource("sku:2"), long_lease()).await);
    locks.raise_floor(&resource("sku:1"), Token::new(99).expect("a token")).await.expect("a quorum");
    assert_eq!(seen.count("lock_wait_seconds{backend=redlock,outcome=granted}"), 2);
    assert_eq!(seen.count("lock_wait_seconds{backend=redlock,outcome=contended}"), 1);
    assert_eq!(seen.count("lock_held_seconds{backend=redlock}"), 2);
    assert_eq!(seen.count("lock_tokens_sealed_total{}"), 1);
    assert_eq!(seen.count("lock_tokens_raised_total{}"), 1);
    assert!(!seen.names().contains("sku"), "{}", seen.names());
}

#[tokio::test]
async fn lost_locks_and_node_errors_are_counted() {
    let seen = Seen::default();
    let _recording = metrics::set_default_local_recorder(&seen);
    let mut nodes = nodes(3).await;
    let locks = redlock_with(&nodes, short_timeout());
    let grant = granted(&locks, &resource("sku:1"), long_lease()).await;
    for node in &nodes {
        node.command(&["FLUSHALL"]).await.expect("an empty node");
    }
    // A late acquire may still reach a flushed node, but no quorum of them.
    grant.extend(lease(60_000)).await.expect_err("no quorum has the lock");
    assert_eq!(seen.count("lock_lost_total{backend=redlock}"), 1);
    nodes[0].kill().await;
    nodes[1].pause();
    locks.try_lock(&resource("sku:2"), Wait::none(), long_lease()).await.expect_err("one of three");
    let error = |node: usize, kind: &str| format!("lock_node_errors_total{{kind={kind},node={}}}", nodes[node].addr());
    // A command may be sent before the client learns that its connection has ended.
    let ended = seen.count(&error(0, "unreachable")) + seen.count(&error(0, "gone"));
    assert_eq!(ended, 1, "{}", seen.names());
    assert_eq!(seen.count(&error(1, "silent")), 1, "{}", seen.names());
    assert_eq!(seen.count("lock_wait_seconds{backend=redlock,outcome=failed}"), 1);
    nodes[1].resume();
}
