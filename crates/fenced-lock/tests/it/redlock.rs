//! Redlock over five nodes: what is on them, and what becomes of it.

use fenced_lock::{Released, Wait};

use crate::support::{lease, nodes, redlock, resource, values};

#[tokio::test]
async fn a_grant_is_on_every_node_in_the_documented_format() {
    let nodes = nodes(5).await;
    let locks = redlock(&nodes);
    locks.ready().await.expect("five nodes answer");
    let sku = resource("sku:42");
    let grant = locks
        .try_lock(&sku, Wait::none(), lease(10_000))
        .await
        .expect("a quorum")
        .expect("nobody has it");
    assert_eq!(grant.token().map(fenced_lock::Token::get), Some(1));
    let start = format!("owner:{}:token:1:expiry:", grant.owner());
    for value in values(&nodes, "lock:sku:42").await {
        let expiry = value
            .strip_prefix(&start)
            .unwrap_or_else(|| panic!("{value} does not start with {start}"));
        assert!(
            expiry
                .parse::<u64>()
                .is_ok_and(|millis| millis > 1_600_000_000_000),
            "{expiry}"
        );
    }
    assert_eq!(values(&nodes, "fence:sku:42").await, ["1"; 5]);
    assert_eq!(grant.release().await.expect("a quorum"), Released::WasOurs);
    let again = locks
        .try_lock(&sku, Wait::none(), lease(10_000))
        .await
        .expect("a quorum")
        .expect("it was released");
    assert_eq!(again.token().map(fenced_lock::Token::get), Some(2));
    again.release().await.expect("a quorum");
}
