//! Two customers want the last seat. Without a lock both check it, both find it free, and both book it. With a lock,
//! the second customer checks it after the first has booked.
//!
//! `cargo run -p fenced-lock --example no_double_booking`

mod nodes;

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fenced_lock::{Lease, Locks, Resource, Token, Wait};
use nodes::LockNodes;
use tokio::sync::Barrier;

/// The airline's record: the bookings of the seat, and the latest token that was registered.
#[derive(Default)]
struct Seat {
    booked: Vec<&'static str>,
    fence: Option<Token>,
}

/// The airline's storage for seat 12A. Checking and booking are two requests.
#[derive(Clone, Default)]
struct Airline(Arc<Mutex<Seat>>);

impl Airline {
    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the token before the seat is read, so that an older token is refused from here on. Returns whether
    /// the seat is free.
    fn is_free(&self, token: Option<Token>) -> bool {
        let mut seat = self.seat();
        assert!(token.is_none() || token > seat.fence, "a stale token");
        seat.fence = token;
        seat.booked.is_empty()
    }

    fn book(&self, name: &'static str, token: Option<Token>) {
        let mut seat = self.seat();
        assert_eq!(token, seat.fence, "a newer token was registered");
        seat.booked.push(name);
    }
}

/// Both customers check before either books. The barrier makes this order happen every time.
async fn book_unlocked(name: &'static str, airline: Airline, both_checked: Arc<Barrier>) {
    let free = airline.is_free(None);
    println!("  {name} checks the seat: {}", if free { "free" } else { "taken" });
    both_checked.wait().await;
    if free {
        airline.book(name, None);
        println!("  {name} books the seat");
    }
}

async fn book_locked(name: &'static str, airline: Airline, locks: Locks) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (seat, lease) = (Resource::new("seat:12A")?, Lease::new(Duration::from_secs(30))?);
    let Some(grant) = locks.try_lock(&seat, Wait::up_to(Duration::from_secs(30)), lease).await? else {
        println!("  {name} gives up: another customer still holds the lock");
        return Ok(());
    };
    let token = grant.token();
    let number = token.map_or(0, Token::get);
    if airline.is_free(token) {
        airline.book(name, token);
        println!("  {name} holds the lock with token {number}, finds the seat free, and books it");
    } else {
        println!("  {name} holds the lock with token {number}, finds the seat taken, and does not book");
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
    for customer in [alice, bob] {
        customer.await?.map_err(|error| error.to_string())?;
    }
    println!("  seat 12A is booked by {:?}", airline.seat().booked);
    assert_eq!(airline.seat().booked.len(), 1);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run().await
}
