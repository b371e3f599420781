//! Claims of several requests in one statement. The conditions are those of every claim, in
//! `migrations/inventory/0002_protocol.sql`. Nothing here decides.

use std::collections::BTreeMap;

use contract::{Sku, TokenSource};
use postgres_pool::{Pool, Statement};
use serde_json::json;
use sqlx::FromRow;

use crate::{domain::stock::StockSnapshot, store::recorded::Recorded};

const CLAIM: &str = "select * from stock_claim_shared($1, $2, $3, $4)";

/// One request: tokens to register, all or none.
#[derive(Debug)]
pub(super) struct TokenClaim {
    /// By SKU.
    pub(super) tokens: BTreeMap<Sku, i64>,
    pub(super) source: TokenSource,
}

/// The statement. Its result is the stock that the tokens protect, in SKU order; `None`: nothing was registered, because
/// somebody has locked a row of it or a SKU does not exist.
#[derive(Debug, Clone)]
pub(super) struct ClaimTokens {
    pub(super) pool: Pool,
}

#[derive(FromRow)]
struct ClaimedRow {
    request: i32,
    #[sqlx(flatten)]
    stock: StockSnapshot,
}

impl Statement for ClaimTokens {
    type Row = TokenClaim;
    type Result = Option<Vec<StockSnapshot>>;
    const NAME: &'static str = "claims";

    async fn execute(&self, claims: &[TokenClaim]) -> Result<Vec<Self::Result>, sqlx::Error> {
        let lines =
            || (0_i32..).zip(claims).flat_map(|(n, claim)| claim.tokens.iter().map(move |line| (n, claim, line)));
        let requests: Vec<_> = lines().map(|(n, ..)| n).collect();
        let skus: Vec<_> = lines().map(|(.., (sku, _))| sku.as_str()).collect();
        let tokens: Vec<_> = lines().map(|(.., (_, token))| *token).collect();
        let sources: Vec<_> = lines().map(|(_, claim, _)| claim.source.name()).collect();
        let recorded = Recorded { pool: &self.pool, skus: skus.iter().copied(), sql: CLAIM };
        let parameters = || json!([requests, skus, tokens, sources]);
        let claim = sqlx::query_as(CLAIM).bind(&requests).bind(&skus).bind(&tokens).bind(&sources);
        let shown = |rows: &Vec<ClaimedRow>| json!(rows.iter().map(|row| &row.stock).collect::<Vec<_>>()).to_string();
        let claimed = recorded.run(parameters, claim.fetch_all(&self.pool), shown).await?;
        let mut by_request: BTreeMap<i32, Vec<StockSnapshot>> = BTreeMap::new();
        for ClaimedRow { request, stock } in claimed {
            by_request.entry(request).or_default().push(stock);
        }
        Ok((0_i32..).zip(claims).map(|(n, _)| by_request.remove(&n)).collect())
    }
}
