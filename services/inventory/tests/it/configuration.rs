//! Values of the configuration that cannot work, given to the binary as it is deployed: exit code 2 and one line.

use testbed::{ConfiguredProgram, Ended, NumberSetting};

#[rustfmt::skip]
const NUMBERS: &[NumberSetting] = &[
    NumberSetting::new("INVENTORY_POOL", "--pool", 1, 1_000),
    NumberSetting::new("INVENTORY_MAX_LINES", "--max-lines", 1, 128),
    NumberSetting::new("INVENTORY_MAX_BODY_BYTES", "--max-body-bytes", 1, 67_108_864),
    NumberSetting::new("INVENTORY_MAX_CONCURRENCY", "--max-concurrency", 1, 65_536),
    NumberSetting::new("INVENTORY_LOCK_LEASE_MS", "--lock-lease-ms", 400, 86_400_000),
    NumberSetting::new("INVENTORY_LOCK_WAIT_MS", "--lock-wait-ms", 0, 3_600_000),
    NumberSetting::new("INVENTORY_SWEEP_MS", "--sweep-ms", 10, 3_600_000),
    NumberSetting::new("INVENTORY_SWEEP_BATCH", "--sweep-batch", 1, 10_000),
    NumberSetting::new("INVENTORY_RETAIN_DAYS", "--retain-days", 1, 3_650),
];

/// The service, with everything that it requires.
fn inventory() -> ConfiguredProgram {
    let required = vec![
        ("INVENTORY_LISTEN", "127.0.0.1:0"),
        ("INVENTORY_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
        ("INVENTORY_LAB", "true"),
    ];
    ConfiguredProgram { program: env!("CARGO_BIN_EXE_inventory").into(), required }
}

#[tokio::test]
async fn a_number_outside_its_range_ends_the_binary_with_code_2_and_one_line_that_names_it() {
    inventory().assert_refuses_outside(NUMBERS).await;
}

#[tokio::test]
async fn help_tells_the_range_of_every_number() {
    inventory().assert_help_has_ranges(NUMBERS).await;
}

#[tokio::test]
async fn a_setting_that_cannot_be_read_is_refused_by_its_name() {
    for (variable, value, name) in [
        ("INVENTORY_LAB", "false", "INVENTORY_TOKEN"),
        ("INVENTORY_LOCK_NODES", "redis://127.0.0.1:1,redis://127.0.0.1:2", "INVENTORY_LOCK_NODES"),
        ("INVENTORY_DATABASE_URL", "nothing", "INVENTORY_DATABASE_URL"),
        ("INVENTORY_MIGRATE_URL", "nothing", "INVENTORY_MIGRATE_URL"),
        ("INVENTORY_LISTEN", "nothing", "INVENTORY_LISTEN"),
    ] {
        inventory().assert_refuses(&[(variable, value)], &[name]).await;
    }
}

#[tokio::test]
async fn a_database_that_does_not_answer_ends_the_binary_with_code_1_and_no_backtrace() {
    let Ended { code, stderr, .. } = inventory().run(&[], &[]).await;

    let last = stderr.lines().last().unwrap_or_default();
    assert!(
        code == Some(1) && last.starts_with("inventory: ") && last.contains("INVENTORY_DATABASE_URL"),
        "{code:?}: {stderr}"
    );
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
}
