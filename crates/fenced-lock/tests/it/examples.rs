//! The examples run to their end. Each asserts what it prints.

#![expect(clippy::duplicate_mod, reason = "each example is a program with its own modules")]

#[expect(dead_code, reason = "the test calls run instead of main")]
#[path = "../../examples/batch_job_once.rs"]
mod batch_job_once;
#[expect(dead_code, reason = "the test calls run instead of main")]
#[path = "../../examples/leader_election.rs"]
mod leader_election;
#[expect(dead_code, reason = "the test calls run instead of main")]
#[path = "../../examples/no_double_booking.rs"]
mod no_double_booking;

#[tokio::test]
async fn a_batch_job_runs_once() {
    batch_job_once::run().await.expect("no error");
}

#[tokio::test]
async fn a_former_leader_is_refused() {
    leader_election::run().await.expect("no error");
}

#[tokio::test]
async fn a_seat_is_booked_once() {
    no_double_booking::run().await.expect("no error");
}
