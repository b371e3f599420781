//! Results of spawned tasks. A task that ends without one is a defect of this process,
//! never the answer of a database or of another service.

use tokio::task::{JoinError, JoinHandle};

use crate::http::problem::Problem;

/// A spawned task ended without a result. Answered 500 `internal`: [`Problem`]
/// has a `From` for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// The task panicked; the panic hook logged where.
    #[error("a spawned task panicked: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The task was aborted, or the runtime shut down.
    #[error("a spawned task was cancelled before it had a result")]
    Cancelled,
}

impl From<JoinError> for TaskError {
    fn from(error: JoinError) -> Self {
        let Ok(payload) = error.try_into_panic() else { return Self::Cancelled };
        let message = payload.downcast::<String>().map(|text| *text);
        let message = message.or_else(|payload| payload.downcast::<&'static str>().map(|text| (*text).to_owned()));
        Self::Panicked { message: message.unwrap_or_else(|_| "no message".to_owned()) }
    }
}

impl From<TaskError> for Problem {
    fn from(_: TaskError) -> Self {
        Self::internal()
    }
}

/// The result of a spawned task.
///
/// # Errors
/// [`TaskError`] if the task ended without one.
///
/// # Cancel safety: the task goes on, detached.
pub async fn join<T>(task: JoinHandle<T>) -> Result<T, TaskError> {
    task.await.map_err(TaskError::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_keeps_its_message_and_is_an_internal_error() {
        let literal = join(tokio::spawn(async { panic!("no such row") })).await;
        let formatted = join(tokio::spawn(async { panic!("no such {}", "row") })).await;
        for ended in [literal, formatted] {
            let error: TaskError = ended.map(|(): ()| ()).expect_err("it panicked");
            assert_eq!(error, TaskError::Panicked { message: "no such row".to_owned() });
            assert_eq!(Problem::from(error).code(), "internal");
        }
    }

    #[tokio::test]
    async fn a_cancelled_task_is_an_error_and_a_finished_one_is_its_result() {
        let endless = tokio::spawn(std::future::pending::<()>());
        endless.abort();
        assert_eq!(join(endless).await, Err(TaskError::Cancelled));
        assert_eq!(join(tokio::spawn(async { 7 })).await, Ok(7));
    }
}
