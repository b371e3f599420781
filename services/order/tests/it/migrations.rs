//! Both binaries as they are deployed, where they cannot migrate their database at once or at all.

use std::time::Duration;

use sqlx::{ConnectOptions as _, PgConnection, migrate::Migrate as _, postgres::PgConnectOptions};
use testbed::{Postgres, Process, ProcessSpec};
use tokio::time::timeout;

use crate::stack::{beside_this_test, eventually};

const SERVICES: [&str; 2] = ["order", "inventory"];
const TIMEOUT: Duration = Duration::from_secs(30);
/// More than the minute that a migration has.
const MIGRATION_LIMIT: Duration = Duration::from_secs(90);

/// A service that is about to migrate an empty database.
fn start(service: &str, url: &str, case: &str) -> Process {
    let envs = [
        ("ORDER_LISTEN", "127.0.0.1:0"),
        ("ORDER_DATABASE_URL", url),
        ("ORDER_INVENTORY_URLS", "http://127.0.0.1:1"),
        ("ORDER_LOCK_NODES", "redis://127.0.0.1:1"),
        ("ORDER_LAB", "true"),
        ("INVENTORY_LISTEN", "127.0.0.1:0"),
        ("INVENTORY_DATABASE_URL", url),
        ("INVENTORY_LAB", "true"),
        ("RUST_BACKTRACE", "1"),
        ("NO_COLOR", "1"),
    ];
    let log = format!("{}/{service}-{case}-{}.log", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    Process::spawn(ProcessSpec {
        name: service.to_owned(),
        program: beside_this_test(service),
        args: Vec::new(),
        envs: envs.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        log: log.into(),
    })
    .expect("the binary starts")
}

/// Another replica that is migrating the database, with the words that name its session.
async fn migrating_replica(url: &str) -> (PgConnection, String) {
    let options: PgConnectOptions = url.parse().expect("a URL");
    let mut session = options.application_name("another-replica").connect().await.expect("a session");
    session.lock().await.expect("the lock of migrations");
    let pid: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut session).await.expect("a pid");
    (session, format!("the session with pid {pid} of \"another-replica\" at 127.0.0.1, connected since 20"))
}

/// Ends with code 1; the last line it wrote.
async fn refusal(process: Process, limit: Duration) -> String {
    timeout(limit, process.until_ended()).await.expect("it ends in time").expect("its end is known");
    let (all, last) = (process.log_tail(100), process.log_tail(1));
    let code = process.terminate(TIMEOUT).await.and_then(|status| status.code());
    assert!(code == Some(1) && !all.contains("panicked") && !all.contains("backtrace"), "{code:?}: {all}");
    println!("{last}");
    last
}

#[tokio::test]
async fn while_another_replica_migrates_both_binaries_wait_say_for_whom_and_then_serve() {
    for service in SERVICES {
        let url = Postgres::shared().await.fresh_database(service).await.expect("a database");
        let (other, name) = migrating_replica(&url).await;
        let mut process = start(service, &url, "waits");
        let waits = format!("the migration of the database waits for {name}");
        eventually("the log names the session", async || process.log_tail(100).contains(&waits)).await;
        assert!(!process.ended());
        drop(other);
        process.first_line(TIMEOUT).await.expect("it serves");
    }
}

#[tokio::test]
async fn a_migration_that_waits_for_a_minute_ends_both_binaries_with_code_1_and_one_line_that_names_the_session() {
    let [order, inventory] = SERVICES.map(async |service| {
        let url = Postgres::shared().await.fresh_database(service).await.expect("a database");
        let (_other, name) = migrating_replica(&url).await;
        let line = refusal(start(service, &url, "blocked"), MIGRATION_LIMIT).await;
        let ends = line.starts_with(&format!("{service}: "))
            && line.contains(&format!("not migrated within 60 s: waited for {name}"));
        assert!(ends, "{line}");
    });
    tokio::join!(order, inventory);
}

#[tokio::test]
async fn an_older_binary_refuses_a_newer_schema_with_both_versions() {
    for (service, known) in SERVICES
        .into_iter()
        .zip([newest_version("../../migrations/order"), newest_version("../../migrations/inventory")])
    {
        let url = Postgres::shared().await.fresh_database(service).await.expect("a database");
        let mut first = start(service, &url, "migrates");
        first.first_line(TIMEOUT).await.expect("it serves");
        first.kill().await;
        let options: PgConnectOptions = url.parse().expect("a URL");
        let mut newer = options.connect().await.expect("a session");
        let migrated = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                        values (9001, 'of a newer binary', true, '', 1)";
        sqlx::query(migrated).execute(&mut newer).await.expect("a newer schema");

        let line = refusal(start(service, &url, "older"), TIMEOUT).await;
        let versions =
            format!("database schema is at version 9001, this binary knows up to {known}: start a newer binary");
        assert!(line.starts_with(&format!("{service}: ")) && line.contains(&versions), "{line}");
    }
}

/// The version of the newest migration in a folder of this repository.
fn newest_version(folder: &str) -> i64 {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let names = folder.read_dir().expect("migrations").map(|entry| entry.expect("a file").file_name());
    let version = |name: std::ffi::OsString| name.to_str()?.split_once('_')?.0.parse().ok();
    names.filter_map(version).max().expect("a migration")
}
