//! Taking the protocol's conditions out of a database, to see whether the soak notices. Lab only: the soak's own
//! throw-away database is changed, nothing else can be named.
//!
//! Invariant: if what is to be taken out is not found, nothing is changed and it is said.

use anyhow::Context as _;
use clap::ValueEnum;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// What can be taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProtocolMutation {
    /// Both conditions of the fenced write: that its token is the latest claimed, and that it was not written with;
    /// and the trigger that is a second belt to them
    WriteConditions,
    /// Only the first: a write whose token is no longer the latest is let through
    FenceCondition,
}

const LATEST: &str = "and s.fence = p_token ";
const ONCE: &str = "and s.applied_fence < p_token ";
/// Fences never fall, whatever a function does: with it in place, a late write is refused though no condition is left.
const DROP_BELT: &str = "drop trigger stock_moves_forward on stock";

impl ProtocolMutation {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WriteConditions => "write conditions",
            Self::FenceCondition => "fence condition",
        }
    }

    /// Takes it out of the function that writes for fenced strategies.
    ///
    /// # Errors
    /// The database is not reached, or its function is not the one that was expected.
    pub(super) async fn take_out(self, inventory: &str) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(inventory).await?;
        let read = "select pg_get_functiondef(p.oid) from pg_proc p where p.proname = 'stock_write_fenced'";
        let definition: String =
            sqlx::query_scalar(read).fetch_one(&mut connection).await.context("there is no fenced write to break")?;
        let broken = self.broken(&definition)?;
        sqlx::raw_sql(AssertSqlSafe(broken)).execute(&mut connection).await?;
        if self == Self::WriteConditions {
            sqlx::raw_sql(DROP_BELT).execute(&mut connection).await?;
        }
        Ok(connection.close().await?)
    }

    fn broken(self, definition: &str) -> anyhow::Result<String> {
        let parts: &[&str] = match self {
            Self::WriteConditions => &[LATEST, ONCE],
            Self::FenceCondition => &[LATEST],
        };
        let mut broken = definition.to_owned();
        for part in parts {
            anyhow::ensure!(broken.contains(part), "the fenced write has no `{part}` that could be taken out");
            broken = broken.replacen(part, "", 1);
        }
        Ok(broken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOCOL: &str = include_str!("../../../../migrations/inventory/0002_protocol.sql");

    #[test]
    fn the_conditions_are_found_in_the_real_migration_and_taken_out() {
        let broken = ProtocolMutation::WriteConditions.broken(PROTOCOL).expect("the conditions are there");
        assert!(PROTOCOL.len() - broken.len() == LATEST.len() + ONCE.len());
        assert!(ProtocolMutation::FenceCondition.broken(PROTOCOL).expect("it is there").contains(ONCE));
    }

    #[test]
    fn a_function_that_is_not_as_expected_is_left_alone() {
        assert!(ProtocolMutation::WriteConditions.broken("select 1").is_err());
    }
}
