//! Background tasks that outlive their panics.
//!
//! Invariant: a task that panics runs again, after a pause that grows with each panic; a stop ends the pause.
//! Absence: a task that returns has ended, and is not started again.

use std::{future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A task that ran for longer than this before it panicked starts with the first pause again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs a background task until it returns. After a panic it is started anew, from `run`, unless `stop` is cancelled:
/// 50 to 100 ms later at first, twice as long after each further panic, at most 30 s.
///
/// The panic hook logs the panic with its place; a second line names the task. Metric:
/// `background_panics_total{task}`.
///
/// `run` observes `stop` itself. What a panic interrupted is dropped: state that `run` captures and shares has to be
/// valid at every await.
///
/// # Cancel safety: dropping it drops the task.
pub async fn supervise<F: Future<Output = ()>>(
    task: &'static str,
    stop: CancellationToken,
    run: impl Fn(CancellationToken) -> F,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        if AssertUnwindSafe(async { run(stop.clone()).await }).catch_unwind().await.is_ok() {
            return;
        }
        if started.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        metrics::counter!("background_panics_total", "task" => task).increment(1);
        // Replicas that met the same cause do not return at the same moment.
        let wait = pause.mul_f64(rand::random_range(0.5..=1.0));
        tracing::error!(task, ?wait, "background task panicked and is started again after a pause");
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}
