//! The conditions of the protocol, each with a scripted schedule that needs it: with the condition no update is lost;
//! with the condition removed from the database, the same schedule loses one. The second half shows that the first can
//! fail.

use uuid::Uuid;

use crate::service::Inventory;

const WITHOUT_THE_FENCE: &str = "
    create or replace function stock_write_fenced(p_sku text, p_after bigint, p_token bigint, p_source text)
        returns void language plpgsql as $$
    begin
        update stock s set available = p_after, applied_fence = p_token, version = s.version + 1
         where s.sku = p_sku and s.applied_fence < p_token;
        if not found then perform stock_refuse(p_sku, p_token, p_source); end if;
    end $$";

const WITHOUT_ONCE: &str = "
    create or replace function stock_write_fenced(p_sku text, p_after bigint, p_token bigint, p_source text)
        returns void language plpgsql as $$
    begin
        update stock s set available = p_after, version = s.version + 1
         where s.sku = p_sku and s.fence = p_token;
        if not found then perform stock_refuse(p_sku, p_token, p_source); end if;
    end $$";

/// One unit in stock. A claims and reads, B claims and reads, A writes, B writes. Returns both statuses.
async fn overtaken(inventory: &Inventory) -> [u16; 2] {
    inventory.put("last", 1).await.ok();
    let seen_by = async |token| {
        let claimed = inventory.claim(&[("last", token)]).await.ok();
        claimed["snapshots"][0]["available"].as_i64().expect("a snapshot")
    };
    let (a, b) = (seen_by(33).await, seen_by(34).await);
    let write = async |token, seen| {
        let written = inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("last", Some(token), seen)]).await;
        written.status.as_u16()
    };
    [write(33, a).await, write(34, b).await]
}

#[tokio::test]
async fn a_holder_that_was_overtaken_is_refused_at_the_write() {
    let inventory = Inventory::start().await;
    assert_eq!(overtaken(&inventory).await, [409, 201]);
    assert_eq!((inventory.sold("last").await, inventory.available("last").await), (1, 0));
    let refused =
        "select count(*) from fence_refusals where sku = 'last' and step = 'write' and token = 33 and current = 34";
    assert_eq!(inventory.count(refused).await, 1, "the refusal is recorded although its transaction was rolled back");
}

#[tokio::test]
async fn without_the_fence_condition_the_same_schedule_sells_twice() {
    let inventory = Inventory::start().await;
    inventory.run_sql(WITHOUT_THE_FENCE).await;
    assert_eq!(overtaken(&inventory).await, [201, 201]);
    assert_eq!(inventory.sold("last").await, 2, "of one unit");
}

/// Two units in stock. One claim, and two writes with its token for two orders, as a duplicated message would cause.
async fn written_twice(inventory: &Inventory) -> [u16; 2] {
    inventory.put("pair", 2).await.ok();
    inventory.claim(&[("pair", 7)]).await.ok();
    let write = async || {
        let written = inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("pair", Some(7), 2)]).await;
        written.status.as_u16()
    };
    [write().await, write().await]
}

#[tokio::test]
async fn a_token_writes_once() {
    let inventory = Inventory::start().await;
    assert_eq!(written_twice(&inventory).await, [201, 409]);
    assert_eq!((inventory.sold("pair").await, inventory.available("pair").await), (1, 1));
}

#[tokio::test]
async fn without_write_once_a_second_write_with_one_token_is_lost() {
    let inventory = Inventory::start().await;
    inventory.run_sql(WITHOUT_ONCE).await;
    assert_eq!(written_twice(&inventory).await, [201, 201]);
    assert_eq!(
        (inventory.sold("pair").await, inventory.available("pair").await),
        (2, 1),
        "two units sold, one taken from stock"
    );
}

#[tokio::test]
async fn the_textbook_check_at_the_write_has_a_hole() {
    let inventory = Inventory::start().await;
    inventory.put("last", 1).await.ok();
    let seen = inventory.available("last").await;
    for token in [33, 34] {
        inventory.reserve("redlock-write-fence", Uuid::now_v7(), &[("last", Some(token), seen)]).await.ok();
    }
    assert_eq!(inventory.sold("last").await, 2, "two sales of one unit: when 33 wrote, 34 had not written yet");
}

#[tokio::test]
async fn the_textbook_check_refuses_what_is_older_than_the_last_write() {
    let inventory = Inventory::start().await;
    inventory.put("few", 3).await.ok();
    inventory.reserve("redlock-write-fence", Uuid::now_v7(), &[("few", Some(34), 3)]).await.ok();
    let late = inventory.reserve("redlock-write-fence", Uuid::now_v7(), &[("few", Some(33), 3)]).await;
    late.is(409, "stale_fencing_token");
}

#[tokio::test]
async fn without_a_fence_the_computed_value_is_written() {
    let inventory = Inventory::start().await;
    for strategy in ["off", "redis", "redlock"] {
        inventory.put(strategy, 1).await.ok();
        for _ in 0..2 {
            inventory.reserve(strategy, Uuid::now_v7(), &[(strategy, None, 1)]).await.ok();
        }
        assert_eq!((inventory.sold(strategy).await, inventory.available(strategy).await), (2, 0), "{strategy}");
    }
}

#[tokio::test]
async fn a_restock_refuses_earlier_claims() {
    let inventory = Inventory::start().await;
    inventory.put("few", 5).await.ok();
    inventory.claim(&[("few", 9)]).await.ok();
    inventory.put("few", 8).await.ok();
    let late = inventory.reserve("redlock-fenced", Uuid::now_v7(), &[("few", Some(9), 5)]).await;
    late.is(409, "stale_fencing_token");
    assert_eq!(inventory.available("few").await, 8);
}

#[tokio::test]
async fn the_ledger_shows_a_lost_update_as_a_break_in_its_chain() {
    let inventory = Inventory::start().await;
    inventory.put("few", 3).await.ok();
    for _ in 0..2 {
        inventory.reserve("off", Uuid::now_v7(), &[("few", None, 3)]).await.ok();
    }
    let broken = "select count(*) from (select before, lag(after) over (order by seq) as was from stock_ledger
                   where sku = 'few') as chain where before <> was";
    assert_eq!(inventory.count(broken).await, 1);
}
