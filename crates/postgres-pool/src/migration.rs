//! The connection for migrations, which may take longer than the statements of a service.

use std::{str::FromStr as _, time::Duration};

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

/// The longest migration. Replicas that start together migrate one after the other, so the last one waits for all the
/// others.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs `work` on a connection of its own, and closes it.
///
/// # Errors
/// The URL is not one of Postgres, no connection could be made, `work` failed, or all of it took longer than a minute.
pub async fn migrate<E: From<sqlx::Error>>(
    url: &str,
    application: &str,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<(), E>,
) -> Result<(), E> {
    let options = PgConnectOptions::from_str(url)?
        .application_name(application)
        .options([("statement_timeout", LIMIT.as_millis().to_string())]);
    let migrated = async {
        let mut connection = PgConnection::connect_with(&options).await?;
        work(&mut connection).await?;
        Ok(connection.close().await?)
    };
    // The server's limit is for one statement, and a silent server keeps no limit.
    timeout(LIMIT, migrated).await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
}
