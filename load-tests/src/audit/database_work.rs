//! How much the database server has done so far, by its own counters. This is no audit.

use super::reader::Auditor;

/// Counters of the server, from its start. They lag behind by up to a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct DatabaseWork {
    /// Transactions that were committed, in both databases.
    pub commits: i64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: i64,
}

impl Auditor {
    /// Reads the counters once.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn database_work(&self) -> Result<DatabaseWork, sqlx::Error> {
        let counters = "select coalesce(sum(xact_commit), 0)::bigint as commits,
                               pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint as wal_bytes from pg_stat_database";
        sqlx::query_as(counters).fetch_one(&self.inventory).await
    }
}
