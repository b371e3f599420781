//! Background tasks that panic.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use service_kit::supervise::supervise;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// Within this time a task that may run has run.
const SOON: Duration = Duration::from_secs(10);

fn panics_of(task: &str) -> Option<u64> {
    let metrics = service_kit::telemetry::metrics_handle().expect("a recorder").render();
    let sample = format!("background_panics_total{{task=\"{task}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&sample)?.parse().ok())
}

#[tokio::test(start_paused = true)]
async fn a_background_task_that_panics_runs_again_and_each_panic_is_counted() {
    service_kit::telemetry::metrics_handle();
    let runs = AtomicU32::new(0);
    let run = |_| async {
        assert!(runs.fetch_add(1, Ordering::Relaxed) >= 3, "the first three runs panic");
    };
    let ended = timeout(SOON, supervise("panics thrice", CancellationToken::new(), run)).await;
    ended.expect("the fourth run returns, which ends the task");
    assert_eq!((runs.into_inner(), panics_of("panics thrice")), (4, Some(3)));
}

#[tokio::test(start_paused = true)]
async fn pauses_between_panics_grow_to_30_s_and_are_short_again_after_a_long_run() {
    let (runs, stop) = (AtomicU32::new(0), CancellationToken::new());
    let starts = Arc::new(std::sync::Mutex::new(Vec::new()));
    let run = |stop: CancellationToken| {
        let (run, starts) = (runs.fetch_add(1, Ordering::Relaxed), Arc::clone(&starts));
        async move {
            starts.lock().expect("no panic").push(Instant::now());
            match run {
                12 => tokio::time::sleep(Duration::from_mins(1)).await,
                13 => return stop.cancel(),
                _ => {}
            }
            panic!("run {run}");
        }
    };
    supervise("panics always", stop, run).await;
    let starts = starts.lock().expect("no panic").clone();
    let pauses: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (number, pause) in pauses[..12].iter().enumerate() {
        let longest = Duration::from_millis(100 << number).min(Duration::from_secs(30));
        assert!(*pause >= longest / 2 && *pause <= longest + Duration::from_millis(2), "{number}: {pauses:?}");
    }
    assert!(pauses[12] <= Duration::from_secs(61), "{pauses:?}");
}

#[tokio::test]
async fn a_stop_ends_a_background_task_also_in_the_pause_after_a_panic() {
    let stop = CancellationToken::new();
    let (runs, stopping) = (AtomicU32::new(0), stop.clone());
    let run = |_| {
        if runs.fetch_add(1, Ordering::Relaxed) == 2 {
            stopping.cancel();
        }
        async { panic!("every run panics") }
    };
    timeout(SOON, supervise("panics until stopped", stop, run)).await.expect("an end");
    assert_eq!(runs.into_inner(), 3, "it is not started after the stop");
}
