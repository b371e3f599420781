//! The examples run, and end as they say: each asserts what it tells.

#![expect(clippy::duplicate_mod, reason = "each example is a program with modules of its own")]

#[expect(dead_code, reason = "an example's main is its own")]
#[path = "../../examples/batch_job_once.rs"]
mod batch_job_once;
#[expect(dead_code, reason = "an example's main is its own")]
#[path = "../../examples/leader_election.rs"]
mod leader_election;
#[expect(dead_code, reason = "an example's main is its own")]
#[path = "../../examples/no_double_booking.rs"]
mod no_double_booking;

#[tokio::test]
async fn a_batch_job_runs_once() {
    batch_job_once::run().await.expect("it ends well");
}

#[tokio::test]
async fn a_former_leader_is_refused() {
    leader_election::run().await.expect("it ends well");
}

#[tokio::test]
async fn a_seat_is_booked_once() {
    no_double_booking::run().await.expect("it ends well");
}
