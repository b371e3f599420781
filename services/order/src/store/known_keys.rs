//! Tells which idempotency keys exist, for several callers in one statement.

use postgres_pool::{Pool, Statement};

/// A key, with its scope.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) scope: &'static str,
    pub(super) key: String,
}

/// The statement; `true` for each key that exists.
#[derive(Debug, Clone)]
pub(super) struct FindKeys {
    pub(super) pool: Pool,
}

impl Statement for FindKeys {
    type Row = Key;
    type Result = bool;
    const NAME: &'static str = "look-ups of keys";

    async fn execute(&self, rows: &[Key]) -> Result<Vec<bool>, sqlx::Error> {
        sqlx::query_scalar(
            "select exists (select from idempotency_keys k where k.scope = asked.scope and k.key = asked.key)
               from unnest($1::text[], $2::text[]) with ordinality as asked (scope, key, n) order by n",
        )
        .bind(rows.iter().map(|row| row.scope).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await
    }
}
