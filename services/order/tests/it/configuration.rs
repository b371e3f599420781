//! Values of the configuration that cannot work, given to the binary as it is deployed: exit code 2 and one line.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

/// Variable, flag, smallest and largest value.
type Number = (&'static str, &'static str, i64, i64);

#[rustfmt::skip]
const NUMBERS: &[Number] = &[
    ("ORDER_POOL", "--pool", 1, 1_000),
    ("ORDER_LOCK_LEASE_MS", "--lock-lease-ms", 600, 86_400_000),
    ("ORDER_LOCK_WAIT_MS", "--lock-wait-ms", 0, 3_600_000),
    ("ORDER_PAYMENT_MS", "--payment-ms", 0, 3_600_000),
    ("ORDER_HOLD_SECONDS", "--hold-seconds", 1, 31_536_000),
    ("ORDER_RECONCILE_MS", "--reconcile-ms", 10, 3_600_000),
    ("ORDER_KEY_HOURS", "--key-hours", 1, 8_760),
    ("ORDER_MAX_BATCH", "--max-batch", 1, 64),
    ("ORDER_MAX_LINES", "--max-lines", 1, 128),
    ("ORDER_MAX_QUANTITY", "--max-quantity", 1, 1_000_000),
    ("ORDER_MAX_BODY_BYTES", "--max-body-bytes", 1, 67_108_864),
    ("ORDER_MAX_CONCURRENCY", "--max-concurrency", 1, 65_536),
];

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the binary until it ends; it has everything that it requires, and backtraces are asked for.
async fn run(envs: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order"));
    command.env_clear().env("RUST_BACKTRACE", "1").env("NO_COLOR", "1");
    command.envs([
        ("ORDER_LISTEN", "127.0.0.1:0"),
        ("ORDER_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
        ("ORDER_INVENTORY_URLS", "http://127.0.0.1:1"),
        ("ORDER_LOCK_NODES", "redis://127.0.0.1:1"),
        ("ORDER_LAB", "true"),
    ]);
    command.envs(envs.iter().copied()).args(args).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_secs(30), command.output()).await.expect("it ends").expect("it starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn assert_refused(ended: &Ended, names: &[&str]) {
    let Ended { code, stderr, .. } = ended;
    assert_eq!((*code, stderr.lines().count()), (Some(2), 1), "{names:?}: {stderr}");
    assert!(names.iter().all(|name| stderr.contains(name)), "{names:?}: {stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{names:?}: {stderr}");
}

#[tokio::test]
async fn a_number_outside_its_range_ends_the_binary_with_code_2_and_one_line_that_names_it() {
    for &(variable, flag, least, most) in NUMBERS {
        for value in [least - 1, most + 1] {
            let value = value.to_string();
            assert_refused(&run(&[(variable, &value)], &[]).await, &[variable, flag, &value]);
        }
    }
}

#[tokio::test]
async fn help_tells_the_range_of_every_number() {
    let help = run(&[], &["--help"]).await.stdout;
    for (_, flag, least, most) in NUMBERS {
        let (_, section) = help.split_once(&format!("{flag} <")).expect(flag);
        let (section, _) = section.split_once("[env:").expect(flag);
        let section = section.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(section.contains(&format!("from {least} to {most}")), "{flag}: {section}");
    }
}

#[tokio::test]
async fn numbers_that_cannot_work_together_are_refused_with_both_names_and_values() {
    let outside_the_lab = [("ORDER_LAB", "false"), ("ORDER_INVENTORY_TOKEN", "secret")];
    for (given, names) in [
        (
            [("ORDER_PAYMENT_MS", "5000"), ("ORDER_LOCK_LEASE_MS", "5000")],
            &["ORDER_PAYMENT_MS=5000", "ORDER_LOCK_LEASE_MS=5000"][..],
        ),
        (
            [("ORDER_KEY_HOURS", "1"), ("ORDER_LOCK_WAIT_MS", "3600000")],
            &["ORDER_KEY_HOURS=1", "ORDER_LOCK_WAIT_MS=3600000", "ORDER_LOCK_LEASE_MS=5000"],
        ),
    ] {
        let envs: Vec<_> = outside_the_lab.into_iter().chain(given).collect();
        assert_refused(&run(&envs, &[]).await, names);
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
        assert_refused(&run(&[(variable, value)], &[]).await, &[name]);
    }
}

#[tokio::test]
async fn a_database_that_does_not_answer_ends_the_binary_with_code_1_and_no_backtrace() {
    let Ended { code, stderr, .. } = run(&[], &[]).await;

    let last = stderr.lines().last().unwrap_or_default();
    assert!(code == Some(1) && last.starts_with("order: ") && last.contains("database"), "{code:?}: {stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
}
