//! Three replicas start the nightly invoice job at the same time. One runs it; the others find it done. The job takes
//! longer than its lease, so a watchdog extends the lock; and a mark, written with the token, keeps a replica that gets
//! the lock later from running the job again.
//!
//! `cargo run -p fenced-lock --example batch_job_once`

mod nodes;

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fenced_lock::{Lease, Locks, Resource, Token, Wait};
use nodes::LockNodes;
use tokio::sync::Barrier;

const DAY: &str = "2026-11-24";
const INVOICES: usize = 10;

/// What the replicas share: the mark of the last run, the latest token, and the invoices that were sent.
#[derive(Default)]
struct JobState {
    fence: Option<Token>,
    last_run: Option<&'static str>,
    sent: Vec<(usize, &'static str)>,
}

/// The answer to a replica that wants to run the job.
enum Claim {
    Stale,
    Done,
    Due,
}

#[derive(Clone, Default)]
struct Store(Arc<Mutex<JobState>>);

impl Store {
    fn state(&self) -> MutexGuard<'_, JobState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the token, then checks whether the job has run already.
    fn claim(&self, token: Option<Token>) -> Claim {
        let mut state = self.state();
        if token <= state.fence {
            return Claim::Stale;
        }
        state.fence = token;
        if state.last_run == Some(DAY) { Claim::Done } else { Claim::Due }
    }

    /// Writes only for the latest claim. Returns whether it did.
    fn write(&self, token: Option<Token>, write: impl FnOnce(&mut JobState)) -> bool {
        let mut state = self.state();
        let latest = state.fence == token;
        if latest {
            write(&mut state);
        }
        latest
    }
}

async fn midnight(
    replica: &'static str,
    locks: Locks,
    store: Store,
    clock: Arc<Barrier>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (job, lease) = (Resource::new("job:invoices")?, Lease::new(Duration::from_secs(2))?);
    clock.wait().await;
    let Some(grant) = locks.try_lock(&job, Wait::up_to(Duration::from_mins(2)), lease).await? else {
        println!("{replica}: another replica still runs the job");
        return Ok(());
    };
    let token = grant.token();
    let number = token.map_or(0, Token::get);
    match store.claim(token) {
        Claim::Stale => println!("{replica}: token {number} is stale"),
        Claim::Done => println!("{replica}: token {number}, the invoices of {DAY} were already sent"),
        Claim::Due => {
            println!("{replica}: token {number}, sending the invoices of {DAY} …");
            match grant.keep_while(lease, send(replica, token, &store)).await {
                Some(true) => println!("{replica}: … sent, and held the lock all the time"),
                Some(false) => println!("{replica}: … stopped: another replica has claimed the job"),
                None => println!("{replica}: … stopped: the lock was lost"),
            }
        }
    }
    grant.release().await?;
    Ok(())
}

/// Takes one and a half leases; each invoice checks that no other replica has claimed the job.
async fn send(replica: &'static str, token: Option<Token>, store: &Store) -> bool {
    for invoice in 0..INVOICES {
        tokio::time::sleep(Duration::from_millis(300)).await;
        if !store.write(token, |state| state.sent.push((invoice, replica))) {
            return false;
        }
    }
    store.write(token, |state| state.last_run = Some(DAY))
}

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let (nodes, store, clock) = (LockNodes::get().await?, Store::default(), Arc::new(Barrier::new(3)));
    let mut replicas = Vec::new();
    for replica in ["billing-1", "billing-2", "billing-3"] {
        replicas.push(tokio::spawn(midnight(replica, nodes.client()?, store.clone(), Arc::clone(&clock))));
    }
    for replica in replicas {
        replica.await?.map_err(|error| error.to_string())?;
    }
    let state = store.state();
    println!("{} invoices were sent, {} were due", state.sent.len(), INVOICES);
    assert_eq!(state.sent.len(), INVOICES);
    assert!(state.sent.iter().all(|(_, replica)| *replica == state.sent[0].1), "one replica sent them all");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run().await
}
