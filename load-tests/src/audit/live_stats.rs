//! A live_stats at the snapshot while everybody is at work: sums, for a live page. It is no audit.
//!
//! Invariant: units are summed over the ledger, never read from `available`.

use sqlx::FromRow;

use super::reader::Auditor;

/// What the snapshot say right now. The two databases are not read at the same instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveStats {
    /// Units there are, over all SKUs.
    pub stock: i64,
    /// Units somebody holds or has bought.
    pub sold: i64,
    /// Of which there are not so many, SKU by SKU.
    pub oversold: i64,
    /// Stale tokens refused before reading.
    pub claims_refused: i64,
    /// Stale tokens refused at the write.
    pub writes_refused: i64,
    /// Orders that came to an end, whichever.
    pub orders: i64,
}

#[derive(FromRow)]
struct Units {
    stock: i64,
    sold: i64,
    oversold: i64,
}

#[derive(FromRow)]
struct Refusals {
    claims: i64,
    writes: i64,
}

impl Auditor {
    /// Looks once.
    ///
    /// # Errors
    /// A database is not reached.
    pub async fn live_stats(&self) -> Result<LiveStats, sqlx::Error> {
        let units = "with sku as (select coalesce(sum(delta) filter (where kind = 'put'), 0) as there,
                                         coalesce(-sum(delta) filter (where kind <> 'put'), 0) as sold
                                    from stock_ledger group by sku)
                     select coalesce(sum(there), 0)::bigint as stock, coalesce(sum(sold), 0)::bigint as sold,
                            coalesce(sum(greatest(sold - there, 0)), 0)::bigint as oversold from sku";
        let refusals = "select count(*) filter (where step = 'claim') as claims,
                               count(*) filter (where step = 'write') as writes from fence_refusals";
        let orders = "select count(*) from orders where status <> 'pending'";
        let Units { stock, sold, oversold } = sqlx::query_as(units).fetch_one(&self.inventory).await?;
        let Refusals { claims, writes } = sqlx::query_as(refusals).fetch_one(&self.inventory).await?;
        let orders = sqlx::query_scalar(orders).fetch_one(&self.order).await?;
        Ok(LiveStats { stock, sold, oversold, claims_refused: claims, writes_refused: writes, orders })
    }
}
