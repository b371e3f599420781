//! Removes conditions of the protocol from a database, to verify that the soak detects it. Lab only: it changes the soak's
//! own temporary database, and no other database can be named.
//!
//! Invariant: if a condition is not found, nothing is changed and an error names it.

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use strum::Display;

use crate::cluster::target::on_connection;

/// A condition of the protocol that can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Display, Serialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum ProtocolMutation {
    /// Both conditions of the fenced write, that its token is the latest claimed and has not written yet, and the trigger
    /// that enforces them a second time
    WriteConditions,
    /// Only the first condition: a write whose token is no longer the latest is accepted
    FenceCondition,
}

const LATEST: &str = "and s.fence = p_token ";
const ONCE: &str = "and s.applied_fence < p_token ";
/// The trigger refuses a fence that decreases, whatever the function does.
const DROP_TRIGGER: &str = "drop trigger stock_moves_forward on stock";

impl ProtocolMutation {
    /// Removes it from the function that writes for fenced strategies.
    ///
    /// # Errors
    /// The database does not answer, or its function has no such condition.
    pub(super) async fn apply(self, inventory: &str) -> anyhow::Result<()> {
        on_connection(inventory, async |connection| {
            let query = "select pg_get_functiondef(p.oid) from pg_proc p where p.proname = 'stock_write_fenced'";
            let definition: String = sqlx::query_scalar(query)
                .fetch_one(&mut *connection)
                .await
                .context("the database has no function stock_write_fenced")?;
            let mutated = self.remove_from(&definition)?;
            sqlx::raw_sql(AssertSqlSafe(mutated)).execute(&mut *connection).await?;
            if self == Self::WriteConditions {
                sqlx::raw_sql(DROP_TRIGGER).execute(connection).await?;
            }
            Ok(())
        })
        .await
    }

    fn remove_from(self, definition: &str) -> anyhow::Result<String> {
        let parts: &[&str] = match self {
            Self::WriteConditions => &[LATEST, ONCE],
            Self::FenceCondition => &[LATEST],
        };
        let mut mutated = definition.to_owned();
        for part in parts {
            anyhow::ensure!(mutated.contains(part), "stock_write_fenced has no condition `{part}`");
            mutated = mutated.replacen(part, "", 1);
        }
        Ok(mutated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOL: &str = include_str!("../../../../migrations/inventory/0002_protocol.sql");

    #[test]
    fn the_conditions_are_found_in_the_migration_and_removed() {
        let mutated = ProtocolMutation::WriteConditions.remove_from(PROTOCOL).expect("the conditions are there");
        assert!(PROTOCOL.len() - mutated.len() == LATEST.len() + ONCE.len());
        assert!(ProtocolMutation::FenceCondition.remove_from(PROTOCOL).expect("the condition is there").contains(ONCE));
    }

    #[test]
    fn a_function_without_the_conditions_is_refused() {
        assert!(ProtocolMutation::WriteConditions.remove_from("select 1").is_err());
    }
}
