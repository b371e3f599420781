//! Arguments that cannot work, given to the program: exit status 2 and one line.

use testbed::{ConfiguredProgram, Ended};

/// A subcommand, one of its flags, the text of `--help` with the range, and the values next to the range.
type Number = (&'static str, &'static str, &'static str, [&'static str; 2]);

const NUMBERS: &[Number] = &[
    ("run", "--stock", "from 1 to 1000000", ["0", "1000001"]),
    ("run", "--users", "from 1 to 10000", ["0", "10001"]),
    ("run", "--iterations", "from 1 to 1000000", ["0", "1000001"]),
    ("run", "--skus", "from 1 to 1000", ["0", "1001"]),
    ("run", "--skew", "from 0 to 5", ["-0.1", "5.1"]),
    ("run", "--open", "from 1 to 3600", ["0", "3601"]),
    ("run", "--injections", "from 1 to 1000", ["0", "1001"]),
    ("run", "--seed", "from 0 to 18446744073709551615", ["-1", "18446744073709551616"]),
    ("run", "--redis-nodes", "an odd number from 1 to 15", ["0", "17"]),
    ("run", "--replicas", "from 2 to 8", ["1", "9"]),
    ("run", "--lease-ms", "from 600 to 600000", ["599", "600001"]),
    ("run", "--wait-ms", "from 0 to 600000", ["-1", "600001"]),
    ("run", "--payment-ms", "from 0 to 29999", ["-1", "30000"]),
    ("stack", "--lease-ms", "from 600 to 600000", ["599", "600001"]),
    ("soak", "--minutes", "from 1 to 10080", ["0", "10081"]),
    ("soak", "--users", "from 1 to 10000", ["0", "10001"]),
    ("soak", "--seed", "from 0 to 18446744073709551615", ["-1", "18446744073709551616"]),
    ("cost", "--seconds", "from 1 to 600", ["0", "601"]),
    ("cost", "--connections", "from 64 to 5000", ["63", "5001"]),
    ("cost", "--runs", "from 1 to 99", ["0", "100"]),
    ("cost", "--seed", "from 0 to 18446744073709551615", ["-1", "18446744073709551616"]),
];

fn oversell() -> ConfiguredProgram {
    ConfiguredProgram { program: env!("CARGO_BIN_EXE_oversell").into(), required: Vec::new() }
}

/// Ends with 2 and one line that has all the names.
async fn is_refused(args: &[&str], names: &[&str]) {
    let Ended { code, stderr, stdout } = oversell().run(&[], args).await;
    assert_eq!((code, stderr.lines().count(), stdout.as_str()), (Some(2), 1, ""), "{args:?}: {stderr}");
    assert!(names.iter().all(|name| stderr.contains(*name)), "{args:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
}

#[tokio::test]
async fn a_number_outside_its_range_ends_the_program_with_status_2_and_one_line_that_names_it() {
    for (subcommand, flag, range, outside) in NUMBERS {
        for value in outside.iter().chain(&["99999999999999999999"]) {
            let range = if *flag == "--skew" { "0..=5" } else { range.trim_start_matches("an odd number ") };
            is_refused(&[subcommand, &format!("{flag}={value}")], &[*flag, value, range]).await;
        }
    }
    is_refused(&["run", "--redis-nodes=4"], &["--redis-nodes", "4 is not odd"]).await;
    is_refused(&["run", "--users=10000", "--iterations=1000000"], &["--users 10000", "--iterations 1000000"]).await;
}

#[tokio::test]
async fn help_tells_the_range_of_every_number() {
    for (subcommand, flag, range, _) in NUMBERS {
        let help = oversell().run(&[], &[subcommand, "--help"]).await.stdout;
        let (_, section) = help.split_once(&format!("{flag} <")).expect(flag);
        let section = section.split("\n      --").next().unwrap_or(section);
        let section = section.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(section.contains(range), "{subcommand} {flag}: {section}");
    }
}

#[tokio::test]
async fn a_number_of_a_scenario_outside_its_range_ends_the_program_with_status_2_and_one_line_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("short-lease.toml");
    let scenario = include_str!("../../scenarios/matrix-quick.toml");
    let (before, after) = scenario.split_once("lease_ms = ").expect("a lease");
    let (_, after) = after.split_once('\n').expect("more lines");
    for (lease, names) in [
        ("599", &["short-lease.toml", "stack.lease_ms: 599 is not in 600..=600000"]),
        ("-1", &["short-lease.toml", "lease_ms = -1"]),
    ] {
        std::fs::write(&file, format!("{before}lease_ms = {lease}\n{after}")).expect("a scenario");
        is_refused(&["run", "--scenario", &file.display().to_string()], names).await;
    }
}

#[tokio::test]
async fn arguments_that_cannot_be_meant_end_the_program_with_status_2_and_one_line_that_says_what_would_be_right() {
    const DATABASE: &str = "postgres://127.0.0.1:1/database";
    let cases: [(&[&str], &[&str]); 10] = [
        (&["audit", "--postgres", "nonsense"], &["nonsense", "postgres://"]),
        (&["audit", "--postgres", "http://127.0.0.1:1"], &["http://127.0.0.1:1", "postgres://"]),
        (&["audit", "--postgres", DATABASE, "--history", "/no/file"], &["--history", "/no/file"]),
        (&["run", "--baseline", "/no/file"], &["--baseline", "/no/file"]),
        (&["run", "--faults=none", "--target", "nonsense"], &["--target", "nonsense", "http://"]),
        (&["run", "--faults=none", "--target", "ftp://host"], &["--target", "ftp:", "postgres:"]),
        (&["run", "--faults=none", "--target", "{}"], &["--target", "oversell stack --json"]),
        (&["serve", "--listen=127.0.0.1:0", "--target", "nonsense"], &["--target", "nonsense", "http://"]),
        (&["run", "--strategies=redlok"], &["redlok", "a similar value exists: 'redlock'"]),
        (&["run", "--fault=none"], &["--fault", "a similar argument exists: '--faults'"]),
    ];
    for (args, names) in cases {
        is_refused(args, names).await;
    }
}
