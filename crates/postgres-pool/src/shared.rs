//! Statements that serve several callers at once. While one is under way the next callers gather; then one
//! statement serves them all, each with a result of its own. A caller that finds none under way waits for nobody.
//!
//! Invariant: a row whose values Postgres refuses fails alone; the rows beside it are written as if it had not been there.
//! Absence: no timer, and nothing about what is written.

use std::sync::Arc;

use batch_aint_one::{BatchError, Batcher, BatchingPolicy, Limits, Processor};

/// Most rows of one statement.
const MAX_ROWS: usize = 64;
/// Statements under way at a time: while Postgres writes one to disk, the other is executed.
const CONCURRENCY: usize = 2;
/// The second one begins only for so many rows: fewer wait for the first to end, and make one statement fewer.
const ROWS_FOR_A_SECOND: usize = 16;
/// Most rows that wait; a caller beyond that is refused.
const MAX_WAITING: usize = 2_048;

/// A statement that takes the rows of several callers.
pub trait Statement: Clone + Send + Sync + 'static {
    /// What one caller asks for.
    type Row: Send + Sync + 'static;
    /// What it learns.
    type Result: Send + 'static;
    /// In logs.
    const NAME: &'static str;

    /// Serves all rows or none, in a transaction of its own, and returns one result for each, in their order.
    fn execute(&self, rows: &[Self::Row]) -> impl Future<Output = Result<Vec<Self::Result>, sqlx::Error>> + Send;
}

/// Why a row was not served.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SharedError {
    /// Too many rows wait. This one was not sent.
    #[error("too many rows wait for the statement")]
    Overloaded,
    /// Postgres refused what the row was to write. It was not written.
    #[error(transparent)]
    Refused(Arc<sqlx::Error>),
    /// The statement failed: the row was not written, or nobody knows.
    #[error(transparent)]
    Failed(Arc<sqlx::Error>),
    /// The task that executes the statements has ended, which is a defect; the row may have been written.
    #[error("the shared statement ended without a result")]
    Ended,
}

impl SharedError {
    fn of(error: Arc<sqlx::Error>) -> Self {
        if refuses_values(&error) { Self::Refused(error) } else { Self::Failed(error) }
    }
}

/// A statement and the callers that wait for it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shared<S: Statement>(Batcher<Batches<S>>);

impl<S: Statement> Shared<S> {
    /// Starts a task, which ends with the last clone.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(statement: S) -> Self {
        let limits = Limits::builder().max_batch_size(MAX_ROWS).max_key_concurrency(CONCURRENCY);
        let batcher = Batcher::builder()
            .name(S::NAME)
            .processor(Batches(statement))
            .limits(limits.max_key_queued_items(MAX_WAITING).build())
            .batching_policy(BatchingPolicy::Balanced { min_size_hint: ROWS_FOR_A_SECOND });
        Self(batcher.build())
    }

    /// Serves one row, together with the rows of those who wait.
    ///
    /// # Errors
    /// Those of [`SharedError`].
    ///
    /// # Cancel safety
    /// The row is written if its statement has begun.
    pub async fn run(&self, row: S::Row) -> Result<S::Result, SharedError> {
        match self.0.add((), row).await {
            Ok(served) => served.map_err(SharedError::of),
            Err(BatchError::Rejected(_)) => Err(SharedError::Overloaded),
            Err(BatchError::BatchFailed(error) | BatchError::ResourceAcquisitionFailed(error)) => {
                Err(SharedError::of(error))
            }
            Err(error) => {
                tracing::error!(%error, statement = S::NAME, "shared statement ended without a result");
                Err(SharedError::Ended)
            }
        }
    }
}

/// Executes batch after batch.
#[derive(Debug, Clone)]
struct Batches<S>(S);

impl<S: Statement> Processor for Batches<S> {
    type Key = ();
    type Input = S::Row;
    type Output = Result<S::Result, Arc<sqlx::Error>>;
    type Error = Arc<sqlx::Error>;
    type Resources = ();

    async fn acquire_resources(&self, (): ()) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn process(
        &self,
        (): (),
        rows: impl Iterator<Item = S::Row> + Send,
        (): (),
    ) -> Result<Vec<Self::Output>, Self::Error> {
        let rows: Vec<_> = rows.collect();
        match self.0.execute(&rows).await {
            Ok(written) => Ok(written.into_iter().map(Ok).collect()),
            Err(error) if rows.len() > 1 && refuses_values(&error) => self.one_by_one(rows).await,
            Err(error) => Err(Arc::new(error)),
        }
    }
}

impl<S: Statement> Batches<S> {
    /// None of the rows was written: each is written alone.
    async fn one_by_one(
        &self,
        rows: Vec<S::Row>,
    ) -> Result<Vec<Result<S::Result, Arc<sqlx::Error>>>, Arc<sqlx::Error>> {
        let mut results = Vec::with_capacity(rows.len());
        for row in rows {
            let written = self.0.execute(&[row]).await.map_err(Arc::new);
            results.push(written.and_then(|mut one| one.pop().ok_or_else(|| Arc::new(sqlx::Error::RowNotFound))));
        }
        Ok(results)
    }
}

/// Whether the statement was rolled back because of what it was to write: data exceptions (22), constraints (23), deadlocks
/// with other statements (40), rows that somebody keeps locked (55P03), and refusals of the schema's own functions (HF).
/// Source: PostgreSQL manual, appendix A.
fn refuses_values(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| ["22", "23", "40", "55P03", "HF"].iter().any(|class| code.starts_with(class)))
}
