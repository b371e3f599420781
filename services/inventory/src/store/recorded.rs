//! Statements about stock as the lab records them: their parameters, their result, and the rows before and after.
//!
//! Absence: nothing is read or stored unless the lab records one of the SKUs.

use postgres_pool::Pool;
use serde_json::Value;
use service_kit::messages;

/// A statement about some SKUs.
#[derive(Debug)]
pub(super) struct Recorded<'a, S> {
    pub(super) pool: &'a Pool,
    pub(super) skus: S,
    pub(super) sql: &'static str,
}

impl<'a, S: Iterator<Item = &'a str> + Clone> Recorded<'a, S> {
    /// Runs it.
    ///
    /// # Errors
    /// Those of `run`.
    pub(super) async fn run<T>(
        self,
        parameters: impl FnOnce() -> Value,
        run: impl Future<Output = Result<T, sqlx::Error>>,
        shown: impl FnOnce(&T) -> String,
    ) -> Result<T, sqlx::Error> {
        if !self.skus.clone().any(messages::is_recorded) {
            return run.await;
        }
        let before = self.rows().await;
        let sent = messages::sent(|| "postgres".to_owned(), || format!("{}\n{}", self.sql, parameters()));
        let result = run.await;
        if let Some(sent) = sent {
            sent.replied(result.as_ref().map_or_else(|error| format!("refused: {error}"), shown));
            sent.row(before, self.rows().await);
        }
        result
    }

    async fn rows(&self) -> Option<String> {
        let rows = "select string_agg(to_jsonb(s)::text, ' ' order by sku) from stock s where sku = any($1)";
        sqlx::query_scalar(rows)
            .bind(self.skus.clone().collect::<Vec<_>>())
            .fetch_one(self.pool)
            .await
            .unwrap_or_default()
    }
}
