//! Every server starts, answers, can be paused and killed, and restarts on its port.

use std::time::Duration;

use testbed::{Mode, TestbedError};

fn assert_send<F: Future + Send>(future: F) -> F {
    future
}

mod redis {
    use super::{Duration, Mode, TestbedError, assert_send};
    use crate::each_mode::in_each_mode;
    use testbed::RedisNode;

    in_each_mode!(RedisNode: a_killed_node_restarts_on_its_port_and_empty, a_paused_node_answers_after_its_pause, no_live_key_is_evicted_and_nothing_is_persisted);

    async fn a_killed_node_restarts_on_its_port_and_empty(mode: Mode) {
        let mut node = assert_send(RedisNode::start_in(mode)).await.expect("a node");
        let addr = node.addr();
        assert_eq!(node.pid().is_some(), mode == Mode::Native);
        assert_eq!(node.command(&["SET", "lock:x", "1"]).await.expect("a reply"), "OK");
        node.kill().await;
        assert_eq!(node.pid(), None);
        node.command(&["PING"]).await.expect_err("a killed node does not answer");
        assert_send(node.restart()).await.expect("it starts again");
        assert_eq!(node.addr(), addr);
        assert_eq!(node.command(&["GET", "lock:x"]).await.expect("a reply"), "");
    }

    async fn a_paused_node_answers_after_its_pause(mode: Mode) {
        let mut node = RedisNode::start_in(mode).await.expect("a node");
        node.pause();
        let silence = node.command(&["INCR", "n"]).await.expect_err("a paused node does not answer");
        assert!(matches!(silence, TestbedError::RedisTimeout { .. } | TestbedError::Redis { .. }), "{silence:?}");
        node.resume();
        node.command(&["INCR", "n"]).await.expect("a resumed node answers");
        node.pause();
        node.kill().await;
        node.restart().await.expect("a paused node can be killed and started again");
        node.shutdown().await;
    }

    async fn no_live_key_is_evicted_and_nothing_is_persisted(mode: Mode) {
        let node = RedisNode::start_in(mode).await.expect("a node");
        let setting = async |name: &str| node.command(&["CONFIG", "GET", name]).await.expect("a reply");
        assert!(setting("maxmemory-policy").await.ends_with("noeviction"));
        assert!(setting("appendonly").await.ends_with("no"));
        assert_eq!(setting("save").await.trim_end(), "save");
    }

    #[tokio::test]
    async fn the_error_of_a_node_that_does_not_answer_names_it_without_its_password() {
        let addr = testbed::free_port().expect("a port").to_string();
        for (url, node) in
            [(format!("redis://:secret@{addr}/0"), addr.as_str()), ("redis://:secret@".into(), "the lock node")]
        {
            let error = testbed::redis_command(&url, &["PING"]).await.expect_err("nobody listens").to_string();
            assert!(error.contains(node) && !error.contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn several_nodes_are_independent_of_each_other() {
        let nodes = assert_send(testbed::redis_nodes(3)).await.expect("three nodes");
        nodes[0].command(&["SET", "x", "1"]).await.expect("a reply");
        for node in &nodes[1..] {
            assert_eq!(node.command(&["EXISTS", "x"]).await.expect("a reply"), "0");
        }
        assert_eq!(nodes[0].url(), format!("redis://{}", nodes[0].addr()));
        let refused = nodes[0].command(&["INCR", "x", "y"]).await.expect_err("a wrong command is an error");
        assert!(matches!(refused, TestbedError::Redis { .. }), "{refused:?}");
        tokio::time::timeout(Duration::from_mins(1), async { drop(nodes) }).await.expect("they end");
    }
}

mod postgres {
    use super::{Mode, assert_send};
    use crate::each_mode::in_each_mode;
    use sqlx::{Connection as _, PgConnection};
    use testbed::{Postgres, PostgresOptions};

    in_each_mode!(Postgres: committed_data_survive_an_immediate_restart, commits_are_as_durable_as_configured,
        text_is_sorted_as_english_does_and_not_by_bytes, a_read_only_server_refuses_writes_until_it_accepts_them_again);

    const FAST: PostgresOptions = PostgresOptions { fsync: false };

    async fn setting(url: &str, name: &str) -> String {
        let mut connection = PgConnection::connect(url).await.expect("a connection");
        let ask = sqlx::query_scalar("select current_setting($1)").bind(name);
        ask.fetch_one(&mut connection).await.expect("a setting")
    }

    async fn committed_data_survive_an_immediate_restart(mode: Mode) {
        let mut postgres = assert_send(Postgres::start_in(mode, FAST)).await.expect("a server");
        let url = assert_send(postgres.fresh_database("kept")).await.expect("a database");
        let mut connection = PgConnection::connect(&url).await.expect("a connection");
        assert_send(postgres.restart_immediate()).await.expect("it starts again");
        connection.ping().await.expect_err("connections do not survive");
        let name = url.rsplit('/').next().expect("a name").to_owned();
        assert_eq!(postgres.url(&name), url);
        postgres.create_database(&name).await.expect_err("the database was committed, so it is still there");
        assert_eq!(setting(&url, "server_encoding").await, "UTF8");
    }

    async fn a_read_only_server_refuses_writes_until_it_accepts_them_again(mode: Mode) {
        let postgres = Postgres::start_in(mode, FAST).await.expect("a server");
        let url = postgres.fresh_database("kept").await.expect("a database");
        let mut old = PgConnection::connect(&url).await.expect("a connection");
        assert_send(postgres.set_read_only(true)).await.expect("read-only");
        assert!(postgres.is_read_only().await.expect("an answer"));
        let refused =
            sqlx::query("create table t ()").execute(&mut old).await.expect_err("an open session is refused too");
        assert_eq!(refused.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref(), Some("25006"));
        postgres.set_read_only(false).await.expect("writable");
        sqlx::query("create table t ()").execute(&mut old).await.expect("written");
    }

    async fn text_is_sorted_as_english_does_and_not_by_bytes(mode: Mode) {
        let postgres = Postgres::start_in(mode, FAST).await.expect("a server");
        let url = postgres.fresh_database("sorted").await.expect("a database");
        let mut connection = PgConnection::connect(&url).await.expect("a connection");
        let sort = sqlx::query_scalar("select array_agg(t order by t) from unnest(array['Bk1', 'ak1']) as t");
        let sorted: Vec<String> = sort.fetch_one(&mut connection).await.expect("an order");
        assert_eq!(sorted, ["ak1", "Bk1"]);
    }

    async fn commits_are_as_durable_as_configured(mode: Mode) {
        let fast = Postgres::start_in(mode, FAST).await.expect("a server");
        let safe = Postgres::start_in(mode, PostgresOptions::default()).await.expect("a server");
        assert_eq!(setting(&fast.url("postgres"), "fsync").await, "off");
        assert_eq!(setting(&safe.url("postgres"), "fsync").await, "on");
        for postgres in [fast, safe] {
            assert_eq!(setting(&postgres.url("postgres"), "synchronous_commit").await, "on");
            assert_eq!(setting(&postgres.url("postgres"), "max_connections").await, "200");
        }
    }

    #[tokio::test]
    async fn the_shared_server_creates_a_separate_database_for_each_caller() {
        let (one, two) = tokio::join!(Postgres::shared(), Postgres::shared());
        assert!(std::ptr::eq(one, two));
        let (first, second) = tokio::join!(one.fresh_database("mine"), two.fresh_database("mine"));
        assert_ne!(first.expect("a database"), second.expect("a database"));
    }
}

mod etcd {
    use super::{Mode, assert_send};
    use crate::each_mode::in_each_mode;
    use testbed::Etcd;
    use tokio::net::TcpStream;

    in_each_mode!(Etcd: a_killed_server_restarts_on_its_port);

    async fn a_killed_server_restarts_on_its_port(mode: Mode) {
        let mut etcd = assert_send(Etcd::start_in(mode)).await.expect("a server");
        let url = etcd.url();
        etcd.kill().await;
        TcpStream::connect(etcd.addr()).await.expect_err("a killed server refuses");
        etcd.restart().await.expect("it starts again");
        assert_eq!(etcd.url(), url);
        etcd.pause();
        etcd.resume();
        TcpStream::connect(etcd.addr()).await.expect("it accepts connections");
    }
}

mod zookeeper {
    use super::{Mode, assert_send};
    use crate::each_mode::in_each_mode;
    use testbed::Zookeeper;
    use tokio::net::TcpStream;

    in_each_mode!(Zookeeper: a_killed_server_restarts_on_its_port);

    async fn a_killed_server_restarts_on_its_port(mode: Mode) {
        let mut zookeeper = assert_send(Zookeeper::start_in(mode)).await.expect("a server");
        let url = zookeeper.url();
        zookeeper.kill().await;
        TcpStream::connect(zookeeper.addr()).await.expect_err("a killed server refuses");
        zookeeper.restart().await.expect("it starts again");
        assert_eq!(zookeeper.url(), url);
        zookeeper.pause();
        zookeeper.resume();
        TcpStream::connect(zookeeper.addr()).await.expect("it accepts connections");
    }
}
