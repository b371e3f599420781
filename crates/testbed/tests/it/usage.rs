//! Bad usage of the program `servers`.

use testbed::{ConfiguredProgram, Ended};

#[tokio::test]
async fn an_unknown_server_ends_the_program_with_status_2_and_one_line_with_the_known_ones() {
    let servers = ConfiguredProgram { program: env!("CARGO_BIN_EXE_servers").into(), required: Vec::new() };
    let Ended { code, stderr, .. } = servers.run(&[], &["mysql"]).await;
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
    assert!(stderr.contains("mysql") && stderr.contains("redis, postgres, etcd, zookeeper"), "{stderr}");
}
