//! Postgres ends without a checkpoint, as in a crash, and recovers from its log: every connection breaks, what was in
//! flight is gone, what was committed stays. Both databases are in it.
//!
//! Fired means: another process answers on the same port, and orders were on their way when the first one ended.

use super::{Field, Struck};

pub(super) async fn strike(field: &Field<'_>) -> anyhow::Result<Vec<Struck>> {
    field.each_while_busy(async |_| crash(field).await).await
}

async fn crash(field: &Field<'_>) -> anyhow::Result<Struck> {
    let mut postgres = field.yard()?.postgres.lock().await;
    let (from_ms, pid, in_flight) = (field.now_ms(), postgres.pid(), field.in_flight());
    postgres.restart_immediate().await?;
    let fired = in_flight > 0 && postgres.pid() != pid;
    Ok(field.struck("postgres".to_owned(), from_ms, fired, format!("{in_flight} orders were on their way")))
}
