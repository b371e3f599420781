//! Sums over both databases while orders are in flight, for the live page. This is no audit.
//!
//! Invariant: units are summed over the ledger, never read from `available`.

use serde::Serialize;
use sqlx::FromRow;

use super::reader::Auditor;

/// Current sums over both databases. The databases are not read at the same instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveStats {
    /// Units in stock, over all SKUs.
    pub stock: i64,
    /// Units reserved or sold.
    pub sold: i64,
    /// Units sold beyond stock, summed SKU by SKU.
    pub oversold: i64,
    /// Stale tokens refused at the claim.
    pub claims_refused: i64,
    /// Stale tokens refused at the write.
    pub writes_refused: i64,
    /// Orders that are no longer pending, whatever their outcome.
    pub orders: i64,
}

/// Current sums over some SKUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SkuStats {
    /// Units in stock.
    pub stock: i64,
    /// Units reserved or sold.
    pub sold: i64,
    /// Units sold beyond stock, summed SKU by SKU.
    pub oversold: i64,
    /// Stale tokens refused, at the claim or at the write.
    pub refused: i64,
    /// Units that the rows of stock show as available.
    pub available: i64,
    /// The highest token that was claimed.
    pub fence: i64,
    /// The highest token of a write.
    pub applied_fence: i64,
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

/// `$1`: the SKUs, or null for all of them.
const UNITS: &str = "with sku as (select coalesce(sum(delta) filter (where kind = 'put'), 0) as stock,
                                         coalesce(-sum(delta) filter (where kind <> 'put'), 0) as sold
                                    from stock_ledger where $1::text[] is null or sku = any ($1) group by sku)
                     select coalesce(sum(stock), 0)::bigint as stock, coalesce(sum(sold), 0)::bigint as sold,
                            coalesce(sum(greatest(sold - stock, 0)), 0)::bigint as oversold from sku";

impl Auditor {
    /// Reads the sums over everything once.
    ///
    /// # Errors
    /// A database does not answer.
    pub async fn live_stats(&self) -> Result<LiveStats, sqlx::Error> {
        let refusals = "select count(*) filter (where step = 'claim') as claims,
                               count(*) filter (where step = 'write') as writes from fence_refusals";
        let orders = "select count(*) from orders where status <> 'pending'";
        let Units { stock, sold, oversold } = self.units(None).await?;
        let Refusals { claims, writes } = sqlx::query_as(refusals).fetch_one(&self.inventory).await?;
        let orders = sqlx::query_scalar(orders).fetch_one(&self.order).await?;
        Ok(LiveStats { stock, sold, oversold, claims_refused: claims, writes_refused: writes, orders })
    }

    /// Reads the sums over these SKUs once.
    ///
    /// # Errors
    /// The database of inventory does not answer.
    pub async fn sku_stats(&self, skus: &[String]) -> Result<SkuStats, sqlx::Error> {
        let refusals = "select count(*) from fence_refusals where sku = any ($1)";
        let Units { stock, sold, oversold } = self.units(Some(skus)).await?;
        let refused = sqlx::query_scalar(refusals).bind(skus).fetch_one(&self.inventory).await?;
        let rows = "select coalesce(sum(available), 0)::bigint, coalesce(max(fence), 0)::bigint,
                           coalesce(max(applied_fence), 0)::bigint from stock where sku = any ($1)";
        let (available, fence, applied_fence) = sqlx::query_as(rows).bind(skus).fetch_one(&self.inventory).await?;
        Ok(SkuStats { stock, sold, oversold, refused, available, fence, applied_fence })
    }

    /// Everything that inventory stores about one SKU, as JSON: `ledger` and `refusals`, oldest first, and the row of
    /// `stock`.
    ///
    /// # Errors
    /// The database of inventory does not answer.
    pub async fn rows_of(&self, sku: &str) -> Result<serde_json::Value, sqlx::Error> {
        let rows = "select jsonb_build_object(
            'ledger', (select coalesce(jsonb_agg(to_jsonb(l) order by l.seq), '[]') from stock_ledger l where l.sku = $1),
            'refusals', (select coalesce(jsonb_agg(to_jsonb(r) order by r.at), '[]') from fence_refusals r where r.sku = $1),
            'stock', (select to_jsonb(s) from stock s where s.sku = $1))";
        sqlx::query_scalar(rows).bind(sku).fetch_one(&self.inventory).await
    }

    async fn units(&self, skus: Option<&[String]>) -> Result<Units, sqlx::Error> {
        sqlx::query_as(UNITS).bind(skus).fetch_one(&self.inventory).await
    }
}
