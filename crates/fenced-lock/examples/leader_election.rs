//! Ada leads, and is paused for longer than her lease. Bob leads. Ada resumes, is not aware that she lost the lock,
//! and writes; the storage refuses the write, because her token is older than one that it has registered.
//!
//! `cargo run -p fenced-lock --example leader_election`

mod nodes;

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use fenced_lock::{Election, Holder, Lease, LockError, Observer, Resource, Token, Wait};
use nodes::LockNodes;
use tokio::sync::oneshot;

/// Storage that keeps the greatest token of any write.
#[derive(Clone, Default)]
struct Storage(Arc<Mutex<Option<Token>>>);

impl Storage {
    /// Returns whether the write was accepted.
    fn write(&self, name: &str, token: Option<Token>) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let accepted = token >= *seen;
        let (token_is, verdict) = (number(token), if accepted { "accepted" } else { "refused" });
        println!("{name} writes with token {token_is}; storage has seen {}: {verdict}", number(*seen));
        if accepted {
            *seen = token;
        }
        accepted
    }
}

fn number(token: Option<Token>) -> String {
    token.map_or("none".to_owned(), |token| token.to_string())
}

/// Ada runs in a thread of her own, so that she can be paused like a process: none of her tasks runs.
fn ada(
    election: Election,
    storage: Storage,
    leads: oneshot::Sender<()>,
    pause: mpsc::Receiver<()>,
) -> Result<bool, Box<dyn Error + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Some(leadership) = election.campaign(Wait::up_to(Duration::from_secs(30))).await? else {
            return Err("ada was not elected, although she was the only candidate".into());
        };
        let token = leadership.token();
        storage.write("ada", token);
        println!("ada is paused");
        let _ = leads.send(());
        let _ = pause.recv();
        println!("ada resumes");
        let accepted = storage.write("ada", token);
        leadership.lost().await;
        println!("ada knows that she lost the leadership; her release reports {:?}", leadership.resign().await?);
        Ok(accepted)
    })
}

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let nodes = LockNodes::get().await?;
    let (resource, lease) = (Resource::new("leader:reports")?, Lease::new(Duration::from_secs(1))?);
    let candidate = || Ok::<_, Box<dyn Error>>(Election::new(nodes.client()?, resource.clone(), lease));
    let (storage, bob) = (Storage::default(), candidate()?);
    let observer = tokio::spawn(watch(candidate()?.observe()));

    let (leads, led) = oneshot::channel();
    let (resume, pause) = mpsc::channel();
    let paused = {
        let (election, storage) = (candidate()?, storage.clone());
        thread::spawn(move || ada(election, storage, leads, pause))
    };
    led.await?;
    let leadership = bob
        .campaign(Wait::up_to(Duration::from_secs(30)))
        .await?
        .ok_or("bob was not elected, although ada is paused")?;
    assert!(storage.write("bob", leadership.token()));
    resume.send(())?;
    let accepted = tokio::task::spawn_blocking(|| paused.join()).await?.map_err(|_| "ada panicked")?;
    assert!(!accepted.map_err(|error| error.to_string())?, "the write of a former leader was accepted");
    println!("bob resigns; his release reports {:?}", leadership.resign().await?);
    observer.abort();
    Ok(())
}

async fn watch(mut observer: Observer) -> Result<(), LockError> {
    loop {
        let leader = observer.next().await?;
        println!("observer: {}", describe(leader.as_ref()));
    }
}

fn describe(leader: Option<&Holder>) -> String {
    leader.map_or("no leader".to_owned(), |leader| format!("the leader has token {}", number(leader.token())))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    run().await
}
