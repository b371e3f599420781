//! Two people want the last seat. Without a lock both look, both see it free, and both book it. With
//! one, the second looks after the first has booked.
//!
//! `cargo run -p fenced-lock --example no_double_booking`

mod nodes;

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fenced_lock::{Lease, Locks, Resource, Token, Wait};
use nodes::LockNodes;
use tokio::sync::Barrier;

/// The airline's table: who has the seat, and the latest token that it has seen.
#[derive(Default)]
struct Seat {
    booked: Vec<&'static str>,
    fence: Option<Token>,
}

/// What the airline knows of seat 12A. Looking and booking are two requests.
#[derive(Clone, Default)]
struct Airline(Arc<Mutex<Seat>>);

impl Airline {
    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the token before anything is read, so that an older one is refused from here on.
    fn claim_and_check(&self, token: Option<Token>) -> bool {
        let mut seat = self.seat();
        assert!(token.is_none() || token > seat.fence, "a stale token");
        seat.fence = token;
        seat.booked.is_empty()
    }

    fn book(&self, name: &'static str, token: Option<Token>) {
        let mut seat = self.seat();
        assert_eq!(token, seat.fence, "somebody else has looked since");
        seat.booked.push(name);
    }
}

/// Both look before either books: it happens, so here it happens every time.
async fn book_unlocked(name: &'static str, airline: Airline, both_checked: Arc<Barrier>) {
    let free = airline.claim_and_check(None);
    println!("  {name} looks: {}", if free { "free" } else { "taken" });
    both_checked.wait().await;
    if free {
        airline.book(name, None);
        println!("  {name} state");
    }
}

async fn book_locked(name: &'static str, airline: Airline, locks: Locks) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (seat, lease) = (Resource::new("seat:12A")?, Lease::new(Duration::from_secs(30))?);
    let Some(grant) = locks.try_lock(&seat, Wait::up_to(Duration::from_secs(30)), lease).await? else {
        println!("  {name} gives up: somebody else has the seat locked");
        return Ok(());
    };
    let token = grant.token();
    let number = token.map_or(0, Token::get);
    if airline.claim_and_check(token) {
        airline.book(name, token);
        println!("  {name} has the lock with token {number}, looks: free, and state");
    } else {
        println!("  {name} has the lock with token {number}, looks: taken, and state something else");
    }
    grant.release().await?;
    Ok(())
}

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    println!("without a lock:");
    let (airline, both_checked) = (Airline::default(), Arc::new(Barrier::new(2)));
    tokio::join!(
        book_unlocked("alice", airline.clone(), Arc::clone(&both_checked)),
        book_unlocked("bob", airline.clone(), both_checked),
    );
    println!("  seat 12A is booked by {:?}", airline.seat().booked);
    assert_eq!(airline.seat().booked.len(), 2);

    println!("with a lock:");
    let (airline, nodes) = (Airline::default(), LockNodes::get().await?);
    let alice = tokio::spawn(book_locked("alice", airline.clone(), nodes.client()?));
    let bob = tokio::spawn(book_locked("bob", airline.clone(), nodes.client()?));
    for person in [alice, bob] {
        person.await?.map_err(|error| error.to_string())?;
    }
    println!("  seat 12A is booked by {:?}", airline.seat().booked);
    assert_eq!(airline.seat().booked.len(), 1);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run().await
}
