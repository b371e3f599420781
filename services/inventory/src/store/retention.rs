//! The SQL of retention: the deletion of old rows, and whether a row may have been deleted. What is deleted is decided in
//! `migrations/inventory/0015_retention.sql`.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    domain::error::StockError,
    store::{sql_error, stock_db::StockDb},
};

impl StockDb {
    /// Deletes at most `limit` rows of each table that are over and older than that, and returns the largest number of rows
    /// that were deleted from one table.
    ///
    /// # Errors
    /// Postgres failed, and nothing was deleted.
    pub async fn delete_old_rows(&self, older_than: Duration, limit: u32) -> Result<u64, StockError> {
        let delete = sqlx::query_scalar("select delete_old_rows(now() - make_interval(secs => $1), $2)");
        let delete = delete.bind(older_than.as_secs_f64()).bind(i64::from(limit));
        let deleted: i64 = delete.fetch_one(&self.pool).await.map_err(sql_error::from_read_error)?;
        Ok(deleted.unsigned_abs())
    }

    /// Whether a reservation of this order may have been deleted. The id of the order tells its age.
    pub(super) async fn may_have_been_deleted(&self, order_id: Uuid) -> Result<bool, StockError> {
        let read = "select exists (select from retention where $1 < first_id_at(forgotten_before))";
        let read = sqlx::query_scalar(read).bind(order_id).fetch_one(&self.pool);
        read.await.map_err(sql_error::from_read_error)
    }
}
