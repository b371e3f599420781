//! Fenced writes of several requests in one statement: of single orders, and of batches that shared a grant. The conditions
//! are those of every fenced write, in `migrations/inventory/0002_protocol.sql`. Nothing here decides.

use std::collections::BTreeMap;

use contract::{Sku, Strategy, TokenSource};
use postgres_pool::{Pool, Statement};
use serde::Serialize;
use serde_json::json;
use sqlx::{FromRow, types::Json};
use time::OffsetDateTime;

use crate::{
    domain::allocation::StockWrite,
    store::{new_reservation::NewReservation, recorded::Recorded},
};

/// One request: what its orders leave of each SKU, and their reservations.
#[derive(Debug, Clone)]
pub(super) struct FencedWrite {
    pub(super) strategy: Strategy,
    pub(super) source: TokenSource,
    pub(super) hold_seconds: i64,
    pub(super) stock: BTreeMap<Sku, StockWrite>,
    /// In the order in which units are allocated.
    pub(super) reservations: Vec<NewReservation>,
}

const WRITE: &str = "select * from reserve_shared($1, $2, $3, $4, $5, $6)";

/// The statement. Its result is when the holds end; `None`: nothing was written, because somebody has locked a row of it
/// or a SKU does not exist.
#[derive(Debug, Clone)]
pub(super) struct WriteFenced {
    pub(super) pool: Pool,
}

/// An element of the parameter `p_reservations`, in SQL the row type `shared_reservation`.
#[derive(Serialize)]
struct SharedReservation<'a> {
    request: i32,
    strategy: &'static str,
    hold_seconds: i64,
    #[serde(flatten)]
    reservation: &'a NewReservation,
}

#[derive(FromRow)]
struct WrittenRow {
    request: i32,
    hold_ends: OffsetDateTime,
}

impl Statement for WriteFenced {
    type Row = FencedWrite;
    type Result = Option<OffsetDateTime>;
    const NAME: &'static str = "fenced writes";

    async fn execute(&self, writes: &[FencedWrite]) -> Result<Vec<Self::Result>, sqlx::Error> {
        let requests = || (0_i32..).zip(writes);
        let lines = || requests().flat_map(|(n, write)| write.stock.iter().map(move |line| (n, write, line)));
        let reservations = requests().flat_map(|(request, write)| {
            let FencedWrite { strategy, hold_seconds, .. } = *write;
            let reservations = write.reservations.iter();
            reservations.map(move |reservation| SharedReservation {
                request,
                strategy: strategy.name(),
                hold_seconds,
                reservation,
            })
        });
        let numbers: Vec<_> = lines().map(|(n, ..)| n).collect();
        let skus: Vec<_> = lines().map(|(.., (sku, _))| sku.as_str()).collect();
        let tokens: Vec<_> = lines().map(|(.., (_, row))| row.fencing_token).collect();
        let available: Vec<_> = lines().map(|(.., (_, row))| row.available).collect();
        let sources: Vec<_> = lines().map(|(_, write, _)| write.source.name()).collect();
        let reservations: Vec<_> = reservations.collect();
        let recorded = Recorded { pool: &self.pool, skus: skus.iter().copied(), sql: WRITE };
        let parameters = || json!([numbers, skus, tokens, available, sources, reservations]);
        let write = sqlx::query_as(WRITE).bind(&numbers).bind(&skus).bind(&tokens).bind(&available).bind(&sources);
        let write = write.bind(Json(&reservations)).fetch_all(&self.pool);
        let shown = |rows: &Vec<WrittenRow>| match rows.as_slice() {
            [] => "nothing was written".to_owned(),
            rows => rows.iter().map(|row| format!("held until {}", row.hold_ends)).collect::<Vec<_>>().join(", "),
        };
        let written: Vec<WrittenRow> = recorded.run(parameters, write, shown).await?;
        let ends: BTreeMap<_, _> = written.into_iter().map(|row| (row.request, row.hold_ends)).collect();
        Ok(requests().map(|(n, _)| ends.get(&n).copied()).collect())
    }
}
