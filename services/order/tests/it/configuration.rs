//! Values of the configuration that cannot work, given to the binary as it is deployed: exit code 2 and one line.

use testbed::{ConfiguredProgram, Ended, Mode, NumberSetting, RedisNode};

#[rustfmt::skip]
const NUMBERS: &[NumberSetting] = &[
    NumberSetting::new("ORDER_POOL", "--pool", 1, 1_000),
    NumberSetting::new("ORDER_LOCK_LEASE_MS", "--lock-lease-ms", 600, 86_400_000),
    NumberSetting::new("ORDER_LOCK_WAIT_MS", "--lock-wait-ms", 0, 3_600_000),
    NumberSetting::new("ORDER_PAYMENT_MS", "--payment-ms", 0, 3_600_000),
    NumberSetting::new("ORDER_PAYMENT_TIMEOUT_MS", "--payment-timeout-ms", 1, 3_600_000),
    NumberSetting::new("ORDER_HOLD_SECONDS", "--hold-seconds", 1, 31_536_000),
    NumberSetting::new("ORDER_RECONCILE_MS", "--reconcile-ms", 10, 3_600_000),
    NumberSetting::new("ORDER_KEY_HOURS", "--key-hours", 1, 8_760),
    NumberSetting::new("ORDER_RETAIN_DAYS", "--retain-days", 1, 3_650),
    NumberSetting::new("ORDER_MAX_BATCH", "--max-batch", 1, 64),
    NumberSetting::new("ORDER_MAX_LINES", "--max-lines", 1, 128),
    NumberSetting::new("ORDER_MAX_QUANTITY", "--max-quantity", 1, 1_000_000),
    NumberSetting::new("ORDER_MAX_BODY_BYTES", "--max-body-bytes", 1, 67_108_864),
    NumberSetting::new("ORDER_MAX_CONCURRENCY", "--max-concurrency", 1, 65_536),
];

/// The service, with everything that it requires.
fn order() -> ConfiguredProgram {
    let required = vec![
        ("ORDER_LISTEN", "127.0.0.1:0"),
        ("ORDER_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
        ("ORDER_INVENTORY_URLS", "http://127.0.0.1:1"),
        ("ORDER_LOCK_NODES", "redis://127.0.0.1:1"),
        ("ORDER_LAB", "true"),
    ];
    ConfiguredProgram { program: env!("CARGO_BIN_EXE_order").into(), required }
}

#[tokio::test]
async fn a_number_outside_its_range_ends_the_binary_with_code_2_and_one_line_that_names_it() {
    order().assert_refuses_outside(NUMBERS).await;
}

#[tokio::test]
async fn help_tells_the_range_of_every_number() {
    order().assert_help_has_ranges(NUMBERS).await;
}

#[tokio::test]
async fn numbers_that_cannot_work_together_are_refused_with_both_names_and_values() {
    let outside_the_lab = [("ORDER_LAB", "false"), ("ORDER_INVENTORY_TOKEN", "secret")];
    for (given, names) in [
        (
            [("ORDER_PAYMENT_MS", "5000"), ("ORDER_PAYMENT_TIMEOUT_MS", "5000")],
            &["ORDER_PAYMENT_MS=5000", "ORDER_PAYMENT_TIMEOUT_MS=5000"][..],
        ),
        (
            [("ORDER_KEY_HOURS", "1"), ("ORDER_LOCK_WAIT_MS", "3600000")],
            &["ORDER_KEY_HOURS=1", "ORDER_LOCK_WAIT_MS=3600000", "ORDER_LOCK_LEASE_MS=5000"],
        ),
        ([("ORDER_KEY_HOURS", "48"), ("ORDER_RETAIN_DAYS", "2")], &["ORDER_RETAIN_DAYS=2", "ORDER_KEY_HOURS=48"]),
    ] {
        let envs: Vec<_> = outside_the_lab.into_iter().chain(given).collect();
        order().assert_refuses(&envs, names).await;
    }
}

#[tokio::test]
async fn a_setting_that_cannot_be_read_or_is_missing_is_refused_by_its_name() {
    for (variable, value, name) in [
        ("ORDER_LOCK_NODES", "redis://127.0.0.1:1,redis://127.0.0.1:2", "ORDER_LOCK_NODES"),
        ("ORDER_DATABASE_URL", "nothing", "ORDER_DATABASE_URL"),
        ("ORDER_ETCD_ENDPOINTS", "", "ORDER_ETCD_ENDPOINTS"),
        ("ORDER_STRATEGY", "etcd-fenced", "ORDER_STRATEGY"),
        ("ORDER_STRATEGY", "none-such", "--strategy"),
        ("ORDER_INVENTORY_URLS", "nothing", "ORDER_INVENTORY_URLS"),
    ] {
        order().assert_refuses(&[(variable, value)], &[name]).await;
    }
}

#[tokio::test]
async fn a_database_that_does_not_answer_ends_the_binary_with_code_1_and_no_backtrace() {
    let Ended { code, stderr, .. } = order().run(&[], &[]).await;

    let last = stderr.lines().last().unwrap_or_default();
    assert!(code == Some(1) && last.starts_with("order: ") && last.contains("database"), "{code:?}: {stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
}

#[tokio::test]
async fn lock_nodes_that_are_one_server_are_refused_with_both_names() {
    let servers = testbed::redis_nodes(2).await.expect("redis nodes");
    let (addr, port) = (servers[0].addr(), servers[0].addr().port());
    for name in ["localhost", "127.1"] {
        let nodes = format!("redis://{addr},redis://{name}:{port},{}", servers[1].url());
        let names = ["ORDER_LOCK_NODES", &addr.to_string(), &format!("{name}:{port}"), "are one server"];
        order().assert_refuses(&[("ORDER_LOCK_NODES", &nodes)], &names).await;
    }
}

#[tokio::test]
async fn a_shard_of_a_cluster_as_a_lock_node_is_refused_with_the_reason() {
    if !matches!(RedisNode::mode().await.expect("a mode"), Mode::Native) {
        println!("skipped: the nodes of a cluster in containers do not reach one another");
        return;
    }
    let cluster = testbed::redis_cluster().await.expect("a cluster");
    let shard = cluster[1].addr().to_string();
    let reason = "has only some of the hash slots of its cluster: name independent servers";
    order().assert_refuses(&[("ORDER_LOCK_NODES", &cluster[1].url())], &["ORDER_LOCK_NODES", &shard, reason]).await;
}
