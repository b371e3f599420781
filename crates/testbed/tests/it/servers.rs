//! Every server starts, answers, and comes back on its port.

use testbed::{Postgres, redis_nodes};

#[tokio::test]
async fn a_killed_redis_node_comes_back_on_its_port_and_empty() {
    let mut nodes = redis_nodes(3).await.expect("three nodes");
    let node = &mut nodes[0];
    let addr = node.addr();
    assert_eq!(
        node.command(&["SET", "lock:x", "1"])
            .await
            .expect("a reply"),
        "OK"
    );
    node.kill().await;
    node.command(&["PING"])
        .await
        .expect_err("a killed node answers nobody");
    node.restart().await.expect("it starts again");
    assert_eq!(node.addr(), addr);
    assert_eq!(node.command(&["GET", "lock:x"]).await.expect("a reply"), "");
}

#[tokio::test]
async fn postgres_recovers_what_was_committed_before_an_immediate_restart() {
    let mut postgres = Postgres::start().await.expect("a server");
    let url = postgres.fresh_database("kept").await.expect("a database");
    postgres.restart_immediate().await.expect("it starts again");
    let name = url.rsplit('/').next().expect("a name").to_owned();
    assert_eq!(postgres.url(&name), url);
    postgres
        .create_database(&name)
        .await
        .expect_err("the database was committed, so it is still there");
}
